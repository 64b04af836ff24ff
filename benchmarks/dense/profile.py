"""How long the backbone takes, beside MMSegmentation's own ViT of the same sizes: ``make bench-backbone``.

Both run in one process, in turn, so that a change of the machine's speed hits both; the ratio is taken pair by pair.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import torch
from mmengine.registry import init_default_scope
from rich.console import Console
from rich.table import Table
from safetensors.torch import save_file
from torch import Tensor, nn

from benchmarks.checkpoints import VitArchitecture
from benchmarks.dense.backbone import DenseViT, tap_blocks

VIT_B = VitArchitecture(width=768, depth=12, heads=12, patch_size=16, image_size=224, norm_eps=1e-6, mlp_ratio=4.0)


def our_backbone(size: int) -> nn.Module:
    """``DenseViT`` as in the linear protocol without the norm on the taps: no pyramid."""
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "random.safetensors"
        metadata = {"architecture": json.dumps(VIT_B.to_dict())}
        save_file(VIT_B.build().state_dict(), weights, metadata)
        return DenseViT(str(weights), image_size=(size, size), norm_on_taps=False, pyramid=None)


def mmseg_backbone(size: int) -> nn.Module:
    """MMSegmentation's ``VisionTransformer`` with the same sizes and taps."""
    init_default_scope("mmseg")
    from mmseg.models.backbones import VisionTransformer

    backbone: nn.Module = VisionTransformer(
        img_size=(size, size),
        embed_dims=VIT_B.width,
        num_layers=VIT_B.depth,
        num_heads=VIT_B.heads,
        out_indices=tap_blocks(VIT_B.depth),
        drop_path_rate=0.0,
        final_norm=False,
        interpolate_mode="bicubic",
    )
    return backbone


def step_seconds(backbone: nn.Module, images: Tensor) -> float:
    """Wall time of one forward and backward pass, gradients of all weights included."""
    backbone.zero_grad(set_to_none=True)
    start = time.perf_counter()
    sum(feature.square().mean() for feature in backbone(images)).backward()
    return time.perf_counter() - start


def measure(rounds: int, size: int, batch: int) -> tuple[list[float], list[float]]:
    """Seconds of ours and of theirs, ``rounds`` pairs in turn, after one pair to warm up."""
    torch.manual_seed(0)
    images = torch.randn(batch, 3, size, size)
    pair = our_backbone(size), mmseg_backbone(size)
    taken = [tuple(step_seconds(backbone, images) for backbone in pair) for _ in range(rounds + 1)][1:]
    return [ours for ours, _ in taken], [theirs for _, theirs in taken]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="measured pairs")
    parser.add_argument("--size", type=int, default=512, help="side of the square images, in pixels")
    parser.add_argument("--batch", type=int, default=1, help="images a step")
    options = parser.parse_args()
    ours, theirs = measure(options.rounds, options.size, options.batch)
    ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
    table = Table(title=f"ViT-B/16, {options.size}x{options.size}, batch {options.batch}, forward + backward, "
                        f"{torch.get_num_threads()} threads")  # fmt: skip
    for heading in ("", "min", "median", "max"):
        table.add_column(heading, justify="right")
    rows = {"DenseViT, s": ours, "mmseg VisionTransformer, s": theirs, "ratio, pair by pair": ratios}
    for name, values in rows.items():
        table.add_row(name, *(f"{value:.3f}" for value in (min(values), statistics.median(values), max(values))))
    Console().print(table)


if __name__ == "__main__":
    main()
