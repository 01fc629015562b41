"""Telling identities apart: by a classifier that learns, and by the last model's classifier, which does not.

Shapes: B images, C identities, D embedding size.
"""

import torch
from torch import Tensor
from torch.nn import functional


def identity_loss(logit_BC: Tensor, target_B: Tensor, *, smoothing: float) -> Tensor:
    """Cross-entropy with label smoothing (Szegedy et al., 2016).

    The definition, as a loop::

        for b in range(B):
            log_p = log_softmax(logit[b])
            loss[b] = -(1 - smoothing) * log_p[target[b]] - smoothing * mean(log_p)
        return mean(loss)

    Args:
        logit_BC: Of each image with each identity.
        target_B: int64, who is in each image.
        smoothing: In [0, 1).

    Returns:
        Scalar, in nats.

    Raises:
        ValueError: If there are no images, shapes differ, a target is no identity, or smoothing is out of range.
    """
    _check(logit_BC, target_B)
    if not 0 <= smoothing < 1:
        raise ValueError(f"smoothing must be in [0, 1), got {smoothing}")
    return functional.cross_entropy(logit_BC, target_B, label_smoothing=smoothing)


def influence_loss(embedding_BD: Tensor, frozen_weight_CD: Tensor, target_B: Tensor, *, scale: float) -> Tensor:
    """Cross-entropy of new embeddings under the last model's classifier (BCT; Shen et al., CVPR 2020, influence loss).

    >>> import torch, lifelong
    >>> embedding, old_classifier = torch.randn(4, 16, requires_grad=True), torch.randn(10, 16)
    >>> lifelong.influence_loss(embedding, old_classifier, torch.tensor([0, 3, 3, 9]), scale=16.0).backward()

    The definition, as a loop::

        for b in range(B):
            logit = [scale * cos(embedding[b], frozen_weight[c]) for c in range(C)]
            loss[b] = -log_softmax(logit)[target[b]]
        return mean(loss)

    Identities that the last model never saw have no row in its classifier; BCT offers its mean feature of each of them
    in place of one, and that is what `frozen_weight_CD` holds here.

    Args:
        embedding_BD: Of the learning model, any norm.
        frozen_weight_CD: Directions of the identities as the last model has them; no gradient reaches them.
        target_B: int64, row of `frozen_weight_CD`.
        scale: Multiplies the cosine; unitless, > 0.

    Returns:
        Scalar, in nats.

    Raises:
        ValueError: If there are no images, shapes differ, a target is no row, or the scale is not positive.
    """
    if embedding_BD.shape[1] != frozen_weight_CD.shape[1] or scale <= 0:
        raise ValueError(
            f"embeddings and classifier need one size and a scale > 0, got {embedding_BD.shape[1]}, "
            f"{frozen_weight_CD.shape[1]} and {scale}"
        )
    direction_CD = functional.normalize(frozen_weight_CD.detach(), dim=1)
    logit_BC = scale * functional.normalize(embedding_BD, dim=1) @ direction_CD.T
    _check(logit_BC, target_B)
    return functional.cross_entropy(logit_BC, target_B)


def _check(logit_BC: Tensor, target_B: Tensor) -> None:
    count, classes = logit_BC.shape
    if target_B.shape != (count,) or not count:
        raise ValueError(f"{count} images need as many targets and at least one, got {list(target_B.shape)}")
    lowest, highest = torch.aminmax(target_B)
    if lowest < 0 or highest >= classes:
        raise ValueError(f"targets must be 0 to {classes - 1}, got {int(lowest)} to {int(highest)}")
