"""What segmentation and detection share between a checked job and a finished run."""

from pathlib import Path
from typing import Any

import torch

from benchmarks.checkpoints import ImageTower, save_backbone
from benchmarks.dense.backbone import tap_blocks
from benchmarks.dense.operators import kind as operators_kind
from benchmarks.dense.protocol import BackboneFields, DenseFields, ExecutionFields, NormLayer
from benchmarks.engine.device import describe
from benchmarks.engine.division import Division, divide
from benchmarks.engine.launch import count_processes
from benchmarks.engine.precision import Precision, optim_wrapper, precision_used
from benchmarks.run import Job

Statistics = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation of RGB in 0..1."""


def backbone_weights(tower: ImageTower, state: Path) -> Path:
    """The tower as the one sanitised file that MMEngine gets, in the folder ``state``; written once."""
    weights = state / "backbone.safetensors"
    if not weights.exists():
        save_backbone(tower, weights)
    return weights


def run_config(
    job: Job, folder: Path, state: Path, execution: ExecutionFields, scope: str, parts: dict[str, Any]
) -> Any:
    """The complete MMEngine config of a run.

    Args:
        job: the job.
        folder: of the run: logs go there.
        state: where the resume state lies.
        execution: the protocol's fields that decide time and memory.
        scope: the library whose registry serves: ``mmseg`` or ``mmdet``.
        parts: what the task decides: model, loaders, loops, evaluator, optimiser and schedule.
    """
    from mmengine.config import Config

    return Config(
        {
            "default_scope": scope,
            "work_dir": str(folder / "training"),
            "state_folder": str(state),
            "experiment_name": job.benchmark.id,
            "launcher": job.launcher,
            "log_level": "INFO",
            "env_cfg": environment_config(),
            "randomness": {"seed": job.seed},
            "visualizer": {"type": "Visualizer", "vis_backends": [{"type": "LocalVisBackend"}]},
            **parts,
            "default_hooks": {"logger": {"type": "LoggerHook", "interval": 50}, "checkpoint": None,
                              "sampler_seed": None},
            "custom_hooks": [
                {"type": "IterationSeedHook"},
                {"type": "MeanLossHook"},
                {"type": "PeakMemoryHook"},
                {"type": "DurableStateHook", "interval": execution.state_interval},
                {"type": "ProgressHook", "label": job.benchmark.id},
            ],
        },
        format_python_code=False,  # yapf takes seconds over a detector's config
    )  # fmt: skip


def environment_config() -> dict[str, Any]:
    """Forked loader workers, no threads inside OpenCV, no algorithm search by timing."""
    return {
        "cudnn_benchmark": False,
        "mp_cfg": {"mp_start_method": "fork", "opencv_num_threads": 0},
        "dist_cfg": {},
    }


def division_of(fields: DenseFields) -> Division:
    """How the protocol's batch is divided over the processes of this launch.

    Raises:
        OptionError: it leaves a remainder.
    """
    return divide(fields.batch_size, count_processes(), fields.execution.accumulate)


def norm_batch(norm_layer: NormLayer, division: Division, device: torch.device) -> int | None:
    """Images over which ``norm_layer`` takes its statistics; None where it takes them of each image alone.

    SyncBN takes them over all processes, but a CPU has no SyncBN.
    """
    if norm_layer == "GN":
        return None
    return division.part * (division.processes if norm_layer == "SyncBN" and device.type == "cuda" else 1)


def with_norm_batch(protocol: dict[str, Any], together: int | None) -> dict[str, Any]:
    """The protocol, and ``norm_batch`` where it is not the total batch: what then runs is another protocol.

    Args:
        protocol: the fingerprinted fields.
        together: images that are batch-normalised together; None where none are.
    """
    whole = together is None or together == protocol["batch_size"]
    return protocol if whole else {**protocol, "norm_batch": together}


def training_loop(iterations: int, execution: ExecutionFields) -> dict[str, Any]:
    """The loop, which counts iterations of the total batch."""
    return {"type": "ResumableIterLoop", "max_iters": iterations, "accumulate": execution.accumulate}


def optimiser_config(fields: Any, depth: int, device: torch.device) -> dict[str, Any]:
    """AdamW with layer decay in the precision that ``device`` can do.

    Args:
        fields: of a dense benchmark: peak_lr, betas, weight_decay, layer_decay, precision and so on.
        depth: the number of the tower's blocks.
        device: computes.
    """
    return {
        **optim_wrapper(precision_used(fields.precision, device), device),
        "optimizer": {
            "type": "AdamW",
            "lr": fields.peak_lr,
            "betas": fields.betas,
            "weight_decay": fields.weight_decay,
        },
        "accumulative_counts": fields.execution.accumulate,
        "constructor": "LayerDecayConstructor",
        "paramwise_cfg": {
            "layer_decay": fields.layer_decay,
            "depth": depth,
            "decay_biases_and_norms": fields.decay_biases_and_norms,
            "exempt_pos_cls": fields.exempt_pos_cls,
        },
    }


def warmup_config(iterations: int, ratio: float) -> dict[str, Any]:
    """A linear warm-up that multiplies whatever else decides the rate, as in MMCV 1.

    ``end`` is one more than the last iteration because MMEngine counts the intervals between its values.
    """
    return {"type": "LinearLR", "start_factor": ratio, "by_epoch": False, "begin": 0, "end": iterations + 1}


def image_preprocessor(statistics: Statistics) -> dict[str, Any]:
    """The fields in which the preprocessors of both libraries agree: from BGR bytes to normalised RGB."""
    mean, std = statistics
    return {
        "mean": [255 * value for value in mean],
        "std": [255 * value for value in std],
        "bgr_to_rgb": True,
    }


def tower_protocol(
    tower: ImageTower, grid: tuple[int, int], statistics: Statistics, backbone: BackboneFields
) -> dict[str, Any]:
    """How a checkpoint's tower is read, for the record.

    Args:
        tower: the tower.
        grid: (rows, columns) of patches at which the position table is trained.
        statistics: of the pixels.
        backbone: the protocol's fields on it.
    """  # fmt: skip
    had = tower.architecture.image_size // tower.architecture.patch_size
    return {
        "tower": tower.info.tower,
        "architecture": tower.architecture.to_dict(),
        "position_table": f"{had}x{had} to {grid[0]}x{grid[1]}",
        "tapped_blocks": list(tap_blocks(tower.architecture.depth)),
        "pixel_mean": list(statistics[0]),
        "pixel_std": list(statistics[1]),
        **backbone.model_dump(),
    }


def run_facts(runner: Any, precision: Precision, device: torch.device, division: Division) -> dict[str, Any]:
    """What a finished Runner tells the record besides the score (fields of ``benchmarks.run.Outcome``)."""
    return {
        "resumed": runner.resumed,
        "norm_layer": norm_layer_used(runner.bare_model),
        "operators": operators_kind(),
        "precision": precision_used(precision, device),
        "device": division.describe(describe(device)),
        "threads": torch.get_num_threads(),
        "peak_memory": runner.peak_memory,
    }


def norm_layer_used(model: torch.nn.Module) -> str | None:
    """The batch-norm layers that ran, None where there are none: MMEngine turns SyncBN into BN on one process.

    GN where group normalisation stands in their place.
    """
    kinds = {type(module) for module in model.modules()}
    if torch.nn.SyncBatchNorm in kinds:
        return "SyncBN"
    if any(issubclass(kind, torch.nn.modules.batchnorm._BatchNorm) for kind in kinds):
        return "BN"
    return "GN" if torch.nn.GroupNorm in kinds else None
