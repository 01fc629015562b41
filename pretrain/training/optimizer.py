"""The optimiser of a run: who decays, and at which rate parts of a network learn."""

from collections.abc import Mapping

import torch
from torch import nn

from pretrain.config.optimizer import OptimizerConfig

SPARED = ("cls_token", "pos_embed", "relative_position_bias_table")
"""Parameters of ViT and Swin that are added to values, as biases are, though they have several dimensions."""


def make_optimizer(
    model: nn.Module, config: OptimizerConfig, rates: Mapping[str, float] | None = None
) -> torch.optim.Optimizer:
    """Make the optimiser; weight decay only on matrices and kernels: biases and norms are one-dimensional.

    On a GPU, one kernel updates many parameters.

    Args:
        model: Whose parameters learn.
        config: Kind, rate and decay.
        rates: By what the rate of some parameters is multiplied, by the start of their name; a group has it as
            ``rate``, for whoever sets ``lr`` at each step.
    """
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            found = [rate for start, rate in (rates or {}).items() if name.removeprefix("module.").startswith(start)]
            is_decayed = parameter.ndim > 1 and name.rpartition(".")[2] not in SPARED
            groups.setdefault((found[0] if found else 1.0, is_decayed), []).append(parameter)
    made = [
        {"params": parameters, "weight_decay": config.weight_decay if is_decayed else 0.0, "rate": rate}
        for (rate, is_decayed), parameters in sorted(groups.items(), key=lambda group: not group[0][1])
    ]
    is_fused = all(parameter.is_cuda for parameters in groups.values() for parameter in parameters) or None
    if config.kind == "sgd":
        return torch.optim.SGD(made, lr=config.learning_rate, momentum=0.9, nesterov=True, fused=is_fused)
    return torch.optim.AdamW(made, lr=config.learning_rate, fused=is_fused)
