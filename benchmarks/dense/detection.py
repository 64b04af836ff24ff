"""Object detection and instance segmentation on COCO: from a checked job to a trained and scored model.

The named fields of ``DetectionFields`` become a complete MMEngine config here and in ``detection_model`` and
``detection_data``. MMDetection supplies transforms, heads and inference, pycocotools the score; the tower is
``DenseViT``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.checkpoints import ImageTower, load_image_tower
from benchmarks.data import coco
from benchmarks.dense import layer_decay  # noqa: F401 (registers it)
from benchmarks.dense.average_precision import bootstrap, samples_table
from benchmarks.dense.coco_metric import AREAS, Found, Score, score, write_detections
from benchmarks.dense.common import (
    backbone_weights,
    division_of,
    optimiser_config,
    run_config,
    run_facts,
    tower_protocol,
    training_loop,
    warmup_config,
)
from benchmarks.dense.detection_data import iterations_an_epoch, test_loader, train_loader
from benchmarks.dense.detection_model import GROUPS, model_config, pyramid_strides
from benchmarks.dense.detection_protocol import DetectionFields
from benchmarks.dense.plan import DensePlan
from benchmarks.engine.device import choose_device
from benchmarks.engine.launch import is_main
from benchmarks.engine.protocol import load_protocol
from benchmarks.engine.together import main_first
from benchmarks.errors import DataError, OptionError
from benchmarks.install import check_installation
from benchmarks.records import Metric
from benchmarks.run import Job, Outcome, Report, Working

TRAINS = True
"""All processes of a launch run it together (see ``benchmarks.run``)."""

DETECTIONS_NAME = "detections.json.gz"


def plan(job: Job, progress: Report | None = None) -> "DetectionPlan":
    """Check options, checkpoint and data of ``job``, in this order: the quickest to fail first.

    Raises:
        BenchError: one of them cannot be used.
    """
    check_installation()
    fields = load_protocol(job.benchmark.config, DetectionFields, job.quick, job.overrides)
    device = choose_device(job.device)
    tower = load_image_tower(job.checkpoint, job.tower, job.image_heads, job.quick_gelu)
    _require_fitting_sizes(fields, tower)
    division_of(fields)
    training = coco.load_split(job.data_root, fields.train_split, progress)
    validation = coco.load_split(job.data_root, fields.test_split, progress)
    if job.limit is not None and not 1 <= job.limit <= len(validation.pictures):
        raise OptionError(f"--limit {job.limit}: choose 1 to {len(validation.pictures)} pictures")
    checked = DetectionPlan(job, fields, training, validation, tower, device)
    checked.require_objects()
    return checked


def _require_fitting_sizes(fields: DetectionFields, tower: ImageTower) -> None:
    """Refuse sizes that patches cannot tile, and widths that groups cannot.

    Raises:
        OptionError: a size does not fit the tower.
    """
    patch, width = tower.architecture.patch_size, tower.architecture.width
    if fields.pad_multiple % (2 * patch):
        raise OptionError(
            f"pad_multiple={fields.pad_multiple}: the tower has patches of {patch} pixels, and pictures must be padded "
            f"to a multiple of two of them, e.g. -o pad_multiple={2 * patch}"
        )
    if min(fields.position_size) < patch:
        raise OptionError(f"position_size={fields.position_size}: below the tower's patch of {patch} pixels")
    if fields.norm_layer == "GN" and width % GROUPS:
        raise OptionError(f"norm_layer=GN: the tower's width of {width} is no multiple of {GROUPS}")


@dataclass(frozen=True)
class DetectionPlan(DensePlan[DetectionFields, coco.Split]):
    """A checked detection job (see ``benchmarks.run.Plan``)."""

    def require_objects(self) -> None:
        """Refuse data that give nothing to learn or to score.

        Raises:
            DataError: no training picture has an annotation.
            OptionError: none of the pictures to score has one.
        """
        if not self.learnt:
            raise DataError(f"{self.training.annotation_file}: annotates none of the pictures that are there")
        if not any(picture.objects for picture in self.scored):
            raise OptionError(
                f"{self.expected} pictures to score: no object is annotated on them; choose a larger --limit"
            )

    @property
    def model_protocol(self) -> dict[str, Any]:
        """How this checkpoint's tower is read; ``position_table`` is its grid in the file and as it is trained."""
        patch = self.tower.architecture.patch_size
        rows, columns = (side // patch for side in self.fields.position_size)
        strides = pyramid_strides(patch, self.fields.fpn_levels)
        told = tower_protocol(self.tower, (rows, columns), self.pixel_statistics, self.fields.backbone)
        return {**told, "strides": list(strides)}

    @property
    def learnt(self) -> tuple[coco.Picture, ...]:
        """The pictures that are trained on."""
        return coco.trained_on(self.training.pictures, self.fields.smallest_side)

    @property
    def scored(self) -> tuple[coco.Picture, ...]:
        """The pictures that are scored."""
        return self.validation.pictures[: self.expected]

    @property
    def iterations(self) -> int:
        """Iterations of the whole training."""
        return self.fields.iterations or self.fields.epochs * iterations_an_epoch(self.fields, self.learnt)

    def execute(self, folder: Path, state: Path, working: Working) -> Outcome | None:
        """Train, or take up training, then score (see ``benchmarks.run.Plan``); the engine shows its own progress."""
        from benchmarks.dense.detection_pictures import save_pictures
        from benchmarks.engine.runner import BenchRunner

        runner = BenchRunner.from_config(main_first(lambda: self.config(folder, state)), self.device)
        runner.train_and_test()
        if not is_main():
            return None
        found: list[Found] = runner.test_evaluator.metrics[0].found
        truth = coco.truth_of(self.validation.annotation_file, {picture.image_id for picture in self.scored})
        write_detections(folder / DETECTIONS_NAME, found)
        save_pictures(folder / "pictures", self.validation, truth, found[: self.job.pictures])
        with working("scoring detections") as report:
            scores = _judge(truth, found, report)
        return Outcome(
            metrics={
                name: metric for kind, judged in scores.items() for name, metric in metrics_of(kind, judged).items()
            },
            per_class=classes_and_areas(scores),
            samples=samples_table(
                [picture.sample_id for picture in self.scored], scores["box"].matches, scores["mask"].matches
            ),
            **run_facts(runner, self.fields.precision, self.device, self.division),
        )

    def config(self, folder: Path, state: Path) -> Any:
        """The complete MMEngine config of this run: logs and pictures in ``folder``, resume state in ``state``."""
        from benchmarks.dense import detection_heads  # noqa: F401 (registers them; imports MMDetection)

        state.mkdir(parents=True, exist_ok=True)
        fields = self.fields
        weights = backbone_weights(self.tower, state)
        parts = {
            "model": model_config(fields, self.tower, self.pixel_statistics, weights),
            "train_dataloader": train_loader(fields, self.training, self.learnt, self.job.seed, state),
            "test_dataloader": test_loader(fields, self.validation, self.expected, state),
            "train_cfg": training_loop(self.iterations, fields.execution),
            "test_cfg": {"type": "TestLoop"},
            "test_evaluator": {"type": "CocoDetections"},
            "optim_wrapper": optimiser_config(fields, self.tower.architecture.depth, self.device),
            "param_scheduler": rate_schedule(fields, self.iterations),
        }
        return run_config(self.job, folder, state, fields.execution, "mmdet", parts)


def rate_schedule(fields: DetectionFields, iterations: int) -> list[dict[str, Any]]:
    """The rate falls by ``drop_factor`` after each of ``drop_epochs``, and is warmed up linearly.

    Both multiply, as in MMCV 1, where the published recipe comes from. Epochs are counted in iterations, of which
    every epoch has the same number; a training that is cut short keeps each drop's share of its length.
    """
    return [
        warmup_config(fields.warmup_iterations, fields.warmup_ratio),
        {
            "type": "MultiStepLR",
            "by_epoch": False,
            "begin": 0,
            "end": iterations + 1,
            "milestones": [round(iterations * epoch / fields.epochs) for epoch in fields.drop_epochs],
            "gamma": fields.drop_factor,
        },
    ]


def _judge(truth: coco.Instances, found: Sequence[Found], report: Report) -> dict[str, Score]:
    """Boxes and masks, each judged by pycocotools."""
    report(0, 2)
    boxes = score(truth, found, "box")
    report(1, 2)
    masks = score(truth, found, "mask")
    report(2, 2)
    return {"box": boxes, "mask": masks}


def metrics_of(kind: str, judged: Score) -> dict[str, Metric]:
    """AP, AP50 and AP75 in percent with their 95 % bootstrap intervals over pictures; 0 if nothing is detected.

    Args:
        kind: ``box`` or ``mask``, the end of the metrics' names.
        judged: the score.
    """
    intervals = bootstrap(judged.matches)
    overlaps = {"AP": None, "AP50": 0.5, "AP75": 0.75}
    metrics = {}
    for name, overlap in overlaps.items():
        value, ends = judged.average(overlap), intervals.get(name)
        assert value is not None, "require_objects has seen to it"
        metrics[f"{name}_{kind}"] = Metric(
            value=value,
            low=ends.low if ends else None,
            high=ends.high if ends else None,
            n=len(judged.matches.objects),
        )
    return metrics


def classes_and_areas(scores: dict[str, Score]) -> dict[str, dict[str, float | None]]:
    """AP of each class, and of all classes for each range of an object's area; None where there is no object."""
    tables: dict[str, dict[str, float | None]] = {}
    for kind, judged in scores.items():
        tables[f"AP_{kind}"] = judged.per_class()
        tables[f"AP_{kind}_by_area"] = {area: judged.average(area=area) for area in AREAS[1:]}
    return tables
