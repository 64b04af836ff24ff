"""The command line: one clear line and exit code 2 for whatever the user can mend; nothing written, nothing lost."""

import errno
import io
import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import cli
from benchmarks.checkpoints import ensure_tiny
from benchmarks.data.sample import generate
from benchmarks.suite import BENCHMARKS
from tests.command_line import Bench, assert_one_line


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "root"
    generate(folder, train=3, validation=2, pairs=13, held_out=1, views=0, described=0)
    return folder


@pytest.fixture
def own_data(data: Path, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    return Path(shutil.copytree(data, tmp_path / "data"))


def assert_nothing_left(folder: Path) -> None:
    assert not list(folder.rglob("record.json"))
    assert not list(folder.rglob(".tmp-*"))


class Trap:
    """Unpickling it runs a command: touching a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.system, (f"touch {self.mark}",)


def trapped_zip(path: Path, mark: Path) -> None:
    torch.save({"state_dict": {}, "args": Trap(mark)}, path)


def trapped_pickle(path: Path, mark: Path) -> None:
    path.write_bytes(pickle.dumps({"state_dict": {}, "args": Trap(mark)}))


COMMANDS = {
    "run": ("run", "ade20k-upernet", "--quick", "--checkpoint"),
    "run in a group": ("run", "table1", "--quick", "--checkpoint"),
    "inspect": ("checkpoint", "inspect"),
    "export open_clip": ("checkpoint", "export", "--to", "open_clip"),
    "export backbone": ("checkpoint", "export", "--to", "backbone"),
    "export released": ("checkpoint", "export", "--to", "released"),
}


@pytest.mark.parametrize("make", [trapped_zip, trapped_pickle])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_trapped_checkpoint_is_refused_and_never_run(
    bench: Bench, data: Path, tmp_path: Path, command: str, make: Callable[[Path, Path], None]
) -> None:
    path, mark = tmp_path / "trap.pt", tmp_path / "executed"
    make(path, mark)
    options = ("--data-root", str(data)) if command.startswith("run") else ()
    assert_one_line(bench(*COMMANDS[command], str(path), *options), "trap.pt")
    assert not mark.exists()
    assert_nothing_left(tmp_path)
    with path.open("rb") as stream:  # the trap is real: an ordinary unpickler springs it
        if make is trapped_pickle:
            pickle.load(stream)
            assert mark.exists()


def truncated(path: Path) -> None:
    path.write_bytes(ensure_tiny().read_bytes()[:100_000])


def other_architecture(path: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7), "layer1.0.conv1.weight": torch.zeros(64, 64, 3, 3)}, path)


def not_a_checkpoint(path: Path) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (4, 4)).save(stream, "JPEG")
    path.write_bytes(stream.getvalue())


@pytest.mark.parametrize("make", [truncated, other_architecture, not_a_checkpoint, None])
@pytest.mark.parametrize("command", COMMANDS)
def test_unusable_checkpoints(
    bench: Bench, data: Path, tmp_path: Path, command: str, make: Callable[[Path], None] | None
) -> None:
    path = tmp_path / "odd.pt"
    if make:
        make(path)
    options = ("--data-root", str(data)) if command.startswith("run") else ()
    assert_one_line(bench(*COMMANDS[command], str(path), *options), "odd.pt")
    assert_nothing_left(tmp_path)


def too_large_a_value(root: Path) -> str:
    path = next((root / "ade20k/ADEChallengeData2016/annotations/validation").glob("*.png"))
    with Image.open(path) as mask:
        values = np.array(mask)
    values[0, 0] = 151
    Image.fromarray(values).save(path)
    return path.name


def corrupt_jpeg(root: Path) -> str:
    path = next((root / "ade20k/ADEChallengeData2016/images/training").glob("*.jpg"))
    path.write_bytes(path.read_bytes()[:-500])
    return path.name


def missing_folder(root: Path) -> str:
    folder = root / "ade20k/ADEChallengeData2016/annotations/validation"
    shutil.rmtree(folder)
    return "annotations/validation"


def missing_set(root: Path) -> str:
    shutil.rmtree(root / "ade20k")
    return "ADEChallengeData2016"


def missing_root(root: Path) -> str:
    shutil.rmtree(root)
    return str(root)


@pytest.mark.parametrize("damage", [too_large_a_value, corrupt_jpeg, missing_folder, missing_set, missing_root])
def test_unusable_data(bench: Bench, own_data: Path, tmp_path: Path, damage: Callable[[Path], str]) -> None:
    named = damage(own_data)
    result = bench("run", "ade20k-linear", "--quick", "--data-root", str(own_data))
    assert_one_line(result, named)
    assert_nothing_left(tmp_path)
    assert_one_line(bench("data", "check", "ade20k", "--data-root", str(own_data)), named)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("run", "ade20k-uppernet"), "did you mean ade20k-upernet"),
        (("run", "coco-cascade", "-o", "position_size=(8, 8)"), "position_size"),
        (("run", "ade20k-linear", "-o", "learning_rate=1"), "learning_rate"),
        (("run", "ade20k-linear", "--limit", "1000"), "--limit 1000"),
        (("run", "ade20k-linear", "--device", "abacus"), "abacus"),
        (("run", "ade20k-linear", "--device", "cuda:99"), "cuda:99"),
        (("run", "ade20k-linear", "--tower", "ema"), "ema"),
        (("run", "ade20k-linear", "--row", "A@B@C"), "A@B@C"),
        (("data", "check", "imagenet", "--data-root", "."), "imagenet"),
        (("checkpoint", "export", "x.pt"), "--to"),
        (("checkpoint", "export", "--relocate", "nowhere"), "nowhere"),
    ],
)
def test_bad_options(
    monkeypatch: pytest.MonkeyPatch, bench: Bench, data: Path, tmp_path: Path, arguments: tuple[str, ...], named: str
) -> None:
    monkeypatch.setattr("benchmarks.data.sample.ensure", lambda: data)  # the default sample takes long to draw
    assert_one_line(bench(*arguments), named)
    assert_nothing_left(tmp_path)


@pytest.mark.parametrize(
    "arguments", [("fly",), ("run", "ade20k-linear", "--fast"), ("table", "5"), ("run", "all", "--seed", "5000000000")]
)
def test_unknown_words_end_with_code_2(bench: Bench, arguments: tuple[str, ...]) -> None:
    assert bench(*arguments)[0] == 2


def test_a_broken_record_is_named(bench: Bench, tmp_path: Path) -> None:
    folder = tmp_path / "results/runs/some-run"
    folder.mkdir(parents=True)
    (folder / "record.json").write_text("{")
    assert_one_line(bench("table", "1"), "some-run")


def test_an_output_folder_that_cannot_be_is_noticed_first(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for out in ("file", "file/below", "/proc/nope"):
        result = bench("run", "ade20k-linear", "--checkpoint", "also-missing.pt", "--out", out)
        assert_one_line(result, "name another --out")


@pytest.mark.parametrize(("number", "named"), [(errno.EACCES, "permissions"), (errno.ENOSPC, "free some space")])
def test_a_refusing_file_system_is_one_line(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, number: int, named: str
) -> None:
    def refuse(out: Path) -> None:
        raise OSError(number, os.strerror(number), str(out))

    monkeypatch.setattr("benchmarks.records.Store", refuse)
    assert_one_line(bench("table", "1"), "results", named)


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.display.suite_table", lambda data_root: 1 / 0)
    monkeypatch.setattr(sys, "argv", ["bench", "list"])
    with pytest.raises(ZeroDivisionError):
        cli.main()


def test_list_shows_every_benchmark(bench: Bench) -> None:
    code, out, _ = bench("list")
    assert code == 0
    for benchmark in BENCHMARKS:
        assert benchmark.id in out


def test_list_shows_the_state_of_the_data(bench: Bench, data: Path, tmp_path: Path) -> None:
    assert "sample" in bench("list", "--data-root", str(data))[1]
    assert "absent" in bench("data", "list", "--data-root", str(tmp_path))[1]


def test_inspect_and_export(bench: Bench, tmp_path: Path) -> None:
    code, out, _ = bench("checkpoint", "inspect", str(ensure_tiny()))
    assert code == 0
    for part in ("width 128", "matched", "QuickGELU", "image heads"):
        assert part in out
    for form in ("open_clip", "backbone"):
        code, _, err = bench("checkpoint", "export", str(ensure_tiny()), "--to", form, "--out", f"exported-{form}")
        assert code == 0, err
        assert bench("checkpoint", "inspect", f"exported-{form}")[0] == 0
    (tmp_path / "exported-open_clip").rename(tmp_path / "moved")
    assert bench("checkpoint", "export", "--relocate", "moved")[0] == 0
    config = json.loads((tmp_path / "moved/open_clip_config.json").read_text())
    assert str(tmp_path / "moved") in config["model_cfg"]["vision_cfg"]["timm_model_name"]


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `bench pretrain` leaves of a small DetailCLIP."""
    from pretrain.checkpoint import save_checkpoint
    from tests.pretrain.tiny import tiny_detailclip

    path = tmp_path_factory.mktemp("run") / "checkpoint.safetensors"
    save_checkpoint(tiny_detailclip(), path, "run", {"method": "detailclip", "epochs": 2}, None)
    return path


def test_export_in_the_released_layout_and_back(bench: Bench, pretrained: Path, tmp_path: Path) -> None:
    from pretrain import DetailCLIP
    from pretrain.checkpoint import load_pretrained

    code, out, err = bench("checkpoint", "export", str(pretrained), "--to", "released")
    assert (code, out.strip()) == (0, "checkpoint-released.pt"), err
    assert bench("checkpoint", "export", str(pretrained), "--to", "released", "--out", "below/mine.pt")[0] == 0
    expected = load_pretrained(pretrained).state_dict()
    for file in ("checkpoint-released.pt", "below/mine.pt"):
        back = DetailCLIP.from_released(tmp_path / file, image_heads=3, text_heads=2, decoder_heads=4).state_dict()
        assert back.keys() == expected.keys()
        assert all(torch.equal(back[name], value) for name, value in expected.items())


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--tower", "ema"), "--tower ema"),
        (("--image-heads", "3"), "--image-heads 3"),
        (("--text-heads", "2"), "--text-heads 2"),
        (("--out", "taken.pt"), "taken.pt: already exists"),
    ],
)
def test_what_a_released_export_refuses(
    bench: Bench, pretrained: Path, tmp_path: Path, options: tuple[str, ...], named: str
) -> None:
    (tmp_path / "taken.pt").touch()
    assert_one_line(bench("checkpoint", "export", str(pretrained), "--to", "released", *options), named)
    assert [path.name for path in tmp_path.iterdir()] == ["taken.pt"]


def test_only_pretraining_checkpoints_have_the_released_layout(bench: Bench, tmp_path: Path) -> None:
    for path in (str(ensure_tiny()), "missing.safetensors"):
        assert_one_line(bench("checkpoint", "export", path, "--to", "released"), Path(path).name)
    assert_nothing_left(tmp_path)


def test_sample_and_check(monkeypatch: pytest.MonkeyPatch, bench: Bench, tmp_path: Path) -> None:
    few = (0, 64, 24, 13, 1, 0, 0, 0)  # all scenes, and little of what else the default sample has
    monkeypatch.setattr(generate, "__defaults__", few)
    assert bench("data", "sample", "made")[0] == 0
    code, out, _ = bench("data", "check", "ade20k", "--data-root", "made")
    assert code == 0
    assert "64 of 20210 pairs" in out
    assert_one_line(bench("data", "sample", str(tmp_path)), str(tmp_path))


@pytest.mark.parametrize("form", ["text", "markdown", "latex", "csv", "html"])
@pytest.mark.parametrize("number", ["1", "2", "3", "4"])
def test_tables_print_the_paper_without_any_run(bench: Bench, number: str, form: str) -> None:
    code, out, _ = bench("table", number, "--format", form)
    assert code == 0
    assert {"1": "48.8", "2": "65.9", "3": "64.1", "4": "43.3"}[number] in out


def test_light_commands_do_not_import_heavy_libraries() -> None:
    """`bench --help` and `bench list` answer at once: no torch, pandas, mmengine or numpy behind them."""
    code = (
        "import sys; from typer.testing import CliRunner; from benchmarks.cli import app; "
        "results = [CliRunner().invoke(app, words) for words in (['--help'], ['list'], ['list', '--data-root', '.'])]; "
        "assert all(result.exit_code == 0 for result in results), results; "
        "heavy = {'torch', 'pandas', 'mmengine', 'mmseg', 'numpy', 'PIL', 'scipy'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
