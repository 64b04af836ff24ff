"""DetailCLIP's training step written the plain way: every token everywhere, one view after the other.

It follows the published method sentence by sentence and spares nothing: attention matrices are materialised, decoder
and heads see all tokens, captions keep their full length, logits of all prototypes exist whole. ``make bench-pretrain``
takes its time as "before"; the tests take its losses and gradients as a second opinion.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pretrain.methods.detailclip import DetailCLIP


def plain_losses(
    model: DetailCLIP, u: Tensor, v: Tensor, tokens: Tensor, epoch: int = 0, momentum: float = 0.996
) -> dict[str, Tensor]:
    """The losses of ``DetailCLIP.compute_losses`` with the released choices; updates teacher and centres as it does.

    Args:
        model: its weights, centres and fields are used; fields other than the released ones are not followed.
        u: (B, 3, S, S) normalised pixels of the first view.
        v: (B, 3, S, S) of the second.
        tokens: (B, T) token ids.
        epoch: whole passes over the data done.
        momentum: of the teacher's average.
    """
    fields = model.fields
    _update_teacher(model, momentum)
    with torch.no_grad():
        teacher = [_tower(model.ema.visual.trunk, view) for view in (u, v)]
        taught = _head(model.ema_head, torch.cat([tokens_of for tokens_of, _ in teacher]))
    removed = [_removed(attention, model.grid, fields.removal.keep_ratio) for _, attention in teacher]
    latents = [_tower(model.online.visual.trunk, view, mask)[0] for view, mask in zip((u, v), removed, strict=True)]
    decoded = [_decode(model.decoder, latent, mask) for latent, mask in zip(latents, removed, strict=True)]
    targets = [_targets(view, model.image.patch_size) for view in (u, v)]
    pixels = [
        _reconstruction(model.decoder.predict(tokens_of[:, 1:]), target, mask)
        for tokens_of, target, mask in zip(decoded, targets, removed, strict=True)
    ]
    mixed = [
        torch.cat([latent[:, :1], tokens_of[:, 1:]], 1) for latent, tokens_of in zip(latents, decoded, strict=True)
    ]
    student = _head(model.head, torch.cat(mixed))
    texts = model.online.encode_text(tokens)
    clips = [_contrastive(model, model.online.visual.head(latent[:, 0]), texts) for latent in latents]
    temperature = fields.teacher_patch_temperature_start if epoch == 0 else fields.teacher_patch_temperature
    cls, patch = _distillation(model, student, taught, torch.cat(removed), temperature)
    _move_centers(model, taught)
    means = {"clip": torch.stack(clips).mean(), "reconstruction": torch.stack(pixels).mean()}
    terms = {**means, "cls": cls, "patch": patch}
    return {**terms, "total": torch.stack(list(terms.values())).sum()}


@torch.no_grad()
def _update_teacher(model: DetailCLIP, momentum: float) -> None:
    for ema, online in model.averaged():
        ema.mul_(momentum).add_(online, alpha=1 - momentum)


def _attend(block: Any, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """A transformer block with its attention matrix (B, heads, N, N)."""
    attention = block.attn
    batch, count, width = tokens.shape
    qkv = attention.qkv(block.norm1(tokens)).reshape(batch, count, 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4)
    query, key, value = qkv.unbind(0)
    matrix = ((query @ key.transpose(-2, -1)) * attention.scale).softmax(dim=-1)
    tokens = tokens + attention.proj((matrix @ value).transpose(1, 2).reshape(batch, count, width))
    return tokens + block.mlp(block.norm2(tokens)), matrix


def _tower(trunk: Any, images: Tensor, removed: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """All or the kept tokens after the norm, and the class token's mean attention."""
    tokens = trunk.patch_embed(images) + trunk.pos_embed[:, 1:]
    if removed is not None:
        tokens = tokens[~removed].reshape(len(tokens), -1, tokens.shape[2])
    first = (trunk.cls_token + trunk.pos_embed[:, :1]).expand(len(tokens), -1, -1)
    tokens = torch.cat([first, tokens], dim=1)
    matrices = []
    for block in trunk.blocks:
        tokens, matrix = _attend(block, tokens)
        matrices.append(matrix)
    attention = torch.stack([matrix.float().mean(dim=1)[:, 0, 1:] for matrix in matrices]).mean(dim=0)
    return trunk.norm(tokens), attention


def _removed(attention: Tensor, grid: int, keep_ratio: float) -> Tensor:
    """(B, N): True for the patches of the 2x2 cells with the lowest attention."""
    half = grid // 2
    cells = F.interpolate(attention.reshape(-1, 1, grid, grid), (half, half), mode="bilinear").flatten(1)
    order = cells.argsort(dim=1, descending=True, stable=True)
    mask = torch.ones_like(cells, dtype=torch.bool)
    mask.scatter_(1, order[:, : int(half**2 * keep_ratio) + 1], False)
    cells_removed = mask.reshape(-1, half, half)
    return cells_removed.repeat_interleave(2, 1).repeat_interleave(2, 2).flatten(1)


def _decode(decoder: Any, latent: Tensor, removed: Tensor) -> Tensor:
    """Class token and every patch through the decoder, in raster order."""
    embedded = decoder.embed(latent)
    whole = decoder.mask_token.to(embedded.dtype).repeat(len(latent), removed.shape[1], 1)
    whole = whole.masked_scatter(~removed[:, :, None], embedded[:, 1:])
    tokens = torch.cat([embedded[:, :1], whole], dim=1) + decoder.positions
    return decoder.norm(_attend(decoder.block, tokens)[0])  # type: ignore[no-any-return]


def _targets(images: Tensor, patch: int) -> Tensor:
    """Every patch (row, column, channel), standardised by its own mean and unbiased variance."""
    unfolded = F.unfold(images, patch, stride=patch).transpose(1, 2)
    pixels = unfolded.reshape(*unfolded.shape[:2], 3, patch, patch).permute(0, 1, 3, 4, 2).flatten(2)
    return (pixels - pixels.mean(-1, keepdim=True)) / (pixels.var(-1, keepdim=True) + 1e-6).sqrt()


def _reconstruction(predicted: Tensor, target: Tensor, removed: Tensor) -> Tensor:
    errors = (predicted.float() - target).square().mean(dim=-1)
    return (errors * removed).sum() / removed.sum()


def _head(head: Any, tokens: Tensor) -> Tensor:
    """All logits of all tokens."""
    bottleneck = F.normalize(head.mlp(tokens), dim=-1)
    return F.linear(bottleneck, F.normalize(head.last_layer.weight, dim=1))


def _contrastive(model: DetailCLIP, images: Tensor, texts: Tensor) -> Tensor:
    images, texts = F.normalize(images.float(), dim=-1), F.normalize(texts.float(), dim=-1)
    logits = model.online.logit_scale.exp() * images @ texts.T
    labels = torch.arange(len(images), device=images.device)
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


def _distillation(
    model: DetailCLIP, student: Tensor, teacher: Tensor, removed: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """Cross-entropies: class tokens across views, removed patches within a view."""
    log_student = (student.float() / model.fields.student_temperature).log_softmax(dim=-1)
    cls_target = ((teacher[:, 0] - model.centers.cls) / model.fields.teacher_cls_temperature).float().softmax(dim=-1)
    patch_target = ((teacher[:, 1:] - model.centers.patch) / temperature).float().softmax(dim=-1)
    views = len(student) // 2
    cls = -(cls_target.roll(views, 0) * log_student[:, 0]).sum(-1).mean()
    patches = -(patch_target * log_student[:, 1:]).sum(-1)
    return cls, ((patches * removed).sum(1) / removed.sum(1)).mean()


@torch.no_grad()
def _move_centers(model: DetailCLIP, teacher: Tensor) -> None:
    momentum = model.fields.center_momentum
    model.centers.update(teacher[:, 0].float().mean(0), teacher[:, 1:].float().mean((0, 1)), momentum)
