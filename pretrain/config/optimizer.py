"""How parameters are updated."""

from dataclasses import dataclass
from typing import Literal

from cluster.values import require


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizerConfig:
    """AdamW, or SGD with Nesterov's momentum; linear warm-up and cosine decay to zero."""

    kind: Literal["adamw", "sgd"] = "adamw"
    """sgd has momentum 0.9, and its weight decay goes through the gradient."""
    learning_rate: float = 5e-4
    """Peak learning rate, for the whole batch as configured; it is not rescaled."""
    weight_decay: float = 0.05
    """Weight decay, decoupled with adamw; not applied to biases and normalisation layers."""
    warmup_fraction: float = 0.05
    """Share of all steps with a rising learning rate, in [0, 1)."""
    max_gradient_norm: float = 1.0
    """Gradients are scaled down to this norm."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        require(self.learning_rate > 0, "optimizer.learning-rate", "> 0", self.learning_rate)
        require(self.weight_decay >= 0, "optimizer.weight-decay", ">= 0", self.weight_decay)
        require(0 <= self.warmup_fraction < 1, "optimizer.warmup-fraction", "in [0, 1)", self.warmup_fraction)
        require(self.max_gradient_norm > 0, "optimizer.max-gradient-norm", "> 0", self.max_gradient_norm)
