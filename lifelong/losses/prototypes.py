"""Agreeing with the last model on which classes of an episode a query resembles (METHOD.md 4.4).

Shapes: R queries, N classes of an episode.
"""

import torch
from torch import Tensor
from torch.nn import functional


def prototype_distillation(
    new_logit_RN: Tensor,
    old_logit_RN: Tensor,
    positive_R: Tensor,
    *,
    temperature: float = 1.0,
    drop_positive: bool = True,
    target_weight: float = 0.0,
    other_weight: float = 1.0,
) -> Tensor:
    """Divergence of the new model's similarities to an episode's prototypes from the last model's.

    >>> import torch, lifelong
    >>> new, old = torch.randn(6, 3, requires_grad=True), torch.randn(6, 3)  # 6 queries, 3 prototypes
    >>> lifelong.prototype_distillation(new, old, torch.tensor([0, 0, 1, 1, 2, 2])).backward()

    The definition, as a loop::

        for r in range(R):
            y = positive[r]
            p_old, p_new = softmax(old[r] / temperature), softmax(new[r] / temperature)
            a, b = p_old[y], p_new[y]
            target = a * log(a / b) + (1 - a) * log((1 - a) / (1 - b))
            q_old, q_new = (p[others] / sum(p[others]) for p in (p_old, p_new))  # others: all columns but y
            other = sum(q_old * log(q_old / q_new))
            loss[r] = target_weight * target + other_weight * other * (1 if drop_positive else 1 - a)
        return mean(loss)

    The defaults are DwoPP (distillation without positive pairs): a query's own class is left out before the softmax.
    ``drop_positive=False, target_weight=1`` is DwPP, the divergence over all classes: it equals target + (1 - a) *
    other, so a teacher that is sure of the positives hardly teaches the others. Weights between are decoupled
    distillation (Zhao et al., CVPR 2022) with prototypes as classes.

    Differs from the published code, which clamps probabilities to >= 1e-4 and raises them to 1 / temperature after the
    softmax, so that a confident model gets no gradient or no number: here all is in log space. Neither has a factor
    temperature ** 2. The published DwPP was run at a temperature of 10 and DwoPP at 1.

    Args:
        new_logit_RN: Of the learning model, such as `episode_logits`.
        old_logit_RN: Of the last model on the same images; no gradient reaches them.
        positive_R: int64, column of each query's own class.
        temperature: Divides the logits; unitless, > 0.
        drop_positive: Whether the others count in full, however sure the teacher is of the positive.
        target_weight: Of the divergence of own class against all others; >= 0.
        other_weight: Of the divergence among the others, which is 0 for two classes; >= 0.

    Returns:
        Scalar mean over R, in nats, >= 0 up to rounding. A term of weight 0 is not computed.

    Raises:
        ValueError: If shapes differ, there are no queries or < 2 classes, a positive is no column, the temperature is
            not positive, a weight is negative, or both are 0.
    """
    _check(new_logit_RN, old_logit_RN, positive_R)
    if not temperature > 0:
        raise ValueError(f"temperature must be > 0, got {temperature}")
    if not (min(target_weight, other_weight) >= 0 and target_weight + other_weight > 0):
        raise ValueError(f"weights must be >= 0 and one of them > 0, got {target_weight} and {other_weight}")
    new_own_R, new_other = _parts(new_logit_RN / temperature, positive_R)
    old_own_R, old_other = _parts(old_logit_RN.detach() / temperature, positive_R)
    loss_R = new_logit_RN.new_zeros(len(positive_R))
    if target_weight:
        loss_R = loss_R + target_weight * _divergence(_two(new_own_R, new_other), _two(old_own_R, old_other))
    if other_weight:
        other_R = _divergence(new_other.log_softmax(dim=1), old_other.log_softmax(dim=1))
        if not drop_positive:
            other_R = _two(old_own_R, old_other)[:, 1].exp() * other_R
        loss_R = loss_R + other_weight * other_R
    return loss_R.mean()


def _parts(logit_RN: Tensor, positive_R: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logits of the own class [R], and of the N - 1 others in order."""
    other = torch.arange(logit_RN.shape[1] - 1, device=logit_RN.device).expand(len(logit_RN), -1)
    other = other + (other >= positive_R[:, None])
    return logit_RN.gather(1, positive_R[:, None])[:, 0], logit_RN.gather(1, other)


def _two(own_R: Tensor, other: Tensor) -> Tensor:
    """Return log p and log(1 - p) of the own class, [R, 2]; no difference from 1, which would lose a small one."""
    return torch.stack([own_R, other.logsumexp(dim=1)], dim=1).log_softmax(dim=1)


def _divergence(new_log: Tensor, old_log: Tensor) -> Tensor:
    """Return the divergence of each row, [R]."""
    return functional.kl_div(new_log, old_log, log_target=True, reduction="none").sum(dim=1)


def _check(new_logit_RN: Tensor, old_logit_RN: Tensor, positive_R: Tensor) -> None:
    shape = list(new_logit_RN.shape)
    if old_logit_RN.shape != new_logit_RN.shape or len(shape) != 2 or not shape[0]:
        raise ValueError(f"both models need logits [R, N] of the same queries, got {shape}, {list(old_logit_RN.shape)}")
    if shape[1] < 2:
        raise ValueError("an episode of one class has no others to compare with; draw at least 2")
    if positive_R.shape != new_logit_RN.shape[:1]:
        raise ValueError(f"{shape[0]} queries need as many positives, got {list(positive_R.shape)}")
    low, high = positive_R.aminmax()
    if low < 0 or high >= shape[1]:
        raise ValueError(f"positives must be columns 0 to {shape[1] - 1}, got {int(low)} to {int(high)}")
