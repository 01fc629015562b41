"""The objective of a stage: every term that has a weight, by name, over the whole batch of all processes."""

import torch
from torch import Tensor

from cluster.errors import InputError
from lifelong.stages.loss_config import LossConfig
from lifelong.stages.terms import TERMS
from lifelong.training.batch_view import BatchView


def stage_terms(batch: BatchView) -> dict[str, Tensor]:
    """Compute every term that has a weight and what it needs; in the first stage nothing is known of earlier ones.

    Returns:
        Scalars by name, not yet weighted.

    Raises:
        InputError: If a term is no scalar.
    """
    given = batch.given
    terms: dict[str, Tensor] = {}
    for name in batch.config.weights():
        if not given.issuperset(TERMS.needs(name)):
            continue
        terms[name] = TERMS.load(name)(batch)
        if terms[name].ndim:
            raise InputError(f"the term {name} must return a scalar, got shape {list(terms[name].shape)}")
    return terms


def weighted_sum(terms: dict[str, Tensor], config: LossConfig) -> Tensor:
    """Add up the terms by their weights."""
    weights = config.weights()
    return torch.stack([weights[name] * value for name, value in terms.items()]).sum()
