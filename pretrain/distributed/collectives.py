"""What processes tell each other in a step: sums, and gathers with gradient.

Everything works without a process group too, as one process.
"""

from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor


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


def counts_over_ranks(device: torch.device, *counts: int) -> list[list[int]]:
    """Tell every process every process's counts; for each count, those of all processes in the order of ranks."""
    if world_size() == 1:
        return [[count] for count in counts]  # to ask a GPU is to wait for it
    every = torch.zeros(len(counts), world_size(), dtype=torch.int64, device=device)
    every[:, rank()] = torch.tensor(counts, device=device)
    return sum_over_ranks(every).tolist()


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
