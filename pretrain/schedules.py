"""Numbers that change with the step; steps count from 1."""

import math


def warmup_cosine(step: int, *, total_steps: int, warmup_fraction: float) -> float:
    """Share of the peak learning rate: a linear rise, then half a cosine to zero after the last step.

    Args:
        step: Number of the optimiser step, from 1 to `total_steps`.
        total_steps: Steps of the whole run.
        warmup_fraction: Share of steps with a rising rate, in [0, 1).

    Returns:
        In (0, 1].
    """
    warmup = round(total_steps * warmup_fraction)
    if step <= warmup:
        return step / warmup
    return 0.5 * (1.0 + math.cos(math.pi * (step - warmup - 1) / max(1, total_steps - warmup)))


def beta_after_warmup(step: int, *, beta: float, warmup_steps: int) -> float:
    """Exponent of the reliability: 0 for the first `warmup_steps` steps, then `beta`."""
    return 0.0 if step <= warmup_steps else beta
