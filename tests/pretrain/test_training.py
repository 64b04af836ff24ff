"""The trainer with a toy method: steps, schedules, groups, what a run leaves behind, and what it refuses."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from benchmarks import cli
from benchmarks.checkpoints import inspect_checkpoint
from benchmarks.engine.runner import BenchRunner
from benchmarks.engine.schedule import warmup_cosine
from benchmarks.engine.state import load_state
from benchmarks.errors import DataError, OptionError, RecordError
from benchmarks.files import exclusive
from pretrain import training
from pretrain.checkpoint import load_pretrained
from pretrain.hooks import longest
from pretrain.training import CHECKPOINT, RECORD, PretrainJob, count_steps, plan
from tests.pretrain.toy import IMAGES, Toy, toy_fields, toy_plan, train, write_pairs


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_pairs(tmp_path / "data")


def weights(out: Path) -> dict[str, Tensor]:
    loaded: dict[str, Tensor] = load_file(out / CHECKPOINT)
    return loaded


def largest_difference(left: Path, right: Path) -> float:
    ours, theirs = weights(left), weights(right)
    assert ours.keys() == theirs.keys()
    return max(float((ours[name] - theirs[name]).abs().max()) for name in ours)


def scalars(out: Path) -> list[dict[str, Any]]:
    """The lines of the log, over all beginnings of a run."""
    files = sorted(out.glob("logs/*/vis_data/scalars.json"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def finished_model(monkeypatch: pytest.MonkeyPatch, root: Path, *overrides: str) -> Toy:
    """The model at the end of a training, with what it was told on the way."""
    models: list[Toy] = []
    monkeypatch.setattr(training, "save_checkpoint", lambda model, *rest: models.append(model))
    train(root, root.parent / "out", *overrides)
    return models[0]


# ---- steps


def test_two_micro_batches_are_one_batch_of_double_size(root: Path, tmp_path: Path) -> None:
    train(root, tmp_path / "whole")
    train(root, tmp_path / "halves", "execution.device_batch=2")
    assert largest_difference(tmp_path / "whole", tmp_path / "halves") < 1e-6
    other = weights(tmp_path / "whole")["layer.weight"]
    train(root, tmp_path / "small", "training.batch_size=2", "execution.device_batch=2")
    assert not torch.allclose(other, weights(tmp_path / "small")["layer.weight"], atol=1e-4), "the test can tell"


def test_progress_is_told_in_optimiser_steps(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    model = finished_model(monkeypatch, root, "execution.device_batch=1")
    assert [progress.step for progress in model.told] == [step for step in range(10) for _ in range(4)]
    assert [progress.begins_step for progress in model.told] == 10 * [True, False, False, False]
    assert [progress.epoch for progress in model.told[::4]] == [step * 4 // IMAGES for step in range(10)]
    assert {(progress.steps, progress.accumulation) for progress in model.told} == {(10, 4)}
    assert model.steps_done == 10


def test_the_rate_of_the_log_is_the_schedules(root: Path, tmp_path: Path) -> None:
    train(root, tmp_path / "out", "execution.log_interval=1", "training.warmup_epochs=1")
    logged = [line["lr"] for line in scalars(tmp_path / "out")]
    assert logged == [warmup_cosine(step, 10, 2, 0.01, 0.05, 0.001) for step in range(10)]


def test_steps_are_counted_over_the_endless_stream(root: Path) -> None:
    fields = toy_plan(root).fields
    steps = count_steps(fields, images=10, processes=1)
    assert (steps.total, steps.warmup, steps.accumulation) == (10, 2, 1)
    assert [steps.epoch(step) for step in (0, 2, 3, 5, 10)] == [0, 0, 1, 2, 4]


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("execution.device_batch=3", "training.batch_size=4: is not a multiple of execution.device_batch=3"),
        ("training.epochs=0.1", "less than one batch"),
    ],
)
def test_batches_that_do_not_fit_are_refused(root: Path, override: str, named: str) -> None:
    with pytest.raises(OptionError, match=named):
        toy_plan(root, override)


def test_only_what_the_method_exempts_does_not_decay(root: Path) -> None:
    checked = toy_plan(root)
    runner = BenchRunner.from_config(checked.config(), checked.device)
    groups = runner.build_optim_wrapper(runner.optim_wrapper).optimizer.param_groups
    shapes = [(group["weight_decay"], [tuple(item.shape) for item in group["params"]]) for group in groups]
    assert shapes == [(0.5, [(1, 6)]), (0.0, [(1,)])], "frozen ones are in neither"
    assert all(group["fused"] and group["betas"] == (0.9, 0.98) for group in groups)


@pytest.mark.parametrize("method", ["clip", "detailclip"])
def test_the_runner_leaves_the_methods_initialisation_alone(root: Path, tmp_path: Path, method: str) -> None:
    """MMEngine initialises again whatever has ``init_weights``, as timm's towers do: teacher and student would part."""
    overrides = ("training.epochs=4", "training.batch_size=2", "execution.device_batch=2")
    job = PretrainJob(f"{method}_tiny_sample", root, tmp_path / "out", device="cpu", overrides=overrides)
    checked = plan(job)
    runner = BenchRunner.from_config(checked.config(), checked.device)
    before = {name: value.clone() for name, value in runner.model.state_dict().items()}
    runner._init_model_weights()
    assert all(torch.equal(value, before[name]) for name, value in runner.model.state_dict().items())


def test_mixed_precision_runs_and_is_told(root: Path, tmp_path: Path) -> None:
    for asked, used in (("bf16", "bf16"), ("fp16", "fp32")):
        train(root, tmp_path / asked, f"training.precision={asked}")
        record = json.loads((tmp_path / asked / RECORD).read_text())
        assert record["precision"] == used, "the CPU has no fp16"
        assert record["config"]["training"]["precision"] == asked


# ---- what a run leaves


def test_the_checkpoint_tells_how_it_was_made(root: Path, tmp_path: Path) -> None:
    lines = train(root, tmp_path / "out", seed=7)
    record = json.loads((tmp_path / "out" / RECORD).read_text())
    told = {name: record[name] for name in ("method", "alphas", "epochs", "images", "views", "batch_size", "seed")}
    assert told == {
        "method": "toy", "alphas": {"alpha_toy": 1.0}, "epochs": 4, "images": 10, "views": 2, "batch_size": 4, "seed": 7
    }  # fmt: skip
    again = load_pretrained(tmp_path / "out" / CHECKPOINT)
    assert isinstance(again, Toy)
    assert torch.equal(again.state_dict()["layer.weight"], weights(tmp_path / "out")["layer.weight"])
    assert "10 steps of 4 out of 10 pairs" in lines[0]
    assert lines[-1].endswith(f"bench run ade20k-linear --checkpoint {tmp_path / 'out' / CHECKPOINT}")


def test_the_log_has_losses_and_speed(root: Path, tmp_path: Path) -> None:
    train(root, tmp_path / "out")
    (events,) = (tmp_path / "out/logs").rglob("events.out.tfevents.*")
    assert b"images_per_second" in events.read_bytes(), "TensorBoard has the curves too"
    assert len(scalars(tmp_path / "out")) == 5
    for line in scalars(tmp_path / "out"):
        assert line["loss"] == pytest.approx(line["toy"], abs=1)
        assert line["images_per_second"] > 0
        assert 0 <= line["data_wait"] <= 1.5
        assert 0 < line["matmul_share"] < 1


def test_checkpoints_are_kept_by_the_epoch(root: Path, tmp_path: Path) -> None:
    train(root, tmp_path / "out", "execution.checkpoint_epochs=2", "execution.device_batch=2")
    kept = sorted(path.name for path in (tmp_path / "out").glob("checkpoint-*"))
    assert kept == ["checkpoint-epoch-002.safetensors", "checkpoint-epoch-004.safetensors"]
    last, middle = (load_file(tmp_path / "out" / name) for name in reversed(kept))
    assert torch.equal(last["layer.weight"], weights(tmp_path / "out")["layer.weight"])
    assert not torch.equal(middle["layer.weight"], last["layer.weight"])


def test_the_last_step_counts_as_the_end_of_the_last_pass(root: Path, tmp_path: Path) -> None:
    """Three passes over 10 pairs are 7 steps of 4: 28 pairs, so that the third is never whole."""
    train(root, tmp_path / "out", "training.epochs=3", "execution.checkpoint_epochs=1")
    kept = sorted((tmp_path / "out").glob("checkpoint-*"))
    assert [path.name[-15:-12] for path in kept] == ["001", "002", "003"]
    assert torch.equal(load_file(kept[-1])["layer.weight"], weights(tmp_path / "out")["layer.weight"])
    told = inspect_checkpoint(kept[-1])
    assert told.training is not None and told.training["epochs"] == 3


def test_micro_batches_take_the_row_away_unless_it_is_told(root: Path, tmp_path: Path) -> None:
    """They compare fewer pairs than the row's training did."""
    fields = toy_fields() | {"row": "Toy@4", "training": toy_fields()["training"] | {"epochs": 1}}
    config = root.parent / "toy.json"
    for name, device_batch, told, row in (
        ("whole", 4, (), "Toy@4"),
        ("halves", 2, (), None),
        ("told", 2, ("row=Toy@4",), "Toy@4"),
    ):
        config.write_text(json.dumps(fields | {"execution": fields["execution"] | {"device_batch": device_batch}}))
        lines = train(root, tmp_path / name, *told)
        record = json.loads((tmp_path / name / RECORD).read_text())
        assert (inspect_checkpoint(tmp_path / name / CHECKPOINT).row, record["config"]["row"]) == (row, row)
        execution = [record[key] for key in ("processes", "device_batch", "accumulation")]
        assert execution == [1, device_batch, 4 // device_batch]
        said = "will not stand for Toy@4: the contrastive loss compares 2 pairs at a time, there 4"
        assert (said in lines[1]) == (row is None)


def test_a_seed_decides_everything(root: Path, tmp_path: Path) -> None:
    train(root, tmp_path / "a", "fields.dropout=0.5")
    train(root, tmp_path / "b", "fields.dropout=0.5")
    train(root, tmp_path / "c", "fields.dropout=0.5", seed=1)
    assert largest_difference(tmp_path / "a", tmp_path / "b") == 0
    assert largest_difference(tmp_path / "a", tmp_path / "c") > 1e-3


def test_padding_is_not_text_but_token_0_within_a_text_is() -> None:
    tokens = torch.tensor([[5, 0, 7, 0, 0], [5, 7, 0, 0, 0]])
    assert longest(tokens) == 3
    assert longest(tokens[1:]) == 2


# ---- runs that are there already


def test_a_finished_run_is_left_alone(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    train(root, out)
    before = (out / CHECKPOINT).stat().st_mtime_ns
    assert "already done" in train(root, out, existing="resume")[-1]
    assert "already done" in train(root, out, existing="skip")[-1]
    assert (out / CHECKPOINT).stat().st_mtime_ns == before


def test_overwriting_leaves_nothing_of_the_old_run(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    train(root, out, "execution.checkpoint_epochs=1")
    (out / "notes.txt").write_text("the user's own")
    train(root, out, "training.lr=0.01", existing="overwrite")
    assert not list(out.glob("checkpoint-epoch-*"))
    assert len(list((out / "logs").iterdir())) == 1
    assert (out / "notes.txt").exists()
    assert json.loads((out / RECORD).read_text())["config"]["training"]["lr"] == 0.01


def test_other_fields_are_refused_by_name(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    train(root, out)
    for override, named in (
        ("training.lr=0.01", r"begun with training.lr=0.05, now it is 0.01"),
        ("fields.dropout=0.1", r"fields.dropout=0.0"),
        ("execution.device_batch=2", r"execution.device_batch"),
        ("fields.alpha_toy=2", r"begun with fields.alpha_toy=1.0"),
        ("captions.choice=first", r"captions.choice=concatenate"),
    ):
        with pytest.raises(RecordError, match=named):
            train(root, out, override)
    with pytest.raises(RecordError, match="seed=0, now it is 1"):
        train(root, out, seed=1)
    assert "already done" in train(root, out, "execution.workers=1", "execution.state_interval=1")[-1]


def test_two_processes_never_train_in_one_folder(root: Path, tmp_path: Path) -> None:
    with exclusive(tmp_path / "out"), pytest.raises(RecordError, match="another process"):
        train(root, tmp_path / "out")


def test_the_default_folder_names_config_and_seed(root: Path) -> None:
    assert PretrainJob("clip_tiny_sample", root, seed=3).folder == Path("results/pretrained/clip_tiny_sample-seed3")
    assert PretrainJob("some/mine.py", root).folder == Path("results/pretrained/mine-seed0")


# ---- broken images


def damage(root: Path, *numbers: int) -> None:
    for number in numbers:
        path = root / f"pairs/{number}.png"
        path.write_bytes(path.read_bytes()[:40])


def test_broken_images_are_counted_and_named(root: Path, tmp_path: Path) -> None:
    damage(root, 3, 5)
    train(root, tmp_path / "out", "execution.max_broken=2")
    names = (tmp_path / "out/broken.txt").read_text().splitlines()
    assert len(names) == 2, "each once, though every pass over the data meets them again"
    assert all(any(f"{number}.png" in name for name in names) for number in (3, 5))


def test_more_broken_images_than_allowed_stop_the_run(root: Path, tmp_path: Path) -> None:
    damage(root, 3, 5, 7)
    with pytest.raises(DataError, match=r"\.png.*max_broken") as stopped:
        train(root, tmp_path / "out", "execution.max_broken=2")
    assert str(tmp_path / "out/broken.txt") in str(stopped.value)
    with pytest.raises(DataError, match="max_broken"):  # taken up, it remembers them
        train(root, tmp_path / "out", "execution.max_broken=2")
    train(root, tmp_path / "out", "execution.max_broken=3")
    assert len((tmp_path / "out/broken.txt").read_text().splitlines()) == 3


def test_pairs_without_text_are_named_for_what_they_lack(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="its image cannot be read or it has no text"):
        train(root, tmp_path / "out", "data.captions=['description']")


def test_no_term_may_be_called_a_loss(monkeypatch: pytest.MonkeyPatch, root: Path, tmp_path: Path) -> None:
    """MMEngine adds up whatever has "loss" in its name: the total would count twice."""
    losses = Toy.losses
    monkeypatch.setattr(Toy, "losses", lambda self, batch: losses(self, batch) | {"toy_loss": torch.zeros(())})
    with pytest.raises(AssertionError, match="toy_loss"):
        train(root, tmp_path / "out")


def test_the_final_state_stands_beside_the_checkpoint(root: Path, tmp_path: Path) -> None:
    train(root, tmp_path / "out")
    state = load_state(tmp_path / "out/resume.safetensors")
    assert state["iterations"] == 10
    np.testing.assert_array_equal(state["model"]["layer.weight"], weights(tmp_path / "out")["layer.weight"])


# ---- the command


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["clip_tiny"], "clip_tiny_sample"),
        (["clip_tiny_sample", "--preset", "paper"], "clip has default"),
        (["clip_tiny_sample", "-o", "training.lr=fast"], "training.lr"),
        (["clip_tiny_sample", "-o", "data.table=nowhere.csv"], "nowhere.csv"),
        (["clip_tiny_sample", "--device", "tpu"], "--device tpu"),
        (["clip_tiny_sample", "--nproc", "2"], "--launcher pytorch"),
        (["clip_tiny_sample", "--data-root", "nowhere"], "nowhere: no such data folder"),
    ],
)
def test_the_command_refuses_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    root: Path,
    tmp_path: Path,
    arguments: list[str],
    named: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_DATA_ROOT", str(root))
    monkeypatch.setattr("sys.argv", ["bench", "pretrain", *arguments])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    lines = capsys.readouterr().err.splitlines()
    assert stopped.value.code == 2
    assert len(lines) == 1
    assert lines[0].startswith("error:")
    assert named in lines[0]
    assert not (tmp_path / "results").exists()
