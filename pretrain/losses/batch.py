"""What a pretraining loss is a function of.

Shape legend: N, M crops of all first and all second frames of this process; D embedding size; P matched pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pretrain.association.assignment import Matches
from pretrain.losses.config import LossConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class LossInput:
    """The frame pairs of this process, embedded, matched and judged."""

    x_ND: Tensor
    """Unit-norm embeddings of the first frames' augmented crops, frame pair after frame pair, with gradient."""
    y_MD: Tensor
    """Those of the second frames."""
    x_counts: Sequence[int]
    """Crops of each first frame; sums to N."""
    y_counts: Sequence[int]
    """Crops of each second frame; sums to M."""
    matches: Matches
    """Which crops are matched; P pairs."""
    forward_P: Tensor
    """Log-probability of each pair's second crop among the candidates of all processes, with gradient."""
    backward_P: Tensor
    """Likewise of its first crop."""
    reliability_P: Tensor
    """In [0, 1], without gradient."""
    config: LossConfig
    """The settings of the loss."""
    beta: float
    """Exponent of the reliability in this step."""


def divided(total: Tensor, divisor: Tensor) -> Tensor:
    """Divide what a loss returned by the sum of its divisors over all processes; where that is 0, 0 with gradient 0."""
    return total / divisor.detach().clamp_min(torch.finfo(torch.float32).tiny)
