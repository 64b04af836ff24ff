"""A small CLIP in OpenAI's names, with a forward pass of its own, to be saved as OpenAI publishes it: as a TorchScript
archive of float16 weights. Nothing of it is shared with the code under test, nor with open_clip.
"""

import math
from copy import deepcopy
from pathlib import Path

import torch
from torch import Tensor, nn

WIDTH, DEPTH, HEADS, JOINT, IMAGE, PATCH, VOCABULARY, CONTEXT = 128, 2, 2, 32, 32, 8, 512, 77


class Attention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.in_proj_weight = nn.Parameter(torch.randn(3 * width, width) * width**-0.5)
        self.in_proj_bias = nn.Parameter(torch.randn(3 * width) * 0.1)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        batch, length, width = x.shape
        packed = x @ self.in_proj_weight.t() + self.in_proj_bias
        heads = packed.reshape(batch, length, 3, width // 64, 64).permute(2, 0, 3, 1, 4)
        scores = heads[0] @ heads[1].transpose(-2, -1) / math.sqrt(64)
        if mask is not None:
            scores = scores + mask.to(scores.dtype)
        mixed = torch.softmax(scores, dim=-1) @ heads[2]
        projected: Tensor = self.out_proj(mixed.transpose(1, 2).reshape(batch, length, width))
        return projected


class QuickGELU(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


class Mlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width)
        self.gelu = QuickGELU()
        self.c_proj = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.c_proj(self.gelu(self.c_fc(x)))
        return out


class Block(nn.Module):
    def __init__(self, width: int, mask: Tensor | None) -> None:
        super().__init__()
        self.attn = Attention(width)
        self.ln_1 = nn.LayerNorm(width)
        self.mlp = Mlp(width)
        self.ln_2 = nn.LayerNorm(width)
        self.attn_mask = mask  # a plain attribute, as in OpenAI's code: in the archive, but not in the state dict

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x), self.attn_mask)
        out: Tensor = x + self.mlp(self.ln_2(x))
        return out


class Transformer(nn.Module):
    def __init__(self, width: int, mask: Tensor | None) -> None:
        super().__init__()
        self.resblocks = nn.Sequential(*(Block(width, mask) for _ in range(DEPTH)))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.resblocks(x)
        return out


class Vision(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, WIDTH, PATCH, PATCH, bias=False)
        self.class_embedding = nn.Parameter(torch.randn(WIDTH) * 0.3)
        self.positional_embedding = nn.Parameter(torch.randn((IMAGE // PATCH) ** 2 + 1, WIDTH) * 0.3)
        self.ln_pre = nn.LayerNorm(WIDTH)
        self.transformer = Transformer(WIDTH, None)
        self.ln_post = nn.LayerNorm(WIDTH)
        self.proj = nn.Parameter(torch.randn(WIDTH, JOINT) * WIDTH**-0.5)

    def forward(self, images: Tensor) -> Tensor:
        patches = self.conv1(images).flatten(2).transpose(1, 2)
        first = self.class_embedding.expand(images.shape[0], 1, -1)
        x = torch.cat([first, patches], dim=1) + self.positional_embedding
        x = self.transformer(self.ln_pre(x))
        projected: Tensor = self.ln_post(x[:, 0]) @ self.proj
        return projected


class Multimodal(nn.Module):
    """CLIP: two towers, and the three sizes that OpenAI keeps as buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.visual = Vision()
        mask = torch.full((CONTEXT, CONTEXT), float("-inf")).triu(1)
        self.transformer = Transformer(WIDTH, mask)
        self.token_embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.positional_embedding = nn.Parameter(torch.randn(CONTEXT, WIDTH) * 0.3)
        self.ln_final = nn.LayerNorm(WIDTH)
        self.text_projection = nn.Parameter(torch.randn(WIDTH, JOINT) * WIDTH**-0.5)
        self.logit_scale = nn.Parameter(torch.tensor(2.66))
        self.input_resolution: Tensor
        self.context_length: Tensor
        self.vocab_size: Tensor
        self.register_buffer("input_resolution", torch.tensor(IMAGE))
        self.register_buffer("context_length", torch.tensor(CONTEXT))
        self.register_buffer("vocab_size", torch.tensor(VOCABULARY))

    def encode_text(self, tokens: Tensor) -> Tensor:
        x = self.transformer(self.token_embedding(tokens) + self.positional_embedding)
        x = self.ln_final(x)
        last: Tensor = x[torch.arange(x.shape[0]), tokens.argmax(dim=-1)] @ self.text_projection
        return last

    def forward(self, images: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        return self.visual(images), self.encode_text(tokens)


def make(seed: int = 0) -> Multimodal:
    """Random weights that are float16 numbers; norms that are not the identity."""
    torch.manual_seed(seed)
    model = Multimodal().eval()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.LayerNorm):
                module.weight.add_(torch.randn_like(module.weight) * 0.2)
                module.bias.add_(torch.randn_like(module.bias) * 0.2)
    return model.half()


def inputs() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(3, 3, IMAGE, IMAGE, generator=generator)
    return images, torch.randint(1, VOCABULARY, (3, CONTEXT), generator=generator)


def save(model: Multimodal, path: Path, scripted: bool = False) -> Path:
    """Write the archive, traced in float16 as OpenAI's is, or compiled."""
    images, tokens = inputs()
    if scripted:
        torch.jit.save(torch.jit.script(model), path)
    else:
        torch.jit.save(torch.jit.trace(model, (images.half(), tokens), check_trace=False), path)
    return path


def reference(model: Multimodal) -> tuple[Tensor, Tensor]:
    """The embeddings of :func:`inputs`, computed in float32."""
    with torch.no_grad():
        images, texts = deepcopy(model).float()(*inputs())
    return images, texts
