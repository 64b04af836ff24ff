"""DetailCLIP (arXiv 2409.06809): a student that sees what its teacher attends to, and four losses."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.profiler import record_function

from benchmarks.errors import OptionError
from pretrain.heads import PixelDecoder, ProjectionHead, head_multiply_adds
from pretrain.losses import Centers, contrastive, distillation, patch_targets, reconstruction
from pretrain.methods.base import TRAINING_FACTOR, Batch, Look, Method, Progress, register
from pretrain.token_removal import Removal, RemovalFields, attention_in_views, remove_tokens, removed_count
from pretrain.towers import encode_text, image_tokens, patch_vectors, teacher_tokens, trim_padding

Weight = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class HeadFields(BaseModel):
    """Sizes of the projection head."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    hidden: Count
    bottleneck: Count
    prototypes: Count


class DetailClipFields(BaseModel):
    """Every choice of the method; docs/method.md tabulates what the paper and the released code make of each."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    alpha_cls: Weight = Field(description="α1 of eq. 10; a term of weight 0 is not computed")
    alpha_patch: Weight = Field(description="α2 of eq. 10")
    alpha_reconstruction: Weight = Field(description="α3 of eq. 10")
    clip_weight: Positive
    removal: RemovalFields
    attention_source: Literal["all_layers", "last_layer"]
    divergence: Literal["cross_entropy", "kl_student_teacher"]
    cls_pairing: Literal["cross", "same"] = Field(description="teacher and student see different views, or one")
    student_temperature: Positive
    teacher_cls_temperature: Positive
    teacher_patch_temperature: Positive = Field(description="after its warm-up")
    teacher_patch_temperature_start: Positive
    teacher_patch_warmup_epochs: Annotated[int, Field(ge=0)]
    centering: bool
    center_momentum: Share
    pixel_target: Literal["normalised", "raw"]
    reconstruction_scale: Literal["mean", "sum"]
    clip_views: Literal["average", "first"]
    frozen_patch_projection: bool
    ema_momentum: Share = Field(description="at the start; it rises to 1 along a half cosine")
    head: HeadFields
    decoder_heads: Count


class Ema(nn.Module):
    """The averaged encoders: image tower with its projection, text transformer, text projection.

    Token and position embeddings and the last norm of the text tower are not averaged: both text paths use the
    online ones, as in the released code, and evaluation depends on it.

    Args:
        online: ``open_clip.CLIP`` whose weights it starts with.
    """

    def __init__(self, online: Any) -> None:
        super().__init__()
        self.visual: Any = _copy(online.visual)
        self.transformer: Any = _copy(online.transformer)
        self.text_projection = nn.Parameter(online.text_projection.detach().clone())
        self.requires_grad_(False)


@dataclass(frozen=True)
class _Taught:
    """What the teacher says of 2B views: attention (2B, N), bottlenecks (2B, N + 1, d), unit vectors (C, d)."""

    attention: Tensor
    bottleneck: Tensor
    directions: Tensor


@register
class DetailCLIP(Method):
    """Student, teacher, decoder, heads and the four losses. Arguments: see ``Method``."""

    views = 2
    towers = ("ema", "online")
    Fields = DetailClipFields
    fields: DetailClipFields

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        image, fields = self.image, self.fields
        if image.width % 4 or image.width % fields.decoder_heads:
            raise OptionError(
                f"fields.decoder_heads={fields.decoder_heads}: the decoder has the image tower's width {image.width}, "
                "which must be a multiple of it and of 4"
            )
        self.grid = image.image_size // image.patch_size
        self.removed = removed_count(self.grid, fields.removal)
        self.decoder = PixelDecoder(
            image.width, fields.decoder_heads, self.grid, 3 * image.patch_size**2, image.mlp_ratio
        )
        self.head = ProjectionHead(image.width, **fields.head.model_dump())
        self.centers = Centers(fields.head.prototypes)
        self.ema = Ema(self.online)
        self.ema_head = _copy(self.head).requires_grad_(False)
        self._freeze()

    @classmethod
    def from_released(
        cls,
        path: str | Path,
        image_heads: int | None = None,
        text_heads: int | None = None,
        decoder_heads: int | None = None,
    ) -> "DetailCLIP":
        """A model from a training checkpoint of the released code (or an export ``--to released``).

        Args:
            path: the file; read without running anything in it.
            image_heads: heads of the image tower; None takes width / 64.
            text_heads: heads of the text tower; None takes width / 64.
            decoder_heads: heads of the decoder; None takes width / 48, the released 16 of 768.

        Raises:
            CheckpointError: unreadable, not DetailCLIP's layout, or heads that do not divide a width.
        """
        from pretrain.checkpoint import load_released

        return load_released(path, image_heads, text_heads, decoder_heads)

    def _freeze(self) -> None:
        """What gets no gradient: the patch projection, where asked for, and parts whose every loss has weight 0."""
        fields = self.fields
        self.online.visual.trunk.patch_embed.proj.requires_grad_(not fields.frozen_patch_projection)
        self.head.requires_grad_(bool(fields.alpha_cls or fields.alpha_patch))
        self.decoder.requires_grad_(bool(fields.alpha_patch or fields.alpha_reconstruction))
        self.decoder.predict.requires_grad_(bool(fields.alpha_reconstruction))

    def compute_losses(
        self, u: Tensor, v: Tensor, tokens: Tensor, epoch: int = 0, momentum: float = 0.996, trace: bool = False
    ) -> dict[str, Tensor]:
        """Update the teacher, then the training forward on two views.

        Args:
            u: (B, 3, S, S) normalised pixels of the first view.
            v: (B, 3, S, S) of the second.
            tokens: (B, T) token ids.
            epoch: whole passes over the data done; sets the teacher's patch temperature.
            momentum: of the teacher's average in this step.
            trace: add what the losses are made of (slower: everything is computed for every token).

        Returns:
            ``clip``, ``cls``, ``patch``, ``reconstruction`` and their weighted sum ``total`` (eq. 10), 0-d with
            gradient; ``cls_kl`` and ``patch_kl``, the same less the teacher's entropy. A term of weight 0 is left
            out. With ``trace``: ``mask_u``, ``mask_v`` (B, N) True = removed; ``img_embed_u``, ``img_embed_v``,
            ``text_embed`` (B, E); ``u_s_reconstructed`` (B, N, P); ``teacher_cls``, ``student_cls`` (2B, C),
            ``teacher_patch``, ``student_patch`` (2B, N, C), u before v.

        Raises:
            ValueError: views of another size, or of different batches.
        """
        size = self.image.image_size
        if u.shape != v.shape or u.shape != (len(tokens), 3, size, size):
            raise ValueError(f"expected two views (B, 3, {size}, {size}), got {tuple(u.shape)} and {tuple(v.shape)}")
        self.set_progress(Progress(epoch=epoch))
        self.update_teacher(momentum)
        return self._losses(Batch(torch.stack([u, v], dim=1), tokens), trace)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The terms of :meth:`compute_losses`; the teacher moves once an optimiser step."""
        progress = self.progress
        if progress.begins_step:
            share = progress.step / max(progress.steps - 1, 1)
            self.update_teacher(1 - (1 - self.fields.ema_momentum) * (math.cos(math.pi * share) + 1) / 2)
        return self._losses(batch, trace=False)

    @torch.no_grad()
    def update_teacher(self, momentum: float) -> None:
        """teacher <- momentum * teacher + (1 - momentum) * online, all tensors at once."""
        with record_function("step/ema"):
            ema, online = zip(*self.averaged(), strict=True)
            torch._foreach_lerp_(list(ema), list(online), 1 - momentum)

    def averaged(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Each averaged tensor with the online one that it follows."""
        for ema, online in (
            (self.ema.visual, self.online.visual),
            (self.ema.transformer, self.online.transformer),
            (self.ema_head, self.head),
        ):
            yield from zip(ema.parameters(), online.parameters(), strict=True)
        yield self.ema.text_projection, self.online.text_projection

    def _losses(self, batch: Batch, trace: bool) -> dict[str, Tensor]:
        fields = self.fields
        views = batch.views.transpose(0, 1).flatten(0, 1)  # (2B, 3, S, S), u before v
        patches = patch_vectors(views, self.image.patch_size)
        with record_function("step/teacher"):
            taught = self._teach(batch, patches)
            removal = remove_tokens(taught.attention, fields.removal)
        with record_function("step/student"):
            latent = image_tokens(self.online.visual.trunk, patches, self.checkpoint_blocks, removal.keep)
            images = self.online.visual.head(latent[:, 0])
        with record_function("step/text"):
            texts = encode_text(self.online, trim_padding(batch.tokens))
        decoded = None
        if fields.alpha_patch or fields.alpha_reconstruction:
            with record_function("step/decoder"):
                decoded = self.decoder(latent, removal.keep, removal.removed)
        traced = self._trace(latent, removal, taught, images, texts) if trace else {}
        with record_function("step/heads and losses"):
            terms = {"clip": self._clip(images, texts)}
            if decoded is not None and fields.alpha_reconstruction:
                terms["reconstruction"] = self._reconstruct(views, decoded, removal)
            terms |= self._distil(latent, decoded, removal, taught)
        weights = {
            "clip": fields.clip_weight,
            "cls": fields.alpha_cls,
            "patch": fields.alpha_patch,
            "reconstruction": fields.alpha_reconstruction,
        }
        total = torch.stack([weight * terms[name] for name, weight in weights.items() if name in terms]).sum()
        return {**terms, "total": total, **traced}

    def _reconstruct(self, views: Tensor, decoded: Tensor, removal: Removal) -> Tensor:
        """The pixels of the removed patches against those of the view itself (eq. 8)."""
        normalised = self.fields.pixel_target == "normalised"
        target = patch_targets(views, removal.removed, self.image.patch_size, normalised)
        return reconstruction(self.decoder.predict(decoded), target, self.fields.reconstruction_scale)

    @torch.no_grad()
    def _teach(self, batch: Batch, patches: Tensor) -> _Taught:
        """The teacher on the full views (and on the crop around them, if attention comes from there)."""
        trunk, last = self.ema.visual.trunk, self.fields.attention_source == "last_layer"
        tokens, attention = teacher_tokens(trunk, patches, last)
        if batch.enclosing is not None and batch.boxes is not None:
            around = patch_vectors(batch.enclosing, self.image.patch_size)
            _, attention = teacher_tokens(trunk, around, last)
            attention = attention_in_views(attention, batch.boxes).transpose(0, 1).flatten(0, 1)
        return _Taught(attention, self.ema_head.bottleneck(tokens), self.ema_head.directions())

    def _clip(self, images: Tensor, texts: Tensor) -> Tensor:
        """The contrastive loss of each view with the one text embedding, averaged; or of the first alone."""
        scale = self.online.logit_scale.exp()
        views = images.chunk(self.views)[: 1 if self.fields.clip_views == "first" else None]
        return torch.stack([contrastive(view, texts, scale) for view in views]).mean()

    def _distil(self, latent: Tensor, decoded: Tensor | None, removal: Removal, taught: _Taught) -> dict[str, Tensor]:
        """Both distillation losses, with one pass through the student's head; then the centres move."""
        fields = self.fields
        asked = [latent[:, :1]] if fields.alpha_cls else []
        if decoded is not None and fields.alpha_patch:
            asked.append(decoded)
        if not asked:
            return {}
        student = self.head.bottleneck(torch.cat(asked, dim=1))
        directions = self.head.directions()
        terms: dict[str, Tensor] = {}
        if fields.alpha_cls:
            teacher = taught.bottleneck[:, 0]
            if fields.cls_pairing == "cross":
                teacher = teacher.roll(len(teacher) // 2, dims=0)
            center, temperature = self.centers.cls.flatten(), fields.teacher_cls_temperature
            terms |= self._divergence("cls", student[:, 0], directions, teacher, taught, center, temperature)
            student = student[:, 1:]
        if fields.alpha_patch:
            index = removal.removed[:, :, None].expand(-1, -1, taught.bottleneck.shape[2])
            teacher = taught.bottleneck[:, 1:].gather(1, index).flatten(0, 1)
            center, temperature = self.centers.patch.flatten(), self.patch_temperature()
            terms |= self._divergence("patch", student.flatten(0, 1), directions, teacher, taught, center, temperature)
        self._move_centers(taught)
        return terms

    def _divergence(
        self,
        name: str,
        student: Tensor,
        directions: Tensor,
        teacher: Tensor,
        taught: _Taught,
        center: Tensor,
        temperature: float,
    ) -> dict[str, Tensor]:
        """One distillation loss, and its part that can fall to 0."""
        fields = self.fields
        loss, entropy = distillation(
            student,
            directions,
            teacher,
            taught.directions,
            center,
            fields.student_temperature,
            temperature,
            fields.divergence,
        )
        gap = loss.detach() - entropy if fields.divergence == "cross_entropy" else loss.detach()
        return {name: loss, f"{name}_kl": gap}

    def patch_temperature(self) -> float:
        """Of the teacher's patches in this epoch: a linear ramp over the warm-up epochs, then constant."""
        fields, epoch = self.fields, self.progress.epoch
        start, end = fields.teacher_patch_temperature_start, fields.teacher_patch_temperature
        warmup = fields.teacher_patch_warmup_epochs
        if epoch >= warmup:
            return end
        return start + (end - start) * epoch / max(warmup - 1, 1)

    @torch.no_grad()
    def _move_centers(self, taught: _Taught) -> None:
        """Follow the mean of the teacher's raw outputs: the last layer is linear, so the mean goes through it once.

        With k micro-batches an optimiser step, each takes the k-th root of the momentum.
        """
        if not self.fields.centering:
            return
        with torch.autocast(taught.bottleneck.device.type, enabled=False):  # eight bits would be too few for a mean
            cls = taught.directions @ taught.bottleneck[:, 0].mean(dim=0)
            patch = taught.directions @ taught.bottleneck[:, 1:].mean(dim=(0, 1))
        self.centers.update(cls, patch, self.fields.center_momentum ** (1 / self.progress.accumulation))

    @torch.no_grad()
    def _trace(
        self, latent: Tensor, removal: Removal, taught: _Taught, images: Tensor, texts: Tensor
    ) -> dict[str, Tensor]:
        """What the losses are made of, for every token (the teacher's outputs before the centres move)."""
        tokens = self.decoder.all_tokens(latent, removal.keep, removal.removed)
        student = self.head(torch.cat([latent[:, :1], tokens[:, 1:]], dim=1))
        teacher = taught.bottleneck @ taught.directions.T
        mask_u, mask_v = removal.mask.chunk(2)
        image_u, image_v = images.chunk(2)
        return {
            "mask_u": mask_u,
            "mask_v": mask_v,
            "img_embed_u": image_u,
            "img_embed_v": image_v,
            "text_embed": texts,
            "u_s_reconstructed": self.decoder.predict(tokens[: len(mask_u), 1:]),
            "teacher_cls": teacher[:, 0],
            "teacher_patch": teacher[:, 1:],
            "student_cls": student[:, 0],
            "student_patch": student[:, 1:],
        }

    @torch.no_grad()
    def look(self, batch: Batch) -> Look:
        """The teacher's attention, what it removes, and the decoder's prediction of every patch of the first view.

        Where the decoder learns normalised pixels, each patch gets the mean and deviation of the true one, as MAE shows
        it: its brightness and contrast are given, the rest is predicted. Without a reconstruction loss (α3 = 0) there
        is no prediction.
        """
        fields, first = self.fields, batch.views[:, 0]
        patches = patch_vectors(first, self.image.patch_size)
        boxes = None if batch.boxes is None else batch.boxes[:, :1]
        taught = self._teach(Batch(first[:, None], batch.tokens, batch.enclosing, boxes), patches)
        removal = remove_tokens(taught.attention, fields.removal)
        if not fields.alpha_reconstruction:
            return Look(taught.attention, removal.mask, None)
        latent = image_tokens(self.online.visual.trunk, patches, keep=removal.keep)
        tokens = self.decoder.all_tokens(latent, removal.keep, removal.removed)
        predicted: Tensor = self.decoder.predict(tokens[:, 1:])
        if fields.pixel_target == "normalised":
            variance, mean = torch.var_mean(patches, dim=2, correction=1, keepdim=True)
            predicted = predicted * (variance + 1e-6).sqrt() + mean  # the inverse of patch_targets
        return Look(taught.attention, removal.mask, predicted)

    def multiply_adds(self, text_length: float) -> dict[str, float]:
        """By part; both views, the student and the heads over the tokens that the losses need."""
        patches = self.grid**2
        kept, asked = patches - self.removed, self.removed + 1
        teacher_head = head_multiply_adds(self.ema_head, patches + 1, asked)
        student_head = TRAINING_FACTOR * head_multiply_adds(self.head, asked, asked)
        projection = self.image.width * 3 * self.image.patch_size**2
        return {
            "teacher": self.views * (self.image_multiply_adds(patches + 1) + patches * projection),
            "student": self.views * (TRAINING_FACTOR * self.image_multiply_adds(kept + 1) + kept * projection),
            "decoder": self.views * TRAINING_FACTOR * self.decoder.multiply_adds(kept, self.removed),
            "heads": self.views * (teacher_head + student_head),
            "text": self.text_multiply_adds(text_length),
        }


def _copy(module: nn.Module) -> Any:
    """A copy with weights of its own."""
    from copy import deepcopy

    return cast(Any, deepcopy(module))
