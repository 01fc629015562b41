"""Batch norm whose statistics are those of the whole batch over all processes, also on CPUs.

PyTorch's own refuses CPU tensors. Per-process statistics of few frames would let the network tell frames apart.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn

from pretrain.distributed import collectives
from pretrain.models.pooling import EmbeddingNorm


class _Normalise(torch.autograd.Function):
    """Batch norm with statistics over all processes (Ioffe and Szegedy, ICML 2015, algorithm 1).

    The work on maps is done by the kernels of PyTorch's own batch norm, those for statistics that are given; the
    processes exchange one message forward and one backward.
    """

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, weight: Tensor, bias: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        mean, variance, count = _statistics(values)
        ctx.save_for_backward(values, weight, mean, variance, count)
        ctx.eps, ctx.has_bias = eps, bias is not None
        ctx.mark_non_differentiable(mean, variance, count)
        return _affine(values, mean, variance, weight, bias, eps), mean, variance, count

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor | None, None]:
        values, weight, mean, variance, count = ctx.saved_tensors
        gradient = gradients[0].contiguous(memory_format=_layout(values))
        # As if the statistics were constants; then what the loss has for them, which every value had a share in.
        found, slope, level = torch.ops.aten.native_batch_norm_backward(
            gradient, values, weight, mean, variance, None, None, False, ctx.eps, [True, True, True]
        )
        total_slope, total_level = (collectives.sum_over_ranks(torch.stack([slope, level])) / count).unbind()
        scale = -weight * torch.rsqrt(variance + ctx.eps)
        found += _affine(values, mean, variance, scale * total_slope, scale * total_level, ctx.eps)
        return found, slope, level if ctx.has_bias else None, None


def _statistics(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and variance [C] of values [B, C, ...] of all processes, and how many each channel has.

    From every process's (Chan, Golub and LeVeque, 1983): a difference of squares loses all digits, and turns negative,
    far from zero.
    """
    channels = values.shape[1]
    mean = variance = values.new_zeros(channels)
    if values.numel():
        mean, variance = torch.batch_norm_update_stats(values, None, None, 0.0)
    own = torch.cat([values.new_tensor([values.numel() / channels]), mean, variance]).double()
    every = collectives.gather_with_gradient(own[None], [1] * collectives.world_size())
    number_R1, mean_RC, variance_RC = every.split([1, channels, channels], dim=1)
    count = number_R1.sum()
    mean_C = (number_R1 * mean_RC).sum(dim=0) / count
    variance_C = (number_R1 * (variance_RC + (mean_RC - mean_C).square())).sum(dim=0) / count
    return mean_C.to(values.dtype), variance_C.to(values.dtype), count.to(values.dtype)


def _layout(values: Tensor) -> torch.memory_format:
    """The layout in memory that kernels are fast on."""
    is_last = values.ndim == 4 and values.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if is_last else torch.contiguous_format


def _affine(values: Tensor, mean: Tensor, variance: Tensor, weight: Tensor, bias: Tensor | None, eps: float) -> Tensor:
    return torch.batch_norm(values, weight, bias, mean, variance, False, 0.0, eps, False)


class _Synchronised(nn.modules.batchnorm._BatchNorm):
    """Parameters and buffers have the same names as those of `nn.BatchNorm2d`."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise float [B, C, ...]."""
        if not self.training:
            return super().forward(input)
        precise = torch.promote_types(input.dtype, torch.float32)
        made = _Normalise.apply(
            input.to(precise).contiguous(memory_format=_layout(input)), self.weight, self.bias, self.eps
        )
        result, mean, variance, count = cast("tuple[Tensor, Tensor, Tensor, Tensor]", made)
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            with torch.no_grad():
                self.num_batches_tracked.add_(1)
                momentum = self.momentum if self.momentum is not None else 1.0 / float(self.num_batches_tracked)
                self.running_mean.lerp_(mean, momentum)
                self.running_var.lerp_(variance * count / (count - 1), momentum)
        return result.to(input.dtype)


class SynchronisedBatchNorm(_Synchronised, nn.BatchNorm2d):
    """Of maps [B, C, H, W]."""


class SynchronisedEmbeddingNorm(_Synchronised, EmbeddingNorm):
    """Of embeddings [B, D]."""


SYNCHRONISED = {nn.BatchNorm2d: SynchronisedBatchNorm, EmbeddingNorm: SynchronisedEmbeddingNorm}
"""What takes the place of a norm. Any other `nn.BatchNorm1d` stays: those of matching see all processes' batch."""


def synchronise_batch_norm(module: nn.Module) -> nn.Module:
    """Replace every norm of `SYNCHRONISED` below a module by its synchronised form, sharing its tensors."""
    for name, child in module.named_children():
        kind = SYNCHRONISED.get(type(child))
        if kind is not None:
            assert isinstance(child, nn.modules.batchnorm._BatchNorm)
            norm = kind(child.num_features, eps=child.eps, momentum=child.momentum)
            norm.weight, norm.bias = child.weight, child.bias
            norm.running_mean, norm.running_var = child.running_mean, child.running_var
            norm.num_batches_tracked = child.num_batches_tracked
            setattr(module, name, norm.train(child.training))
        else:
            synchronise_batch_norm(child)
    return module
