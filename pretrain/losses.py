"""The losses as pure functions, and the teacher's centres.

The symbols are those of the paper's section 3; where paper and released code differ, the caller chooses by name.
All losses are computed in float32 (float64 for float64 inputs), whatever autocast says, except for the matrix products
of `distillation`.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from mmengine import dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.distributed.nn.functional import all_gather
from torch.nn import functional as F

Divergence = Literal["cross_entropy", "kl_student_teacher"]
ReconstructionScale = Literal["mean", "sum"]

CPU_ROWS = 256
"""Rows of logits that `distillation` holds at a time on the CPU: enough for the products, little beside a cache."""
GPU_ROWS = 4096
"""The same on other devices, where a kernel needs enough rows to fill the device."""


def gathered(features: Tensor) -> Tensor:
    """The features of all processes, in the order of their ranks.

    Gradients are kept: each process receives the sum of what all processes' losses say about its features. Without
    distributed training the features themselves.

    Args:
        features: (B, E), B the same on all W processes.

    Returns:
        (W * B, E).
    """
    if dist.get_world_size() == 1:
        return features
    with warnings.catch_warnings():
        # Deprecated since torch 2.14 in favour of a function that our oldest supported torch does not have.
        warnings.filterwarnings("ignore", category=FutureWarning, message=".*all_gather is deprecated")
        return torch.cat(all_gather(features))  # type: ignore[no-untyped-call, unused-ignore]


def contrastive(images: Tensor, texts: Tensor, scale: Tensor) -> Tensor:
    """CLIP's symmetric loss (eqs. 1-5): each image against all texts, each text against all images, of all processes.

    Args:
        images: (B, E) embeddings of this process, not normalised.
        texts: (B, E), row i belongs to image i.
        scale: 0-d, the factor exp(logit_scale) on the cosines.

    Returns:
        0-d, the mean over this process's pairs; its mean over the processes is the loss of the joined batch.
    """
    with torch.autocast(images.device.type, enabled=False):
        images, texts = F.normalize(_wide(images), dim=-1), F.normalize(_wide(texts), dim=-1)
        labels = torch.arange(len(images), device=images.device) + dist.get_rank() * len(images)
        image_loss = F.cross_entropy(scale * images @ gathered(texts).T, labels)
        text_loss = F.cross_entropy(scale * texts @ gathered(images).T, labels)
        return (image_loss + text_loss) / 2


def patch_targets(images: Tensor, removed: Tensor, patch_size: int, normalised: bool) -> Tensor:
    """The pixels that the decoder is to predict: those of the removed patches.

    Args:
        images: (B, 3, S, S), the view after augmentation and ImageNet normalisation.
        removed: int64 (B, R), patches in raster order.
        patch_size: p pixels, S = g * p.
        normalised: standardise each patch (released): (x - mean) / sqrt(var + 1e-6) over its 3p² values with the
            unbiased variance. False: the pixels as they are (eq. 8).

    Returns:
        (B, R, 3p²), each patch flattened as (row, column, channel); no gradient.
    """
    batch, channels, height, width = images.shape
    rows, columns = height // patch_size, width // patch_size
    patches = images.detach().reshape(batch, channels, rows, patch_size, columns, patch_size).permute(0, 2, 4, 3, 5, 1)
    row, column = removed // columns, removed % columns
    chosen = _wide(patches[torch.arange(batch, device=images.device)[:, None], row, column].flatten(2))
    if not normalised:
        return chosen
    variance, mean = torch.var_mean(chosen, dim=-1, correction=1, keepdim=True)
    return (chosen - mean) * torch.rsqrt(variance + 1e-6)


def reconstruction(predicted: Tensor, target: Tensor, scale: ReconstructionScale) -> Tensor:
    """Squared error of the removed patches' pixels (eq. 8), averaged over the removed patches of the batch.

    Args:
        predicted: (B, R, P) decoder output for the removed patches.
        target: (B, R, P), see `patch_targets`.
        scale: ``"mean"`` over the P values of a patch (released) or their ``"sum"``, the squared norm (eq. 8).

    Returns:
        0-d.
    """
    mean = F.mse_loss(_wide(predicted), _wide(target))
    return mean if scale == "mean" else mean * predicted.shape[-1]


class Distillation(NamedTuple):
    """What `distillation` returns: both 0-d means over the rows.

    For ``divergence="cross_entropy"`` their difference is KL(teacher || student), which is what can fall to 0.
    """

    loss: Tensor
    teacher_entropy: Tensor


def distillation(
    student_bottleneck: Tensor,
    student_prototypes: Tensor,
    teacher_bottleneck: Tensor,
    teacher_prototypes: Tensor,
    center: Tensor,
    student_temperature: float,
    teacher_temperature: float,
    divergence: Divergence,
) -> Distillation:
    """Divergence between the student's and the teacher's distribution over the C prototypes, averaged over M rows.

    The logits S, T are bottleneck @ prototypes.T; the distributions p_s = softmax(S / t_s) and
    p_t = softmax((T - center) / t_t). The student receives gradients, the teacher and the centre never.

    ``"cross_entropy"`` is the released -sum p_t log p_s; ``"kl_student_teacher"`` is KL(p_s || p_t) of eqs. 6 and 7.

    The (M, C) logits never exist as a whole: chunks of rows are multiplied, compared and turned into the gradients of
    the student's bottleneck and prototypes at once, so the backward pass only scales what is kept, (M + C) d values.
    Under autocast the products run in its dtype and the softmaxes in float32; under float16 the two products that
    give gradients run in float32, for unscaled gradients would underflow.

    Args:
        student_bottleneck: (M, d), L2-normalised by the caller, so that logits are cosines.
        student_prototypes: (C, d), likewise.
        teacher_bottleneck: (M, d); row i is the target of the student's row i.
        teacher_prototypes: (C, d).
        center: (C,), subtracted from the teacher's logits.
        student_temperature: t_s > 0.
        teacher_temperature: t_t > 0.
        divergence: which of the two.

    Returns:
        The loss, and the entropy of p_t without gradient.
    """
    device = student_bottleneck.device.type
    plan = _Plan(
        student_temperature,
        teacher_temperature,
        compare=_COMPARE[divergence],
        product=torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else student_bottleneck.dtype,
        differentiate=torch.is_grad_enabled(),
        rows=CPU_ROWS if device == "cpu" else GPU_ROWS,
    )
    with torch.autocast(device, enabled=False):
        loss, entropy = _ChunkedDistillation.apply(
            student_bottleneck, student_prototypes, teacher_bottleneck, teacher_prototypes, center, plan
        )
    return Distillation(loss, entropy)


class _Comparison(NamedTuple):
    """Of a chunk: loss and entropy of each row, and the loss's gradient with respect to the student's scaled logits."""

    loss: Tensor
    entropy: Tensor
    gradient: Tensor


class _Softmax(NamedTuple):
    """Row-wise softmax of a chunk (rows, C), with its normaliser log sum exp (rows,)."""

    probabilities: Tensor
    total: Tensor
    """(rows,) What the probabilities sum to: torch's fast exponential leaves it some 1e-6 off 1, which would show."""
    normaliser: Tensor

    @classmethod
    def of(cls, logits: Tensor, out: Tensor) -> "_Softmax":
        probabilities = torch.softmax(logits, -1, out=out)
        total = probabilities.sum(-1)
        # Read off at the largest entry, which saves a second exponential.
        return cls(probabilities, total, logits.amax(-1) - (probabilities.amax(-1) / total).log())

    def mean(self, values: Tensor, out: Tensor) -> Tensor:
        """Expectation (rows,) of the values (rows, C); ``out`` is overwritten with the products."""
        return torch.mul(self.probabilities, values, out=out).sum(-1) / self.total


def _cross_entropy(student: Tensor, teacher: Tensor, spare: Tensor) -> _Comparison:
    """-sum p_t log p_s of scaled logits (rows, C). Overwrites the teacher's and the spare tile."""
    target = _Softmax.of(teacher, out=spare)
    entropy = target.normaliser - target.mean(teacher, out=teacher)
    cross = target.mean(student, out=teacher)
    predicted = _Softmax.of(student, out=teacher)
    return _Comparison(predicted.normaliser - cross, entropy, predicted.probabilities.sub_(target.probabilities))


def _kl_student_teacher(student: Tensor, teacher: Tensor, spare: Tensor) -> _Comparison:
    """KL(p_s || p_t) of scaled logits (rows, C). Overwrites all three tiles."""
    target = _Softmax.of(teacher, out=spare)
    entropy = target.normaliser - target.mean(teacher, out=spare)
    predicted = _Softmax.of(student, out=spare)
    # log p_s - log p_t, of which the gradient is p_s (difference - its mean under p_s).
    difference = student.sub_(teacher).add_((target.normaliser - predicted.normaliser)[:, None])
    divergence = predicted.mean(difference, out=teacher)
    gradient = difference.sub_(divergence[:, None]).mul_(predicted.probabilities)
    return _Comparison(divergence, entropy, gradient)


_COMPARE: dict[Divergence, Callable[[Tensor, Tensor, Tensor], _Comparison]] = {
    "cross_entropy": _cross_entropy,
    "kl_student_teacher": _kl_student_teacher,
}


class _Logits:
    """x @ W.T / temperature, multiplied in one dtype and handed over, chunk by chunk, in a wider one."""

    def __init__(self, rows: Tensor, prototypes: Tensor, temperature: float, product: torch.dtype) -> None:
        # Dividing x, (M, d), by the temperature saves a pass over the logits, (M, C).
        self.rows = (_wide(rows) / temperature).to(product)
        self.prototypes = prototypes.to(product)

    def into(self, tile: Tensor, chunk: slice) -> None:
        if tile.dtype == self.rows.dtype:
            torch.mm(self.rows[chunk], self.prototypes.T, out=tile)
        else:
            tile.copy_(self.rows[chunk] @ self.prototypes.T)


class _Gradients:
    """The gradients of x and of W, gathered from the chunks' gradients of x @ W.T / temperature."""

    def __init__(self, logits: _Logits, wide: torch.dtype) -> None:
        self.product = wide if logits.rows.dtype == torch.float16 else logits.rows.dtype
        self.rows, self.prototypes = logits.rows.to(self.product), logits.prototypes.to(self.product)
        self.of_rows = torch.empty_like(self.rows, dtype=wide)
        self.of_prototypes = torch.zeros_like(self.prototypes, dtype=wide)

    def add(self, gradient: Tensor, chunk: slice) -> None:
        gradient = gradient.to(self.product)
        self.of_rows[chunk] = gradient @ self.prototypes
        if gradient.dtype == self.of_prototypes.dtype:
            self.of_prototypes.addmm_(gradient.T, self.rows[chunk])
        else:
            self.of_prototypes += gradient.T @ self.rows[chunk]


@dataclass(frozen=True)
class _Plan:
    """What the chunked function needs besides tensors."""

    student_temperature: float
    teacher_temperature: float
    compare: Callable[[Tensor, Tensor, Tensor], _Comparison]
    product: torch.dtype
    differentiate: bool
    rows: int


class _ChunkedDistillation(torch.autograd.Function):
    """Loss and gradients in one go over chunks of rows; see `distillation`."""

    @staticmethod
    def forward(
        ctx: Any,
        student: Tensor,
        student_prototypes: Tensor,
        teacher: Tensor,
        teacher_prototypes: Tensor,
        center: Tensor,
        plan: _Plan,
    ) -> tuple[Tensor, Tensor]:
        shift = _wide(center) / plan.teacher_temperature
        student_logits = _Logits(student, student_prototypes, plan.student_temperature, plan.product)
        teacher_logits = _Logits(teacher, teacher_prototypes, plan.teacher_temperature, plan.product)
        differentiate = plan.differentiate and any(ctx.needs_input_grad[:2])
        gradients = _Gradients(student_logits, shift.dtype) if differentiate else None
        loss, entropy = shift.new_zeros(()), shift.new_zeros(())
        tiles = shift.new_empty((3, min(plan.rows, len(student)), len(shift)))
        for start in range(0, len(student), plan.rows):
            chunk = slice(start, min(start + plan.rows, len(student)))
            first, second, spare = tiles[:, : chunk.stop - start]
            student_logits.into(first, chunk)
            teacher_logits.into(second, chunk)
            compared = plan.compare(first, second.sub_(shift), spare)
            loss += compared.loss.sum()
            entropy += compared.entropy.sum()
            if gradients is not None:
                gradients.add(compared.gradient, chunk)
        if gradients is not None:
            ctx.save_for_backward(gradients.of_rows, gradients.of_prototypes)
            ctx.dtypes = student.dtype, student_prototypes.dtype
            ctx.temperature = plan.student_temperature
        loss, entropy = loss / len(student), entropy / len(student)
        ctx.mark_non_differentiable(entropy)
        return loss, entropy

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, loss: Tensor, entropy: Tensor) -> tuple[Tensor | None, ...]:
        of_rows, of_prototypes = ctx.saved_tensors
        scale = loss / len(of_rows)
        rows_dtype, prototypes_dtype = ctx.dtypes
        student = (of_rows * (scale / ctx.temperature)).to(rows_dtype)
        # The rows that multiplied this gradient had been divided by the temperature already.
        return student, (of_prototypes * scale).to(prototypes_dtype), None, None, None, None


class Centers(nn.Module):
    """Running means of the teacher's raw logits, zero at first, kept in the state dict.

    Attributes:
        cls: (1, C), of the CLS tokens.
        patch: (1, 1, C), of the patches.
    """

    cls: Tensor
    patch: Tensor

    def __init__(self, prototypes: int) -> None:
        super().__init__()
        self.register_buffer("cls", torch.zeros(1, prototypes))
        self.register_buffer("patch", torch.zeros(1, 1, prototypes))

    @torch.no_grad()
    def update(self, cls_mean: Tensor, patch_mean: Tensor, momentum: float) -> None:
        """C <- momentum * C + (1 - momentum) * mean, where the mean goes over all processes.

        Args:
            cls_mean: (C,) mean of this process's CLS logits, before centring and temperature.
            patch_mean: (C,) likewise over all patches.
            momentum: in [0, 1]; 0.9 in the released code.
        """
        means = torch.stack([cls_mean, patch_mean]).to(self.cls.dtype)
        dist.all_reduce(means, "mean")
        self.cls.mul_(momentum).add_(means[0], alpha=1 - momentum)
        self.patch.mul_(momentum).add_(means[1], alpha=1 - momentum)


def _wide(tensor: Tensor) -> Tensor:
    """At least float32."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
