"""One iteration of a full-size training on the CPU, as a program: ``python -m tests.dense.full_size BENCHMARK FOLDER``.

ViT-B/16 with random weights under the shipped protocol, of which only batch size, iterations and loader processes are
overridden; for UperNet also the norm layer, for one image cannot be batch-normalised, and for detection the drawn size,
which is the largest. What it took is printed as one line of JSON; a process of its own, so that the peak
of its memory is nobody else's.
"""

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.checkpoints import VitArchitecture, ensure_tiny
from benchmarks.data.sample import generate
from benchmarks.engine.device import peak_memory
from benchmarks.run import Job
from benchmarks.suite import get
from tests.dense.coco_world import annotation, instances, picture, write_root

CPU = torch.device("cpu")
VIT_B = VitArchitecture(width=768, depth=12, heads=12, patch_size=16, image_size=224, norm_eps=1e-6, mlp_ratio=4.0)
OVERRIDES = {
    "ade20k-upernet": ("batch_size=1", "iterations=1", "norm_layer=GN", "execution.workers=0"),
    # 640x480, COCO's most frequent size, becomes 1067x800.
    "coco-cascade": ("batch_size=1", "iterations=1", "execution.workers=0", "short_sides=(800,)",
                     "crop_probability=0.0"),
}  # fmt: skip


def write_coco(folder: Path) -> Path:
    """One picture of 640x480 with seven objects, as many as COCO's have on average, in either split."""
    boxes = [(20 + 80 * number, 15 + 40 * number, 40 + 15 * number, 200 - 20 * number) for number in range(7)]
    objects = [annotation(number, 1, 1, box) for number, box in enumerate(boxes, 1)]
    return write_root(folder, instances([picture(1, 640, 480)], objects))


def full_size_plan(benchmark_id: str, folder: Path) -> Any:
    """The checked job, with a ViT-B/16 in place of the tiny checkpoint's tower."""
    if benchmark_id == "coco-cascade":
        from benchmarks.dense.detection import plan

        root = write_coco(folder / "data")
    else:
        from benchmarks.dense.segmentation import plan  # type: ignore[assignment]

        root = folder / "data"
        generate(root, train=1, validation=1, pairs=13, held_out=1, views=0, described=0, boxed=0)
    small = plan(Job(get(benchmark_id), ensure_tiny(), root, overrides=OVERRIDES[benchmark_id]))
    torch.manual_seed(0)
    info = replace(small.tower.info, architecture=VIT_B)
    return replace(small, tower=replace(small.tower, trunk=VIT_B.build(), architecture=VIT_B, info=info))


def main() -> None:
    """Train for one iteration and say what it took."""
    from benchmarks.dense.common import norm_layer_used
    from benchmarks.engine.runner import BenchRunner

    benchmark_id, folder = sys.argv[1], Path(sys.argv[2])
    plan = full_size_plan(benchmark_id, folder)
    runner = BenchRunner.from_config(plan.config(folder, folder / "state"), CPU)
    shapes: list[list[int]] = []
    backbone: Any = runner.bare_model.backbone
    backbone.register_forward_pre_hook(lambda module, inputs: shapes.append(list(inputs[0].shape)))
    start = time.perf_counter()
    runner.train()
    told = {
        "inputs": shapes,
        "loss": runner.message_hub.get_scalar("train/loss").current(),
        "parameters": sum(parameter.numel() for parameter in runner.bare_model.parameters()),
        "norm_layer": norm_layer_used(runner.bare_model),
        "threads": torch.get_num_threads(),
        "seconds": round(time.perf_counter() - start, 1),
        "peak_gib": round(peak_memory(CPU) / 2**30, 2),
    }
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
