"""Agreeing with the last model: on the identities that it knows, or on which images resemble each other.

Shapes: B images, C identities, D embedding size.
"""

import torch
from torch import Tensor
from torch.nn import functional


def logit_distillation(new_BC: Tensor, old_BC: Tensor, *, temperature: float) -> Tensor:
    """Divergence of the new model's identities from the last model's (Hinton et al., 2015; Li and Hoiem, 2016).

    >>> import torch, lifelong
    >>> logits = torch.randn(4, 10)
    >>> lifelong.logit_distillation(logits, logits, temperature=2.0).abs() < 1e-6
    tensor(True)

    Over the identities that the last model knows: this project's design (METHOD.md 3.6).

    The definition, as a loop::

        for b in range(B):
            p_old = softmax(old[b] / temperature)
            p_new = softmax(new[b][:len(p_old)] / temperature)
            loss[b] = temperature ** 2 * sum(p_old * (log(p_old) - log(p_new)))
        return mean(loss)

    Args:
        new_BC: Logits of the learning model; its first columns are the last model's identities.
        old_BC: Logits of the last model; no gradient reaches them.
        temperature: Divides the logits; unitless, > 0.

    Returns:
        Scalar, in nats, >= 0.

    Raises:
        ValueError: If there are no images, the new model knows fewer identities, or the temperature is not positive.
    """
    known = old_BC.shape[1]
    if len(new_BC) != len(old_BC) or not len(new_BC) or new_BC.shape[1] < known or temperature <= 0:
        raise ValueError(
            f"logits {list(new_BC.shape)} must be of as many images as {list(old_BC.shape)} and of at least as many "
            f"identities, and the temperature > 0, got {temperature}"
        )
    old_log_BC = (old_BC.detach() / temperature).log_softmax(dim=1)
    new_log_BC = (new_BC[:, :known] / temperature).log_softmax(dim=1)
    return temperature**2 * functional.kl_div(new_log_BC, old_log_BC, log_target=True, reduction="batchmean")


def relation_distillation(new_BD: Tensor, old_BD: Tensor, *, temperature: float) -> Tensor:
    """Divergence of who resembles whom in a batch (the affinity form of LSTKC; Xu et al., AAAI 2024).

    >>> import torch, lifelong
    >>> features = torch.randn(4, 16)
    >>> lifelong.relation_distillation(features, 3 * features, temperature=0.1).abs() < 1e-5  # of directions
    tensor(True)

    LSTKC also rectifies the old affinities; this project's design does not, and leaves each image itself out.

    The definition, as a loop::

        for b in range(B):
            p_old = softmax([cos(old[b], old[j]) / temperature for j in range(B) if j != b])
            p_new = softmax([cos(new[b], new[j]) / temperature for j in range(B) if j != b])
            loss[b] = sum(p_old * (log(p_old) - log(p_new)))
        return mean(loss)

    It is 0 for a new model whose space is the old one, rotated, though none of its queries then finds anything in an
    old gallery: alone it does not make models compatible.

    Args:
        new_BD: Features of the learning model, any norm.
        old_BD: Features of the last model, any norm and size; no gradient reaches them.
        temperature: Divides the cosine; unitless, > 0.

    Returns:
        Scalar, in nats, >= 0; 0 with a gradient of 0 for a single image.

    Raises:
        ValueError: If the numbers of images differ, or temperature is not positive.
    """
    if len(new_BD) != len(old_BD) or temperature <= 0:
        raise ValueError(
            f"both models need as many images, and temperature > 0, got {len(new_BD)}, {len(old_BD)} and {temperature}"
        )
    if len(new_BD) < 2:
        return (new_BD * 0).sum()
    new_log, old_log = (_log_affinity(feature, temperature) for feature in (new_BD, old_BD.detach()))
    return functional.kl_div(new_log, old_log, log_target=True, reduction="batchmean")


def _log_affinity(feature_BD: Tensor, temperature: float) -> Tensor:
    """Return log-probabilities [B, B - 1] of each other image."""
    unit_BD = functional.normalize(feature_BD, dim=1)
    count = len(unit_BD)
    is_other_BB = ~torch.eye(count, dtype=torch.bool, device=unit_BD.device)
    return (unit_BD @ unit_BD.T / temperature)[is_other_BB].view(count, count - 1).log_softmax(dim=1)
