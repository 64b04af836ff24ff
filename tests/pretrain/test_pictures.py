"""Pictures of what the student sees: they show what training does, of the pairs it sees, and change nothing."""

import csv
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from benchmarks import cli
from benchmarks.checkpoints import IMAGENET
from benchmarks.engine.runner import BenchRunner
from benchmarks.errors import OptionError
from pretrain.checkpoint import save_checkpoint
from pretrain.data.captions import tokenize
from pretrain.losses import patch_targets
from pretrain.methods import Batch
from pretrain.methods.base import Look
from pretrain.pictures import (
    COLUMNS,
    GREY,
    HEAT,
    SIDE,
    TABLE,
    Panel,
    caption_of,
    chosen_model,
    compose,
    corner,
    heat_colours,
    heat_map,
    panels,
    show_masks,
    to_pixels,
)
from pretrain.training import PretrainJob, model_config, plan
from tests.pretrain.oracle import Step
from tests.pretrain.tiny import IMAGE, pair_batch, tiny_clip, tiny_detailclip
from tests.pretrain.toy import IMAGES, write_pairs

CONFIG = "detailclip_tiny_sample"


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_pairs(tmp_path / "data")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DetailCLIP much smaller than the config's, with pictures of 48 pixels."""
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_checkpoint(tiny_detailclip(), path, "small", {"method": "detailclip"}, None)
    return path


def job(root: Path, out: Path, *overrides: str, config: str = CONFIG, seed: int = 0) -> PretrainJob:
    return PretrainJob(config, root, out, seed, "cpu", overrides=overrides)


def drawn(job: PretrainJob, checkpoint: Path | None, count: int) -> tuple[list[dict[str, str]], list[str]]:
    """The lines of the table, and what was said."""
    lines: list[str] = []
    folder = show_masks(job, checkpoint, count, lines.append)
    with (folder / TABLE).open(newline="") as stream:
        return list(csv.DictReader(stream)), lines


def noise(seed: int = 3) -> Tensor:
    """A uint8 view (3, 48, 48), no pixel of it GREY."""
    values = torch.randint(0, 256, (3, 48, 48), generator=torch.Generator().manual_seed(seed))
    return torch.where(values == int(GREY[0]), 0, values).to(torch.uint8)


def batch_of(views: Tensor) -> Batch:
    return Batch(views, torch.zeros(len(views), 12, dtype=torch.long))


# ---- what a method says


@pytest.mark.parametrize("preset", ["released", "paper"])
def test_what_is_shown_is_what_a_training_step_does(preset: str) -> None:
    model = tiny_detailclip(preset, pixel_target="raw")
    u, v, tokens = pair_batch()
    look = model.look(Batch(torch.stack([u, v], dim=1), tokens))
    step = model.compute_losses(u, v, tokens, momentum=1.0, trace=True)
    assert torch.equal(look.removed, step["mask_u"])
    assert look.predicted is not None
    assert torch.allclose(look.predicted, step["u_s_reconstructed"], atol=1e-5)
    assert look.attention.shape == (4, 36)


def test_looking_changes_nothing() -> None:
    model = tiny_detailclip("default")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    look = model.look(batch_of(torch.randn(2, 2, 3, 48, 48)))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert look.predicted is not None and not look.predicted.requires_grad


def test_attention_comes_from_the_enclosing_crop_where_there_is_one() -> None:
    model = tiny_detailclip("paper")
    u, v, tokens = pair_batch()
    other = torch.tensor([0.1, 0.2, 0.5, 0.9])
    straight, mirrored = (torch.tensor(box) for box in ([0.0, 0.0, 1.0, 1.0], [1.0, 0.0, 0.0, 1.0]))
    looks = [
        model.look(Batch(torch.stack([u, u], dim=1), tokens, v, torch.stack([box, other]).expand(4, -1, -1)))
        for box in (straight, mirrored)
    ]
    expected = model.look(Batch(torch.stack([v, u], dim=1), tokens)).attention
    assert torch.allclose(looks[0].attention, expected, atol=1e-7), "the first view's box, not the second's"
    assert torch.allclose(looks[1].attention, expected.view(4, 6, 6).flip(2).flatten(1), atol=1e-7)


def test_an_untrained_decoder_is_not_asked() -> None:
    look = tiny_detailclip(alpha_reconstruction=0.0).look(batch_of(torch.randn(1, 2, 3, 48, 48)))
    assert look.predicted is None
    single = Look(look.attention[0], look.removed[0], None)
    assert len(panels(noise(), single, IMAGENET)) == 3


def test_a_method_without_removal_says_so() -> None:
    with pytest.raises(OptionError, match="CLIP removes no patches"):
        tiny_clip().look(batch_of(torch.randn(1, 1, 3, 48, 48)))


# ---- what is drawn


class Perfect(nn.Module):
    """A last layer that knows the targets of all patches."""

    def __init__(self, targets: Tensor) -> None:
        super().__init__()
        self.targets = targets

    def forward(self, tokens: Tensor) -> Tensor:
        assert tokens.shape[:2] == self.targets.shape[:2]
        return self.targets


@pytest.mark.parametrize("target", ["normalised", "raw"])
def test_a_perfect_decoder_gives_the_picture_back(monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    model, view = tiny_detailclip(pixel_target=target), noise()
    views = model.data_preprocessor.normalise(view[None])
    every = torch.arange(36)[None]
    perfect = Perfect(patch_targets(views, every, IMAGE.patch_size, target == "normalised"))
    monkeypatch.setattr(model.decoder, "predict", perfect)
    look = model.look(batch_of(views[:, None].repeat(1, 2, 1, 1, 1)))
    assert look.predicted is not None
    single = Look(look.attention[0], look.removed[0], look.predicted[0])
    shown, _, _, predicted, filled = panels(view, single, model.preprocessing)
    assert np.array_equal(shown.pixels, view.permute(1, 2, 0).numpy())
    assert np.array_equal(predicted.pixels, shown.pixels)
    assert np.array_equal(filled.pixels, shown.pixels)


def test_exactly_the_removed_patches_are_grey_and_only_they_are_filled() -> None:
    view, removed = noise(), torch.rand(36, generator=torch.Generator().manual_seed(0)) < 0.5
    look = Look(torch.rand(36), removed, torch.zeros(36, 192))
    shown, _, kept, predicted, filled = (panel.pixels for panel in panels(view, look, IMAGENET))
    for number, gone in enumerate(removed.tolist()):
        row, column = divmod(number, 6)
        cell = np.s_[8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
        assert (kept[cell] == GREY).all() == gone
        assert np.array_equal(kept[cell], shown[cell]) == (not gone)
        assert np.array_equal(filled[cell], predicted[cell] if gone else shown[cell])


def test_pixels_out_of_range_are_cut() -> None:
    assert to_pixels(torch.full((4, 12), 100.0), IMAGENET).tolist() == np.full((4, 4, 3), 255).tolist()
    assert to_pixels(torch.full((4, 12), -100.0), IMAGENET).max() == 0


def test_the_heat_map_rises_with_attention_patch_by_patch() -> None:
    attention = np.arange(36) / 1000 + 0.5
    colours = heat_map(np.full((48, 48, 3), 100, np.uint8), attention)[::8, ::8].reshape(36, 3).astype(float)
    assert (np.diff(colours.sum(axis=1)) > 0).all()
    ends = 0.65 * heat_colours(np.array([0.0, 1.0])) + 35
    assert np.abs(colours[[0, -1]] - ends).max() <= 0.5
    assert np.array_equal(heat_colours(np.linspace(0, 1, len(HEAT))), HEAT)


def test_equal_attention_is_drawn_too() -> None:
    assert np.unique(heat_map(np.zeros((48, 48, 3), np.uint8), np.full(36, 0.02)).reshape(-1, 3), axis=0).shape[0] == 1


@pytest.mark.parametrize(("size", "side"), [(48, 240), (224, 224), (384, 384)])
def test_small_panels_are_enlarged_and_placed_side_by_side(size: int, side: int) -> None:
    squares = [np.random.default_rng(number).integers(0, 256, (size, size, 3), dtype=np.uint8) for number in range(3)]
    picture = compose([Panel(str(number), pixels) for number, pixels in enumerate(squares)], "a caption")
    assert side >= SIDE
    for number, pixels in enumerate(squares):
        left, top = corner(number, side)
        placed = np.asarray(picture.crop((left, top, left + side, top + side)))
        assert np.array_equal(placed, pixels.repeat(side // size, 0).repeat(side // size, 1))


def test_a_long_caption_gets_more_lines() -> None:
    square = [Panel("view", np.zeros((224, 224, 3), np.uint8))]
    short, long = compose(square, "short"), compose(square, "a long caption " * 10)
    assert short.width == long.width and long.height > short.height
    below = np.asarray(long)[short.height :]
    assert (below == 255).all(axis=2).mean() < 0.99, "there is text"


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("A  Dog &amp; a CAT!", "a dog & a cat !"),
        ("ünïcode 猫", "ünïcode 猫"),
        ("word " * 100, ("word " * 75).strip()),
        ("", ""),
    ],
)
def test_the_caption_is_what_the_text_tower_reads(text: str, read: str) -> None:
    assert caption_of(tokenize(text, "keep_eot")) == read


def test_a_caption_that_lost_its_end_is_read_to_its_last_token() -> None:
    assert caption_of(tokenize("word " * 100, "legacy_truncate")) == ("word " * 76).strip()


# ---- the command


def test_pictures_and_table_are_written_for_the_first_pairs(root: Path, tmp_path: Path, checkpoint: Path) -> None:
    rows, lines = drawn(job(root, tmp_path / "out"), checkpoint, 3)
    assert tuple(rows[0]) == COLUMNS
    assert [row["file"] for row in rows] == ["0000.png", "0001.png", "0002.png"]
    assert lines == [f"weights: {checkpoint}", f"{tmp_path / 'out' / 'masks'}: 3 pictures"]
    assert {row["patches"] for row in rows} == {"36"}, "sizes are the checkpoint's, not the config's"
    for row in rows:
        with Image.open(tmp_path / "out" / "masks" / row["file"]) as picture:
            left, top = corner(2, 240)
            kept = np.asarray(picture.crop((left, top, left + 240, top + 240)))[20::40, 20::40]
        assert (kept == GREY).all(axis=2).sum() == int(row["removed"]) == 16
        assert 0 < float(row["attention_min"]) < float(row["attention_max"]) < 1
        assert row["caption"].startswith(f"picture {Path(row['pair']).stem}")


def test_they_are_the_pairs_and_views_of_the_training(root: Path, tmp_path: Path, checkpoint: Path) -> None:
    def files(out: str, count: int, seed: int = 0) -> list[bytes]:
        drawn(job(root, tmp_path / out, seed=seed), checkpoint, count)
        return [file.read_bytes() for file in sorted((tmp_path / out / "masks").iterdir())]

    again = files("a", 2)
    assert again == files("b", 2)
    assert again[:2] == files("more", 4)[:2], "the number asked for does not decide"
    assert again[0] != files("other", 2, seed=1)[0]
    assert len(files("more", 1)) == 2, "pictures of an earlier call are gone"


def test_the_first_pairs_are_the_first_of_the_loader(root: Path, tmp_path: Path) -> None:
    checked = plan(job(root, tmp_path / "out", "training.batch_size=2", "execution.device_batch=2"))
    first = next(iter(BenchRunner.build_dataloader(checked.config().train_dataloader, seed=0)))
    rows, _ = drawn(checked.job, None, 2)
    assert [caption_of(tokens) for tokens in first["tokens"]] == [row["caption"] for row in rows]
    left, top = corner(0, 256)
    for row, views in zip(rows, first["views"], strict=True):
        with Image.open(tmp_path / "out" / "masks" / row["file"]) as picture:
            shown = np.asarray(picture.crop((left, top, left + 256, top + 256)))
        assert np.array_equal(shown[::2, ::2], views[0].permute(1, 2, 0).numpy())


def test_the_data_set_is_gone_through_once_and_broken_pairs_are_named(
    root: Path, tmp_path: Path, checkpoint: Path
) -> None:
    (root / "pairs/4.png").write_bytes(b"no picture")
    rows, lines = drawn(job(root, tmp_path / "out"), checkpoint, 50)
    assert len(rows) == IMAGES - 1
    assert len({row["pair"] for row in rows}) == len(rows)
    assert [line for line in lines if "skipped" in line] == ["4.png: has no readable image or no text, skipped"]


def test_without_a_checkpoint_the_weights_are_those_a_training_begins_with(root: Path, tmp_path: Path) -> None:
    checked = plan(job(root, tmp_path / "out", "training.batch_size=2", "execution.device_batch=2", seed=4))
    begun = BenchRunner.from_config(checked.config(), checked.device).bare_model.state_dict()
    lines: list[str] = []
    state = torch.get_rng_state()
    model = chosen_model(checked.job, None, model_config(checked.fields), lines.append)
    assert all(torch.equal(value, begun[name]) for name, value in model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    assert "random weights" in lines[0]


def test_the_result_in_the_folder_is_taken(root: Path, tmp_path: Path, checkpoint: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "checkpoint.safetensors").write_bytes(checkpoint.read_bytes())
    rows, lines = drawn(job(root, folder), None, 1)
    assert lines[0] == f"weights: {folder / 'checkpoint.safetensors'}"
    assert rows == drawn(job(root, tmp_path / "told"), checkpoint, 1)[0]


def test_a_published_file_is_drawn(root: Path, tmp_path: Path, step: Step) -> None:
    rows, lines = drawn(job(root, tmp_path / "out"), step.path, 1)
    assert len(rows) == 1 and "width/48" in lines[0]


def test_the_enclosing_crop_reaches_the_teacher(root: Path, tmp_path: Path, checkpoint: Path) -> None:
    for number in range(IMAGES):
        pixels = np.random.default_rng(number).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"pairs/{number}.png")
    same = drawn(job(root, tmp_path / "same"), checkpoint, 1)[0][0]
    around = drawn(job(root, tmp_path / "around", "views.teacher_view=enclosing"), checkpoint, 1)[0][0]
    assert same["pair"] == around["pair"] and same["attention_max"] != around["attention_max"]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["clip_tiny_sample", "--show-masks", "1"], "CLIP removes no patches"),
        ([CONFIG, "--show-masks", "0"], "x>=1"),
        ([CONFIG, "--show-masks", "-2"], "x>=1"),
        ([CONFIG, "--checkpoint", "some.pt"], "belongs to --show-masks"),
        ([CONFIG, "--show-masks", "1", "--launcher", "pytorch"], "drawn by one process"),
        ([CONFIG, "--show-masks", "1", "--checkpoint", "missing.safetensors"], "missing.safetensors"),
        ([CONFIG, "--show-masks", "1", "--checkpoint", "missing.pt"], "missing.pt"),
    ],
)
def test_what_cannot_be_drawn_is_refused(
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    line: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        sys, "argv", ["bench", "pretrain", *arguments, "--data-root", str(root), "--out", "out", "--device", "cpu"]
    )
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2
    assert line in capsys.readouterr().err
    assert not Path("out").exists(), "nothing is written"


def test_the_command_names_the_folder(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], checkpoint: Path
) -> None:
    out = tmp_path / "out"
    words = ["bench", "pretrain", CONFIG, "--show-masks", "1", "--checkpoint", str(checkpoint), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", [*words, "--data-root", str(root), "--device", "cpu"])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert not stopped.value.code
    assert capsys.readouterr().out.strip() == str(out / "masks")
    assert sorted(path.name for path in out.iterdir()) == ["masks"], "nothing was trained"
