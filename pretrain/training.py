"""A pretraining run: from a checked job to a checkpoint.

The named fields of ``PretrainFields`` become a complete MMEngine config here, and nowhere else.
"""

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import torch
from mmengine.dist import is_main_process
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper
from mmengine.registry import DATASETS, OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, OPTIMIZERS
from torch import nn

from benchmarks.checkpoints import IMAGENET
from benchmarks.data.root import require_root
from benchmarks.engine.device import choose_device
from benchmarks.engine.launch import Launcher, count_processes, from_main
from benchmarks.engine.precision import Precision, optim_wrapper, precision_used
from benchmarks.engine.protocol import parse_overrides
from benchmarks.engine.runner import STATE_FILE, BenchRunner
from benchmarks.engine.together import together
from benchmarks.errors import OptionError, RecordError
from benchmarks.files import exclusive, remove_folder, write_text
from pretrain import hooks  # noqa: F401 (registers them)
from pretrain.checkpoint import save_checkpoint
from pretrain.fields import FREE_TO_CHANGE, PretrainFields, leaves, load_fields
from pretrain.hooks import Steps
from pretrain.methods import METHODS, Method

Existing = Literal["skip", "resume", "overwrite"]
Say = Callable[[str], None]

CHECKPOINT = "checkpoint.safetensors"
RECORD = "training.json"
LOGS = "logs"


@dataclass(frozen=True)
class PretrainJob:
    """What the user asked for.

    Attributes:
        config: name of a shipped config, or path of one.
        data_root: what the relative paths of the config's data are beneath.
        out: folder of the run; None takes ``results/pretrained/<config>-seed<seed>``.
        seed: decides initialisation, order and augmentation.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
        launcher: how this process was started.
        overrides: ``field=value`` texts.
    """

    config: str
    data_root: Path
    out: Path | None = None
    seed: int = 0
    device: str = "auto"
    launcher: Launcher = "none"
    overrides: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """Where the run writes."""
        return (
            self.out.resolve() if self.out else Path("results/pretrained", f"{Path(self.config).stem}-seed{self.seed}")
        )


@dataclass(frozen=True)
class PretrainPlan:
    """A job that has been checked against its config, data and machine."""

    job: PretrainJob
    fields: PretrainFields[Any]
    steps: Steps
    device: torch.device
    processes: int

    @property
    def precision(self) -> Precision:
        """What runs: the CPU takes float32 where float16 is asked for."""
        return precision_used(self.fields.training.precision, self.device)

    @property
    def row(self) -> str | None:
        """The row of the paper's tables that the checkpoint stands for.

        A step that is made of several micro-batches compares fewer pairs than the row's: it stands for none, unless
        the user says so.
        """
        told = "row" in parse_overrides(self.job.overrides)
        return self.fields.row if told or self.steps.accumulation == 1 else None

    @property
    def record(self) -> dict[str, Any]:
        """What a checkpoint tells of its making, and ``training.json`` of the run, as JSON-able values."""
        fields, method = self.fields, METHODS[self.fields.method]
        own = fields.fields.model_dump(mode="json")
        return {
            "method": fields.method,
            "preset": fields.preset,
            "alphas": {name: value for name, value in own.items() if name.startswith("alpha_")},
            "epochs": fields.training.epochs,
            "images": self.steps.images,
            "views": method.views,
            "batch_size": self.steps.batch,
            "steps": self.steps.total,
            "seed": self.job.seed,
            "precision": self.precision,
            "processes": self.processes,
            "device_batch": fields.execution.device_batch,
            "accumulation": self.steps.accumulation,
            "config": {**fields.model_dump(mode="json"), "row": self.row},
        }

    def config(self) -> Any:
        """The complete MMEngine config of this run."""
        from mmengine.config import Config

        folder, execution = self.job.folder, self.fields.execution
        return Config(
            {
                "default_scope": "mmengine",
                "work_dir": str(folder / LOGS),
                "state_folder": str(folder),
                "experiment_name": folder.name,
                "launcher": self.job.launcher,
                "log_level": "INFO",
                "log_processor": {"type": "LogProcessor", "by_epoch": False, "window_size": execution.log_interval},
                "env_cfg": {"cudnn_benchmark": False, "mp_cfg": {"mp_start_method": "fork", "opencv_num_threads": 0}},
                "randomness": {"seed": self.job.seed},
                "visualizer": {
                    "type": "Visualizer",
                    "vis_backends": [{"type": "LocalVisBackend"}, {"type": "TensorboardVisBackend"}],
                },
                "model": model_config(self.fields),
                "train_dataloader": self._loader(),
                "train_cfg": {"type": "ResumableIterLoop", "max_iters": self.steps.total * self.steps.accumulation},
                "optim_wrapper": self._optimiser(),
                "default_hooks": {
                    "logger": {"type": "LoggerHook", "interval": execution.log_interval},
                    "checkpoint": None, "sampler_seed": None, "param_scheduler": None,
                },
                "custom_hooks": self._hooks(),
            }
        )  # fmt: skip

    def _loader(self) -> dict[str, Any]:
        """The endlessly shuffled pairs, augmented."""
        execution = self.fields.execution
        return {
            "dataset": dataset_config(self.fields, self.job.data_root, self.job.seed),
            "sampler": {"type": "EndlessShuffleSampler"},
            "collate_fn": {"type": "collate_pairs"},
            "batch_size": execution.device_batch,
            "num_workers": execution.workers,
            "persistent_workers": execution.workers > 0,
            "pin_memory": self.device.type == "cuda",
        }

    def _optimiser(self) -> dict[str, Any]:
        """AdamW in one kernel over all tensors, without gradient clipping."""
        training = self.fields.training
        return {
            **optim_wrapper(self.precision, self.device),
            "optimizer": {
                "type": "AdamW", "lr": training.lr, "betas": training.betas, "eps": training.eps,
                "weight_decay": training.weight_decay, "fused": True,
            },
            "accumulative_counts": self.steps.accumulation,
            "constructor": "MethodGroupsConstructor",
        }  # fmt: skip

    def _hooks(self) -> list[dict[str, Any]]:
        """Everything that happens beside forward and backward."""
        training, execution, folder = self.fields.training, self.fields.execution, str(self.job.folder)
        steps, accumulation = asdict(self.steps), self.steps.accumulation
        keep = {"type": "EpochCheckpointHook", "folder": folder, "epochs": execution.checkpoint_epochs,
                "steps": steps, "training": self.record}  # fmt: skip
        return [
            {"type": "IterationSeedHook"},
            {"type": "MeanLossHook"},
            {"type": "FiniteLossHook"},
            {"type": "BrokenImagesHook", "folder": folder, "limit": execution.max_broken},
            {"type": "WarmupCosineHook", "accumulation": accumulation, "steps": self.steps.total,
             "warmup": self.steps.warmup, "start": training.start_lr, "peak": training.lr, "end": training.min_lr},
            {"type": "MethodHook", "steps": steps},
            {"type": "PeakMemoryHook"},
            {"type": "ThroughputHook", "precision": self.precision},
            *([keep] if execution.checkpoint_epochs else []),
            {"type": "DurableStateHook", "interval": execution.state_interval * accumulation},
            {"type": "PretrainProgressHook", "label": self.job.folder.name},
        ]  # fmt: skip


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class MethodGroupsConstructor:
    """Two parameter groups, with and without weight decay, as the method's ``no_weight_decay`` divides them.

    Args:
        optim_wrapper_cfg: of the wrapper, with its ``optimizer``.
        paramwise_cfg: MMEngine's settings for single parameters; there are none.
    """

    def __init__(self, optim_wrapper_cfg: dict[str, Any], paramwise_cfg: None = None) -> None:
        self.wrapper = dict(optim_wrapper_cfg)
        self.optimizer = self.wrapper.pop("optimizer")

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """The optimiser over the trained parameters of ``model``, which may be wrapped for several processes."""
        method = cast(Method, model.module if is_model_wrapper(model) else model)
        groups: dict[bool, list[nn.Parameter]] = {False: [], True: []}
        for name, parameter in method.named_parameters():
            if parameter.requires_grad:
                groups[method.no_weight_decay(name, parameter)].append(parameter)
        parameters = [{"params": groups[False]}, {"params": groups[True], "weight_decay": 0.0}]
        optimizer = OPTIMIZERS.build({**self.optimizer, "params": parameters})
        return OPTIM_WRAPPERS.build({**self.wrapper, "optimizer": optimizer})


def model_config(fields: PretrainFields[Any]) -> dict[str, Any]:
    """The method as MMEngine's registry builds it. Evaluation resizes and crops pictures to the tower's size."""
    size = fields.image_tower.image_size
    return {
        "type": METHODS[fields.method].__name__,
        "image": fields.image_tower.architecture().to_dict(),
        "text": fields.text_tower.architecture().to_dict(),
        "joint": fields.joint,
        "fields": fields.fields.model_dump(),
        "preprocessing": replace(IMAGENET, resize=size, crop=size).to_dict(),
        "checkpoint_blocks": fields.execution.checkpoint_blocks,
    }


def dataset_config(fields: PretrainFields[Any], data_root: Path, seed: int) -> dict[str, Any]:
    """The pairs as MMEngine's registry builds them."""
    return {
        "type": "ImageTextPairs",
        "source": fields.data.model_dump(),
        "views": fields.views.model_dump(),
        "captions": fields.captions.model_dump(),
        "count": METHODS[fields.method].views,
        "size": fields.image_tower.image_size,
        "seed": seed,
        "data_root": str(data_root),
    }


def count_steps(fields: PretrainFields[Any], images: int, processes: int) -> Steps:
    """How the run divides into steps: floor(epochs · images / batch) of them.

    Raises:
        OptionError: the batch is not a multiple of what the processes take at once, or larger than the whole run.
    """
    training, execution = fields.training, fields.execution
    at_once = execution.device_batch * processes
    if training.batch_size % at_once:
        raise OptionError(
            f"training.batch_size={training.batch_size}: is not a multiple of execution.device_batch="
            f"{execution.device_batch} times {processes} processes; change one of them"
        )
    total = int(training.epochs * images / training.batch_size)
    if total < 1:
        raise OptionError(
            f"training.epochs={training.epochs:g}: of {images} images that is less than one batch of "
            f"{training.batch_size}; choose more epochs or a smaller training.batch_size"
        )
    return Steps(
        images=images,
        batch=training.batch_size,
        accumulation=training.batch_size // at_once,
        total=total,
        warmup=min(int(training.warmup_epochs * images / training.batch_size), total),
    )


def check(job: PretrainJob, processes: int) -> tuple[PretrainFields[Any], Steps]:
    """The fields of ``job`` and its division into steps, once config, device and data have been found usable.

    Raises:
        BenchError: one of them cannot be used.
    """
    fields = load_fields(job.config, job.overrides)
    choose_device(job.device)
    require_root(job.data_root)
    with torch.device("meta"):  # sizes that do not fit are found before anything is written
        METHODS[fields.method](**{name: value for name, value in model_config(fields).items() if name != "type"})
    images = len(DATASETS.build(dataset_config(fields, job.data_root, job.seed)))
    return fields, count_steps(fields, images, processes)


def plan(job: PretrainJob) -> PretrainPlan:
    """Check ``job``. With a launcher, this process has joined the others.

    Raises:
        BenchError: config, device or data cannot be used.
    """
    processes = count_processes()
    fields, steps = check(job, processes)
    return PretrainPlan(job, fields, steps, choose_device(job.device), processes)


def pretrain(job: PretrainJob, existing: Existing, say: Say) -> Path | None:
    """Train ``job``, or take up its training, and write its checkpoint; None when the run is there and is left alone.

    The folder then holds ``checkpoint.safetensors``, ``training.json`` (what was trained, and how), the resume state
    and ``logs/`` with the loss curves.

    Args:
        job: what to train; on several processes each calls this with the same.
        existing: what to do with a run that is there: ``resume`` takes an unfinished one up, ``skip`` leaves it,
            ``overwrite`` begins anew.
        say: called with one line for the user, on the main process only.

    Raises:
        BenchError: config, data or options are not usable, another process works on the same run, or it was begun
            with other fields.
    """
    path = job.folder / CHECKPOINT
    with together(job.launcher, job.device) as device:
        checked = plan(replace(job, device=device))
        with _alone(job.folder):
            if not from_main(is_main_process() and _begin(checked, existing, say)):
                return None
            runner = BenchRunner.from_config(checked.config(), checked.device)
            runner.train_only()
            if is_main_process():
                save_checkpoint(cast(Method, runner.bare_model), path, job.folder.name, checked.record, checked.row)
                say(f"evaluate it with: bench run ade20k-linear --checkpoint {path}")
    return path


def _alone(folder: Path) -> AbstractContextManager[None]:
    """The folder's lock, which the main process holds for all."""
    return exclusive(folder) if is_main_process() else nullcontext()


def _begin(checked: PretrainPlan, existing: Existing, say: Say) -> bool:
    """Whether there is something to train; says what is done about a run that is there.

    Raises:
        RecordError: the run was begun with other fields.
    """
    folder = checked.job.folder
    path = folder / RECORD
    if existing == "overwrite":
        _clear(folder)
    if path.exists():
        if existing == "skip" and not (folder / CHECKPOINT).exists():
            say(f"{folder}: begun but not finished, left alone (--existing resume takes it up)")
            return False
        _require_same(_read_record(path), checked.record, folder)
        if (folder / CHECKPOINT).exists():
            say(f"{folder}: already done (--existing overwrite does it anew)")
            return False
    elif (folder / STATE_FILE).exists():
        raise RecordError(f"{path} is missing, but {STATE_FILE} is there; begin anew with --existing overwrite")
    write_text(path, json.dumps(checked.record, indent=2) + "\n")
    steps = checked.steps
    say(f"{folder}: {steps.total} steps of {steps.batch} out of {steps.images} pairs, {checked.precision}")
    if checked.row != checked.fields.row:
        say(
            f"{folder}: will not stand for {checked.fields.row}: the contrastive loss compares "
            f"{steps.batch // steps.accumulation} pairs at a time, there {steps.batch}"
        )
    return True


def _read_record(path: Path) -> dict[str, Any]:
    """The ``training.json`` of a run that is there.

    Raises:
        RecordError: it is damaged.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:  # JSONDecodeError and UnicodeDecodeError
        record = None
    if not isinstance(record, dict):
        raise RecordError(f"{path}: is damaged; begin anew with --existing overwrite")
    return record


def _clear(folder: Path) -> None:
    """Remove what an earlier run left, its result first; nothing else."""
    for pattern in ("checkpoint*.safetensors", STATE_FILE, "broken*.txt", RECORD):
        for file in folder.glob(pattern):
            file.unlink()
    if (folder / LOGS).exists():
        remove_folder(folder / LOGS)


def _require_same(begun: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    """Refuse to take up a run with other fields than it was begun with.

    Raises:
        RecordError: naming the first that differs, a field of the config before what follows from it.
    """
    before, after = dict(leaves(begun)), dict(leaves(json.loads(json.dumps(now))))
    for name in sorted(before.keys() | after.keys(), key=lambda name: (not name.startswith("config."), name)):
        field = name.removeprefix("config.")
        if field not in FREE_TO_CHANGE and before.get(name) != after.get(name):
            raise RecordError(
                f"{folder}: was begun with {field}={before.get(name)}, now it is {after.get(name)}; take it up as it "
                "was, name another --out, or begin anew with --existing overwrite"
            )
