"""Damaged data sets, captions, prompts and options: one line that names the thing, code 2, nothing recorded."""

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks.checkpoints import ensure_tiny, export_checkpoint
from benchmarks.data.vocabulary import shipped
from benchmarks.records import Store
from tests.command_line import Bench, assert_one_line
from tests.data.classification import layouts
from tests.data.classification.array_files import idx, noise, write_mnist, write_pcam, write_stl10
from tests.data.test_karpathy import entry, write
from tests.data.test_retrieval import write_flickr
from tests.zeroshot import plain_loop, towers

LONG = "a little girl in a " + "very " * 90 + "long coat"


@pytest.fixture(scope="module")
def tower(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return towers.slip(tmp_path_factory.mktemp("tower") / "slip.pt")


def in_full_length(text: str) -> towers.Array:
    """The unit vector that open_clip's tokenizer and the model itself give."""
    return plain_loop.captions(towers.model_of(towers.slip(Path("own.pt"))), [text])[0].numpy()


@pytest.fixture
def run(bench: Bench, tower: Path) -> Bench:
    """``bench run`` on the data in ``data``, with the tower unless another checkpoint is named."""

    def call(*arguments: str) -> tuple[int, str, str]:
        own = ("--checkpoint", str(tower), "--image-heads", "1", "--text-heads", "1")
        options = () if "--checkpoint" in arguments else own
        return bench("run", *arguments, *options, "--data-root", "data", "-o", "execution.workers=1")

    return call


def assert_nothing_left(folder: Path) -> None:
    assert not list(folder.rglob("record.json"))
    assert not list(folder.rglob(".tmp-*"))


def lay_out(root: Path, name: str) -> None:
    """A whole data set in miniature: all classes of the shipped list."""
    keys = shipped(name).keys if name != "flickr8k" else ()
    if name == "mnist":
        towers.digits(root)
    elif name == "stl10":
        write_stl10(root / name, noise(10, 96, 96, 3), range(1, 11), keys)
    elif name == "pcam":
        write_pcam(root / name, noise(6, 96, 96, 3), [0, 1] * 3)
    elif name == "flickr8k":
        write_flickr(root, 4)
    else:
        layouts.write(root, name, keys)


def cut(path: Path, least: int = 1) -> str:
    """Shorten a file, and say its name."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) - max(least, len(content) // 3)])
    return path.name


def corrupt_picture(folder: Path) -> str:
    return cut(max(folder.rglob("*.png")))


def corrupt_pictures(folder: Path) -> str:
    """All of them: a random fifth is scored."""
    for path in folder.rglob("*.png"):
        cut(path)
    return ".png"


def corrupt_jpeg(folder: Path) -> str:
    return cut(folder / "images/2.jpg")


def picture_of_nothing(folder: Path) -> str:
    path = max(folder.rglob("*.png"))
    path.write_bytes(b"")
    return path.name


def missing_class_folder(folder: Path) -> str:
    victim = next(
        path for path in sorted(folder.rglob("*")) if path.is_dir() and path.name in ("zigzagged", "negative")
    )
    shutil.rmtree(victim)
    return f"lacks the class '{victim.name}'"


def class_too_many(folder: Path) -> str:
    place = next(path for path in folder.rglob("*") if path.is_dir() and path.name in ("zigzagged", "negative")).parent
    (place / "surprising").mkdir()
    return "has the class 'surprising'"


def class_too_few(folder: Path) -> str:
    path = next(folder.rglob("class_names.txt"))
    path.write_text("\n".join(path.read_text().splitlines()[:-1]))
    return "there are 9 classes"


def label_too_large(folder: Path) -> str:
    write_mnist(folder, noise(3, 28, 28), [0, 10, 2])
    return "holds the label 10"


def label_too_few(folder: Path) -> str:
    write_mnist(folder, noise(3, 28, 28), [0, 1])
    return "2 labels for 3 pictures"


def truncated_idx(folder: Path) -> str:
    return cut(next(folder.rglob("t10k-images*")))


def truncated_gzip(folder: Path) -> str:
    path = next(folder.rglob("t10k-images*"))
    path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(idx(noise(30, 28, 28)))[:-100])
    path.unlink()
    return f"{path.name}.gz"


def truncated_bin(folder: Path) -> str:
    return cut(next(folder.rglob("test_X.bin")))


def truncated_h5(folder: Path) -> str:
    return cut(next(folder.rglob("*_x.h5")))


def truncated_scenes(folder: Path) -> str:
    return cut(next(folder.rglob("CLEVR_val_scenes.json")))


def truncated_captions(folder: Path) -> str:
    return cut(folder / "dataset_flickr8k.json")


def empty_caption(folder: Path) -> str:
    write_flickr(folder.parent, 4, sentences=[{"raw": "fine"}, {"raw": "  "}])
    return "caption 2 of 1.jpg is empty"


def no_caption(folder: Path) -> str:
    write_flickr(folder.parent, 4, sentences=[])
    return "1.jpg has no caption"


def empty_folder(folder: Path) -> str:
    shutil.rmtree(folder)
    folder.mkdir()
    return folder.name


def nothing(folder: Path) -> str:
    shutil.rmtree(folder)
    return folder.name


DAMAGES: list[tuple[str, Callable[[Path], str]]] = [
    ("sst2", corrupt_picture),
    ("sst2", picture_of_nothing),
    ("kitti", corrupt_pictures),
    ("flickr8k", corrupt_jpeg),
    ("dtd", missing_class_folder),
    ("sst2", missing_class_folder),
    ("dtd", class_too_many),
    ("stl10", class_too_few),
    ("mnist", label_too_large),
    ("mnist", label_too_few),
    ("mnist", truncated_idx),
    ("mnist", truncated_gzip),
    ("stl10", truncated_bin),
    ("pcam", truncated_h5),
    ("clevr", truncated_scenes),
    ("flickr8k", truncated_captions),
    ("flickr8k", empty_caption),
    ("flickr8k", no_caption),
    ("mnist", empty_folder),
    ("gtsrb", empty_folder),
    ("flickr8k", empty_folder),
    ("pets", nothing),
    ("flickr8k", nothing),
]


@pytest.mark.parametrize(("name", "damage"), DAMAGES, ids=lambda value: getattr(value, "__name__", value))
def test_damaged_data_is_named(run: Bench, tmp_path: Path, name: str, damage: Callable[[Path], str]) -> None:
    lay_out(tmp_path / "data", name)
    named = damage(tmp_path / "data" / name)
    benchmark = f"{name}-retrieval" if name == "flickr8k" else f"zeroshot/{name}"
    assert_one_line(run(benchmark), named)
    assert_nothing_left(tmp_path)


@pytest.mark.parametrize("name", sorted({name for name, _ in DAMAGES} - {"flickr8k"}))
def test_undamaged_they_run(run: Bench, tmp_path: Path, name: str) -> None:
    """Else the tests above would show nothing."""
    lay_out(tmp_path / "data", name)
    code, out, err = run(f"zeroshot/{name}")
    assert code == 0, err
    assert out.startswith(f"zeroshot/{name}  top1")
    assert "not comparable with the paper" in out


def test_damaged_data_of_a_group_does_not_keep_the_others_from_running(run: Bench, tmp_path: Path) -> None:
    for name in ("sst2", "clevr", "mnist"):
        lay_out(tmp_path / "data", name)
    named = truncated_scenes(tmp_path / "data/clevr")
    result = run("table3")
    assert_one_line(result, "zeroshot/clevr")
    assert any(named in line and "skipped" in line for line in result[2].splitlines())
    assert {record.benchmark for record in Store(tmp_path / "results").load_all()} == {
        "zeroshot/mnist",
        "zeroshot/sst2",
    }


def test_a_limit_beyond_the_set_scores_all_of_it(run: Bench, tmp_path: Path) -> None:
    """And is a limited run all the same: a table of sets takes one limit."""
    lay_out(tmp_path / "data", "mnist")
    assert run("zeroshot/mnist", "--limit", "31")[0] == 0
    (record,) = Store(tmp_path / "results").load_all()
    assert (record.counts.scored, record.status) == (30, "limited")
    assert run("zeroshot/mnist", "--limit", "0")[0] == 2


def test_an_over_long_caption_is_cut_and_counted(run: Bench, tmp_path: Path) -> None:
    """The stated rule: what does not fit is cut, the end token stays, and the record tells of how many texts."""
    lay_out(tmp_path / "data", "flickr8k")
    captions = [LONG, LONG + " and a hat", "short", "others"]
    entries = [entry(f"{index}.jpg", "test", caption) for index, caption in enumerate(captions)]
    write(tmp_path / "data/flickr8k/dataset_flickr8k.json", *entries)
    with towers.overheard() as heard:
        assert run("flickr8k-retrieval")[0] == 0
    (record,) = Store(tmp_path / "results").load_all()
    assert record.model_protocol["texts_cut"] == 2
    assert record.metrics["t2i_r1"].n == 4
    one, same, *others = heard["texts"]
    np.testing.assert_array_equal(one, same)  # what differs was cut away
    np.testing.assert_allclose(one, in_full_length(LONG), atol=1e-5)
    for other in others:
        assert np.abs(one - other).max() > 0.01, "and it is still a text: the end token is read"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("zeroshot/mnist", "-o", "class_order=sideways"), "class_order"),
        (("zeroshot/mnist", "-o", "split=holdout"), "no split 'holdout'"),
        (("zeroshot/mnist", "-o", "pictures=0"), "pictures"),
        (("zeroshot/mnist", "-o", "temperature=1"), "temperature"),
        (("zeroshot/mnist", "-o", "execution.batch_size=none"), "batch_size"),
        (("zeroshot/mnist", "--pictures", "3"), "--pictures"),
        (("zeroshot/mnist", "--tower", "ema"), "ema"),
        (("zeroshot/mnist", "--nproc", "2"), "--nproc 2"),
        (("zeroshot/mnits",), "did you mean zeroshot/mnist"),
        (("flickr8k-retrieval", "-o", "all_captions=perhaps"), "all_captions"),
        (("flickr8k-retrieval", "-o", "split=val"), "split"),
        (("flickr8k-retrieval", "--prompts", "own.json"), "--prompts: has no effect on flickr8k-retrieval"),
        (("zeroshot/mnist", "--prompts", "own.json"), "own.json"),
        (("table3", "--checkpoint", "absent.pt"), "absent.pt"),
    ],
)
def test_bad_options_are_named(run: Bench, tmp_path: Path, arguments: tuple[str, ...], named: str) -> None:
    for name in ("mnist", "flickr8k"):
        lay_out(tmp_path / "data", name)
    assert_one_line(run(*arguments), named)
    assert_nothing_left(tmp_path)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("{", "not a JSON file"),
        (json.dumps({"templates": ["a photo"]}), "exactly one {}"),
        (json.dumps({"templates": []}), "at least one"),
        (json.dumps({"classes": {"0": "zero"}}), 'lacks "'),
        (json.dumps({"prompts": ["{}"]}), 'unknown field "prompts"'),
        (json.dumps({"source": "me"}), "neither"),
    ],
)
def test_bad_prompts_are_named(run: Bench, tmp_path: Path, content: str, named: str) -> None:
    lay_out(tmp_path / "data", "mnist")
    (tmp_path / "own.json").write_text(content)
    assert_one_line(run("zeroshot/mnist", "--prompts", "own.json"), "own.json", named)
    assert_nothing_left(tmp_path)


@pytest.mark.parametrize("benchmark_id", ["zeroshot/mnist", "flickr8k-retrieval", "table3"])
def test_a_checkpoint_without_text_side_is_named(run: Bench, tmp_path: Path, benchmark_id: str) -> None:
    for name in ("mnist", "flickr8k"):
        lay_out(tmp_path / "data", name)
    backbone = export_checkpoint(ensure_tiny(), "backbone", tmp_path / "backbone")
    result = run(benchmark_id, "--checkpoint", str(backbone))
    if benchmark_id == "table3":
        assert "zeroshot/mnist: the checkpoint has no text side, skipped" in result[2]
        assert_one_line(result, "nothing of it can run here")
    else:
        assert_one_line(result, "no text side")
    assert_nothing_left(tmp_path)
