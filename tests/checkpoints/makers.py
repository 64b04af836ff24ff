"""Random state dicts in the published layouts, at any size."""

import re
from collections.abc import Iterable

import torch

State = dict[str, torch.Tensor]


def random(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> State:
    """Small normal values; gains of norms (weights of one dimension) lie around 1, so that attention is not
    flat.
    """
    generator = torch.Generator().manual_seed(seed)
    return {
        key: torch.randn(shape, generator=generator) * 0.05 + (key.endswith("weight") and len(shape) == 1)
        for key, shape in shapes.items()
    }


def prefixed(prefix: str, state: State) -> State:
    return {prefix + key: value for key, value in state.items()}


def vit(width: int = 64, depth: int = 2, patch: int = 16, grid: int = 14, seed: int = 0) -> State:
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, grid * grid + 1, width),
        "patch_embed.proj.weight": (width, 3, patch, patch),
        "patch_embed.proj.bias": (width,),
    }
    for block in range(depth):
        for norm in ("norm1", "norm2"):
            shapes |= _affine(f"blocks.{block}.{norm}", (width,))
        shapes |= _affine(f"blocks.{block}.attn.qkv", (3 * width, width))
        shapes |= _affine(f"blocks.{block}.attn.proj", (width, width))
        shapes |= _affine(f"blocks.{block}.mlp.fc1", (4 * width, width))
        shapes |= _affine(f"blocks.{block}.mlp.fc2", (width, 4 * width))
    return random(shapes | _affine("norm", (width,)), seed)


def text(width: int = 64, depth: int = 2, vocabulary: int = 512, joint: int = 32, seed: int = 1) -> State:
    return random(
        {
            "token_embedding.weight": (vocabulary, width),
            "positional_embedding": (77, width),
            "text_projection": (width, joint),
            "logit_scale": (),
        }
        | _affine("ln_final", (width,)),
        seed,
    ) | transformer("transformer.", width, depth, seed)


def transformer(prefix: str, width: int = 64, depth: int = 2, seed: int = 1) -> State:
    shapes: dict[str, tuple[int, ...]] = {}
    for block in range(depth):
        name = f"{prefix}resblocks.{block}."
        shapes |= {name + "attn.in_proj_weight": (3 * width, width), name + "attn.in_proj_bias": (3 * width,)}
        shapes |= _affine(name + "attn.out_proj", (width, width))
        shapes |= _affine(name + "ln_1", (width,)) | _affine(name + "ln_2", (width,))
        shapes |= _affine(name + "mlp.c_fc", (4 * width, width)) | _affine(name + "mlp.c_proj", (width, 4 * width))
    return random(shapes, seed)


def slip_clip(width: int = 64, depth: int = 2, joint: int = 32) -> State:
    return prefixed("visual.", vit(width, depth)) | text(joint=joint) | random({"image_projection": (width, joint)}, 3)


def slip(width: int = 64) -> State:
    return slip_clip(width) | mlp(width)


def simclr(width: int = 64, depth: int = 2) -> State:
    return prefixed("visual.", vit(width, depth)) | mlp(width)


def mlp(width: int) -> State:
    return random({"image_mlp.layer1.weight": (8, width), "image_mlp.bn1.running_mean": (8,)}) | {
        "image_mlp.bn1.num_batches_tracked": torch.tensor(7)
    }


def dual_encoder() -> State:
    """The layout of this project's exports."""
    tower = prefixed("visual.trunk.", vit()) | random({"visual.head.proj.weight": (32, 64)})
    return tower | text()


def openai(width: int = 64, depth: int = 2, joint: int = 32) -> State:
    """OpenAI's CLIP: no bias in conv1, a norm before the blocks, packed in-projections, everything in
    float16.
    """
    shapes: dict[str, tuple[int, ...]] = {
        "class_embedding": (width,),
        "positional_embedding": (197, width),
        "conv1.weight": (width, 3, 16, 16),
        "proj": (width, joint),
    }
    shapes |= _affine("ln_pre", (width,)) | _affine("ln_post", (width,))
    image = random(shapes, 5) | transformer("transformer.", width, depth, 6)
    state = prefixed("visual.", image) | text(joint=joint)
    scalars = {"input_resolution": torch.tensor(224), "context_length": torch.tensor(77)}
    return {key: value.half() for key, value in state.items()} | scalars | {"vocab_size": torch.tensor(512)}


def open_clip(width: int = 64, depth: int = 2, custom_text: bool = False) -> State:
    """The same names without the sizes, in float32; ``custom_text``: the text tower is a module of its own."""
    whole = openai(width, depth)
    state = {key: value.float() for key, value in whole.items() if value.is_floating_point()}
    if not custom_text:
        return state
    return {key if re.match(r"visual\.|logit_scale", key) else f"text.{key}": value for key, value in state.items()}


def resnet() -> State:
    return random({"conv1.weight": (8, 3, 7, 7), "bn1.weight": (8,), "layer1.0.conv1.weight": (8, 8, 3, 3)})


def module(state: State) -> State:
    return prefixed("module.", state)


def without(state: State, keys: Iterable[str]) -> State:
    return {key: value for key, value in state.items() if key not in set(keys)}


def _affine(name: str, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
