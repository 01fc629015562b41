"""What processes tell each other in a step: gathers with gradient, sums, and batch norm over all of them.

Everything works without a process group too, as one process.
"""

from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from pretrain.models.pooling import EmbeddingNorm


def world_size() -> int:
    """Number of processes in the group; 1 without a group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process's number in the group; 0 without a group."""
    return dist.get_rank() if world_size() > 1 else 0


def sum_over_ranks(value: Tensor) -> Tensor:
    """Sum a tensor over all processes, without gradient."""
    value = value.detach().clone()
    if world_size() > 1:
        dist.all_reduce(value)
    return value


class _SumWithGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return sum_over_ranks(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return sum_over_ranks(gradients[0])


def sum_with_gradient(value: Tensor) -> Tensor:
    """Sum a tensor over all processes; each process's loss sends its gradient back to every summand."""
    return value if world_size() == 1 else cast("Tensor", _SumWithGradient.apply(value))


def counts_over_ranks(count: int, device: torch.device) -> list[int]:
    """Tell every process every process's count, in the order of ranks."""
    if world_size() == 1:
        return [count]  # to ask a GPU is to wait for it
    own = torch.zeros(world_size(), dtype=torch.int64, device=device)
    own[rank()] = count
    return [int(value) for value in sum_over_ranks(own).tolist()]


class _GatherWithGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, counts: list[int]) -> Tensor:
        ctx.counts = counts
        padded = value.new_zeros((max(counts), *value.shape[1:]))
        padded[: len(value)] = value
        parts = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(parts, padded.contiguous())
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        start = sum(ctx.counts[: rank()])
        return sum_over_ranks(gradients[0])[start : start + ctx.counts[rank()]], None


def gather_with_gradient(value: Tensor, counts: list[int]) -> Tensor:
    """Concatenate the rows of all processes, which may differ in number, in the order of ranks.

    The gradient that any process's loss has for a row returns to the process that the row came from.

    Args:
        value: [count of this rank, ...].
        counts: Rows of every rank, from `counts_over_ranks`.
    """
    return value if world_size() == 1 else cast("Tensor", _GatherWithGradient.apply(value, counts))


class _Synchronised(nn.modules.batchnorm._BatchNorm):
    """Batch norm whose statistics are those of the whole batch over all processes, on any device.

    PyTorch's own refuses CPU tensors. Per-process statistics of few frames would let the network tell frames apart.
    Parameters and buffers have the same names as those of `nn.BatchNorm2d`.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalise float [B, C, ...]."""
        if not self.training:
            return super().forward(input)
        values = input.float()
        others = [dim for dim in range(values.ndim) if dim != 1]
        shape = [-1] + [1] * (values.ndim - 2)
        number = values.new_tensor([values.numel() / values.shape[1]])
        total = sum_with_gradient(torch.cat([values.sum(dim=others), number]))
        count = total[-1].detach()
        mean = total[:-1] / count
        # From deviations: a difference of squares loses all digits, and turns negative, far from zero.
        centred = values - mean.view(shape)
        variance = sum_with_gradient(centred.square().sum(dim=others)) / count
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            with torch.no_grad():
                self.num_batches_tracked.add_(1)
                momentum = self.momentum if self.momentum is not None else 1.0 / float(self.num_batches_tracked)
                self.running_mean.lerp_(mean, momentum)
                self.running_var.lerp_(variance * count / (count - 1), momentum)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        result = centred * scale.view(shape)
        if self.bias is not None:
            result = result + self.bias.view(shape)
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
