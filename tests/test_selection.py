"""Which benchmarks run: names are kept, what a group cannot have is left out aloud, idle options are refused."""

from pathlib import Path

import pytest

from benchmarks.checkpoints import ensure_tiny, export_checkpoint
from benchmarks.errors import BenchError, DataError, OptionError
from benchmarks.selection import overrides_of, select
from benchmarks.suite import asked_by_name, resolve


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data root in which MNIST and GTSRB seem to lie; nothing is opened here."""
    for folder in ("mnist/MNIST/raw", "gtsrb/gtsrb/GTSRB/Final_Test/Images"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "mnist/MNIST/raw/t10k-images-idx3-ubyte").write_bytes(b"1")
    (tmp_path / "mnist/MNIST/raw/t10k-labels-idx1-ubyte").write_bytes(b"1")
    (tmp_path / "gtsrb/gtsrb/GTSRB/Final_Test/Images/00000.ppm").write_bytes(b"1")
    (tmp_path / "gtsrb/gtsrb/GT-final_test.csv").write_bytes(b"1")
    return tmp_path


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint without a text side."""
    return export_checkpoint(ensure_tiny(), "backbone", tmp_path_factory.mktemp("backbone") / "folder")


def chosen(names: list[str], root: Path, *options: str, checkpoint: Path | None = None) -> tuple[list[str], list[str]]:
    """The ids that will run, and what was said."""
    lines: list[str] = []
    kept = select(names, checkpoint or ensure_tiny(), None, root, options, lines.append)
    return [benchmark.id for benchmark in kept], lines


def test_a_group_runs_what_is_there_and_says_what_is_not(root: Path) -> None:
    ids, lines = chosen(["table3"], root)
    assert set(ids) == {"zeroshot/mnist", "zeroshot/gtsrb"}
    assert len(lines) == 11
    assert any("zeroshot/pets: no data in" in line and "bench data prepare pets" in line for line in lines)


def test_what_is_asked_for_by_name_is_kept_though_its_data_are_missing(root: Path) -> None:
    """Its runner then says what is wrong, and the run fails, instead of doing less than was asked for."""
    ids, lines = chosen(["zeroshot/pets", "table3"], root)
    assert ids[0] == "zeroshot/pets"
    assert not any("zeroshot/pets" in line for line in lines)


def test_a_checkpoint_without_text_side_fills_no_zero_shot_cell(root: Path, backbone: Path) -> None:
    with pytest.raises(OptionError, match="nothing of it can run here"):
        chosen(["table3"], root, checkpoint=backbone)
    ids, lines = chosen(["zeroshot/mnist", "table3"], root, checkpoint=backbone)
    assert ids == ["zeroshot/mnist"]
    assert "zeroshot/gtsrb: the checkpoint has no text side, skipped" in lines


def test_data_whose_folder_is_called_otherwise_is_named_by_both(root: Path) -> None:
    """COCO's boxes and its captions are two data sets in one folder."""
    told = f"coco-cascade: no data in {root / 'coco'} (`bench data prepare coco-instances`), skipped"
    assert told in chosen(["table1", "table3"], root)[1]


@pytest.mark.parametrize(
    ("names", "option"),
    [
        (["zeroshot/mnist"], "--pictures"),
        (["flickr8k-retrieval"], "--prompts"),
        (["zeroshot/mnist"], "--seed"),
        (["flickr8k-retrieval", "zeroshot/mnist"], "--prompts"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(names: list[str], option: str, root: Path) -> None:
    with pytest.raises(BenchError, match=f"{option}: has no effect on {names[0]}"):
        chosen(names, root, option)


def test_an_option_acts_on_those_of_a_group_that_take_it(root: Path) -> None:
    """Prompts for a whole table are no reason to refuse the retrieval in another group."""
    assert chosen(["table3"], root, "--prompts", "--launcher")[0]


def test_a_missing_data_root_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such data folder"):
        chosen(["table3"], tmp_path / "nowhere")


def given(names: list[str], *overrides: str) -> dict[str, tuple[str, ...]]:
    return overrides_of(resolve(names), overrides, asked_by_name(names))


def test_an_override_goes_to_those_of_a_group_that_have_the_field() -> None:
    """Table 2 has ImageNet, which has no captions."""
    found = given(["table2"], "all_captions=True", "execution.workers=0")
    assert found["imagenet-zeroshot"] == ("execution.workers=0",)
    assert found["coco-retrieval"] == ("all_captions=True", "execution.workers=0")


def test_an_override_is_given_to_what_is_asked_for_by_name_though_it_has_no_such_field() -> None:
    """Its config then refuses it."""
    assert given(["imagenet-zeroshot", "table2"], "all_captions=True")["imagenet-zeroshot"] == ("all_captions=True",)


def test_an_override_for_nobody_is_refused() -> None:
    with pytest.raises(OptionError, match=r"-o nonsense=1: no field nonsense .* there are .*class_order"):
        given(["table3"], "nonsense=1")
