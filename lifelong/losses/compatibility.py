"""The cross-model compatibility loss: new features are drawn to frozen ones that older models extracted.

Confirmed of LReID-BC (Oh and Sim, arXiv 2403.10022, abstract): it is contrastive, and over the replay features of all
old datasets. Its formula is not available to us: this is this project's design (METHOD.md 3.3), near openBCT's.
Shapes: A anchors, M remembered features, D embedding size.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional


def cross_model_compatibility(
    anchor_AD: Tensor,
    identity_A: Tensor,
    bank_MD: Tensor,
    identity_M: Tensor,
    stage_M: Tensor,
    *,
    temperature: float,
    form: Literal["sep", "joint"] = "sep",
    per_stage_mean: bool = False,
    rivals: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Contrast new features of remembered people with the frozen features of everybody remembered.

    >>> import torch, lifelong
    >>> new = torch.randn(4, 16, requires_grad=True)  # of the model that learns
    >>> bank, identity, stage = torch.randn(6, 16), torch.tensor([0, 0, 1, 1, 2, 2]), torch.ones(6, dtype=torch.long)
    >>> own = torch.tensor([0, 1, 2, 2])
    >>> loss = lifelong.cross_model_compatibility(new, own, bank, identity, stage, temperature=0.05)
    >>> loss.backward()

    The definition, as a loop::

        for a in range(A):
            s = [cos(anchor[a], bank[m]) / temperature for m in range(M)]
            positive = [m for m in range(M) if identity[m] == identity[a]]
            negative = [m for m in range(M) if identity[m] != identity[a]]
            if not positive:
                continue
            rival = [cos(anchor[a], rivals[e]) / temperature for e in range(E) if identity[e] != identity[a]]  # given
            terms = []
            for p in positive:
                others = negative + ([p] if form == "sep" else positive)
                terms.append(-s[p] + log(sum(exp(s[m]) for m in others) + sum(exp(r) for r in rival)))
            loss[a] = mean(terms)
        return mean(loss)  # per_stage_mean: of each stage's anchors first, then over the stages

    A bank that is rotated gives another loss, unless the anchors are rotated with it: this is what makes old features
    searchable, and what losses on relations alone lack.

    Args:
        anchor_AD: Features of the learning model, any norm.
        identity_A: int64, row of the classifier.
        bank_MD: Frozen features, any norm; no gradient reaches them.
        identity_M: int64, row of the classifier; an identity belongs to one stage.
        stage_M: int64, which stage's model extracted each.
        temperature: Divides the cosine; unitless, > 0.
        form: Whether each positive stands alone beside the negatives, or with the other positives.
        per_stage_mean: Whether stages count alike, however many anchors they have.
        rivals: Features [E, D] of the learning model and their identities [E], which stand among the negatives with
            gradient. A mixed gallery holds features of the newest model too, and features of one model are nearer to
            each other than to another model's: without them, a query finds strangers of its own model first. (New-new
            negatives are the idea of regression-alleviating training, RACT; OpenCompatible's `contra_ract`.)

    Returns:
        Scalar, in nats; 0 with a gradient of 0 if the bank is empty or no anchor has a positive.

    Raises:
        ValueError: If shapes differ, temperature is not positive, or the form is unknown.
    """
    _check(anchor_AD, identity_A, bank_MD, identity_M, stage_M, temperature, form)
    unit_AD = functional.normalize(anchor_AD, dim=1)
    similarity_AM = unit_AD @ functional.normalize(bank_MD.detach(), dim=1).T / temperature
    is_positive_AM = identity_A[:, None] == identity_M
    has_positive_A = is_positive_AM.any(dim=1)
    if not has_positive_A.any():
        return (anchor_AD * 0).sum()
    similarity_AM, is_positive_AM = similarity_AM[has_positive_A], is_positive_AM[has_positive_A]
    # Finite, and so far below every cosine that its exponential is 0: an anchor may have no negatives.
    least = torch.finfo(similarity_AM.dtype).min / 4
    negative_AN = similarity_AM.masked_fill(is_positive_AM, least)
    if rivals is not None:
        rival_ED, identity_E = rivals
        similarity_AE = (unit_AD @ functional.normalize(rival_ED, dim=1).T / temperature)[has_positive_A]
        is_own_AE = (identity_A[:, None] == identity_E)[has_positive_A]
        negative_AN = torch.cat([negative_AN, similarity_AE.masked_fill(is_own_AE, least)], dim=1)
    log_negative_A1 = negative_AN.logsumexp(dim=1, keepdim=True)
    if form == "joint":
        log_positive_A1 = similarity_AM.masked_fill(~is_positive_AM, least).logsumexp(dim=1, keepdim=True)
        log_sum_AM = torch.logaddexp(log_positive_A1, log_negative_A1)
    else:
        log_sum_AM = torch.logaddexp(similarity_AM, log_negative_A1)
    term_AM = (log_sum_AM - similarity_AM) * is_positive_AM
    loss_A = term_AM.sum(dim=1) / is_positive_AM.sum(dim=1)
    if not per_stage_mean:
        return loss_A.mean()
    stage_A = stage_M[is_positive_AM.int().argmax(dim=1)]
    return torch.stack([loss_A[stage_A == stage].mean() for stage in stage_A.unique()]).mean()


def previous_stage_only(stage_M: Tensor) -> Tensor:
    """Mark the features of the last stage, bool [M]: the bank that "all the old datasets" is compared with."""
    return stage_M == (stage_M.max() if len(stage_M) else 0)


def _check(
    anchor_AD: Tensor,
    identity_A: Tensor,
    bank_MD: Tensor,
    identity_M: Tensor,
    stage_M: Tensor,
    temperature: float,
    form: str,
) -> None:
    if anchor_AD.shape[1] != bank_MD.shape[1]:
        raise ValueError(
            f"anchors have {anchor_AD.shape[1]} components and the bank {bank_MD.shape[1]}; they must be comparable"
        )
    if identity_A.shape != anchor_AD.shape[:1] or not identity_M.shape == stage_M.shape == bank_MD.shape[:1]:
        raise ValueError(
            f"{len(anchor_AD)} anchors and {len(bank_MD)} features need as many identities and stages, got "
            f"{list(identity_A.shape)}, {list(identity_M.shape)} and {list(stage_M.shape)}"
        )
    if temperature <= 0 or form not in ("sep", "joint"):
        raise ValueError(f"temperature must be > 0 and form sep or joint, got {temperature} and {form!r}")
