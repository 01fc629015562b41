"""The reliability-guided contrastive loss over matched pairs.

Shape legend: P matched pairs whose loss is wanted (this process); G matched pairs gathered from all processes, in the
order of ranks; D embedding size. The P pairs are rows ``offset .. offset + P`` of the G.

The paper's formula is not available to us. What is confirmed: positives are matched crops of two frames, wrong matches
stay in the loss, and reliable ones dominate it. The rest is this project's design (METHOD.md 5).
"""

from typing import Literal

import torch
from torch import Tensor

from pretrain.losses.batch import LossInput


def candidate_mask(
    pair_P: Tensor,
    pair_G: Tensor,
    video_P: Tensor,
    video_G: Tensor,
    *,
    offset: int,
    other_videos: bool = True,
    far_PG: Tensor | None = None,
) -> Tensor:
    """Which gathered pairs may stand in the softmax of each pair (METHOD.md 5.1).

    The definition, as a loop::

        for p in range(P):
            for g in range(G):
                is_own = g == offset + p
                is_elsewhere = other_videos and video[g] != video[p]
                mask[p, g] = is_own or pair[g] == pair[p] or is_elsewhere or far[p, g]

    So pairs of the same video from another moment are left out unless they are far apart in time: they may show the
    same person. All other people of the same two frames are certain negatives, people of other videos nearly so.

    Args:
        pair_P: int64, number of the frame pair of each row, unique over all processes.
        pair_G: The same for the gathered rows.
        video_P: int64, number of the video of each row.
        video_G: The same for the gathered rows.
        offset: Where this process's rows begin among the gathered.
        other_videos: Whether people of other videos are negatives.
        far_PG: bool, from `far_apart`; None means nowhere.

    Returns:
        bool [P, G]; the own positive is always inside.
    """
    mask_PG = pair_P[:, None] == pair_G[None]
    if other_videos:
        mask_PG = mask_PG | (video_P[:, None] != video_G[None])
    if far_PG is not None:
        mask_PG = mask_PG | far_PG
    own_P = torch.arange(len(pair_P), device=pair_P.device)
    mask_PG[own_P, own_P + offset] = True
    return mask_PG


def far_apart(video_P: Tensor, video_G: Tensor, seconds_P: Tensor, seconds_G: Tensor, *, gap_seconds: float) -> Tensor:
    """Which pairs are of the same video and at least `gap_seconds` apart, bool [P, G].

    A design of this project: with few fixed cameras, people of other videos differ by the camera's look already, and a
    softmax against them teaches the camera. People who walk by have left after a while, so the same camera at another
    time gives negatives that only the person tells apart.
    """
    return (video_P[:, None] == video_G[None]) & ((seconds_P[:, None] - seconds_G[None]).abs() >= gap_seconds)


def mask_close_in_pair(
    mask_PG: Tensor, similarity_PG: Tensor, pair_P: Tensor, pair_G: Tensor, *, offset: int, margin: float
) -> Tensor:
    """Take in-pair negatives out of the softmax that are nearly as similar as the positive (`mask_same_pair_cross`).

    If the match is wrong, the true partner stands among them, and pushing it away would be the worst thing to do::

        for p, g in pairs of the same frame pair, g != offset + p:
            if similarity[p, g] > similarity[p, offset + p] - margin:
                mask[p, g] = False

    The choice of columns is made without gradient, and a masked column gets none.
    """
    own_P = torch.arange(len(pair_P), device=pair_P.device)
    similarity_PG = similarity_PG.detach()
    positive_P = similarity_PG[own_P, own_P + offset]
    close_PG = (pair_P[:, None] == pair_G[None]) & (similarity_PG > positive_P[:, None] - margin)
    close_PG[own_P, own_P + offset] = False
    return mask_PG & ~close_PG


def log_probability(similarity_PG: Tensor, mask_PG: Tensor, *, offset: int, temperature: float) -> Tensor:
    """Log-probability of each pair's own partner among its candidates (InfoNCE; van den Oord et al., 2018, eq. 4).

    The definition, as a loop::

        for p in range(P):
            candidates = [similarity[p, g] / temperature for g in range(G) if mask[p, g]]
            result[p] = similarity[p, offset + p] / temperature - log(sum(exp(c) for c in candidates))

    Args:
        similarity_PG: Cosine similarities.
        mask_PG: bool, candidates; the own partner must be one.
        offset: Column of the first row's partner.
        temperature: Divides the cosine; unitless, > 0.

    Returns:
        [P], <= 0, in nats.
    """
    precise = torch.promote_types(similarity_PG.dtype, torch.float32)
    logit_PG = (similarity_PG.to(precise) / temperature).masked_fill(~mask_PG, -torch.inf)
    own_P = torch.arange(len(logit_PG), device=logit_PG.device)
    return logit_PG.log_softmax(dim=1)[own_P, own_P + offset]


def pair_log_probabilities(
    x_PD: Tensor,
    y_PD: Tensor,
    x_GD: Tensor,
    y_GD: Tensor,
    pair_P: Tensor,
    pair_G: Tensor,
    video_P: Tensor,
    video_G: Tensor,
    *,
    offset: int,
    temperature: float,
    mask_same_pair_cross: float | None = None,
    other_videos: bool = True,
    far_PG: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Log-probabilities of both directions, ``log p(x -> y)`` and ``log p(y -> x)`` (METHOD.md 5.2).

    Args:
        x_PD: Unit-norm embeddings of the first frames' matched crops.
        y_PD: Their partners in the second frames, row by row.
        x_GD: First frames' embeddings of all processes, gathered with gradient.
        y_GD: Second frames' embeddings of all processes.
        pair_P: Frame pair of each row, see `candidate_mask`.
        pair_G: The same for the gathered rows.
        video_P: Video of each row.
        video_G: The same for the gathered rows.
        offset: Where this process's rows begin among the gathered.
        temperature: Divides the cosine; unitless, > 0.
        mask_same_pair_cross: Margin of `mask_close_in_pair`; None keeps all in-pair negatives.
        other_videos: See `candidate_mask`.
        far_PG: See `candidate_mask`.

    Returns:
        Two tensors [P].

    Raises:
        ValueError: If `temperature` is not positive or the embedding sizes differ.
    """
    if temperature <= 0:
        raise ValueError(f"temperature must be > 0, got {temperature}")
    if x_PD.shape != y_PD.shape or x_GD.shape != y_GD.shape or x_PD.shape[1:] != x_GD.shape[1:]:
        raise ValueError(
            f"x {tuple(x_PD.shape)} and y {tuple(y_PD.shape)} must agree, and so must gathered x {tuple(x_GD.shape)} "
            f"and y {tuple(y_GD.shape)}, in rows and embedding size"
        )
    mask_PG = candidate_mask(pair_P, pair_G, video_P, video_G, offset=offset, other_videos=other_videos, far_PG=far_PG)
    result: list[Tensor] = []
    for query_PD, key_GD in ((x_PD, y_GD), (y_PD, x_GD)):
        similarity_PG = query_PD @ key_GD.T
        used_PG = mask_PG
        if mask_same_pair_cross is not None:
            used_PG = mask_close_in_pair(
                mask_PG, similarity_PG, pair_P, pair_G, offset=offset, margin=mask_same_pair_cross
            )
        result.append(log_probability(similarity_PG, used_PG, offset=offset, temperature=temperature))
    return result[0], result[1]


def reliability_weighted(
    loss_P: Tensor, reliability_P: Tensor, *, beta: float, normalisation: Literal["self", "mean"]
) -> tuple[Tensor, Tensor]:
    """Weight each pair's loss by a power of its reliability (METHOD.md 5.3, ``L_RC``).

    The definition, as a loop over the pairs of all processes::

        total = weight = 0
        for p in all pairs:
            w = reliability[p] ** beta            # no gradient
            total += w * loss[p]
            weight += w
        return total / weight                     # "self"
        return total / number of pairs            # "mean"

    With ``mean``, one direction and `conf`, the gradient is that of generalised cross-entropy with q = beta (Zhang and
    Sabuncu, 2018).

    Args:
        loss_P: Loss of each pair.
        reliability_P: In [0, 1].
        beta: Exponent; 0 weighs all pairs alike.
        normalisation: What the total is divided by.

    Returns:
        The total over this process's pairs, and what it is to be divided by without gradient: a sum over all processes,
        as the total is.
    """
    weight_P = pair_weights(reliability_P, beta=beta)
    amount = weight_P.sum() if normalisation == "self" else loss_P.new_full((), float(len(loss_P)))
    return (weight_P * loss_P).sum(), amount


def pair_weights(reliability_P: Tensor, *, beta: float) -> Tensor:
    """Weight of each pair, ``reliability ** beta``, without gradient; 1 for beta 0, also where reliability is 0."""
    return reliability_P.detach().pow(beta)


def effective_share(weight_sum: Tensor, weight_square_sum: Tensor, count: Tensor) -> Tensor:
    """How much of the batch takes part, ``(sum w)^2 / (N sum w^2)``: 1 for equal weights, 1/N if one pair has all.

    A tiny value early in training means that the run has locked on to a few easy pairs.
    """
    return weight_sum.square() / (count * weight_square_sum).clamp_min(torch.finfo(torch.float32).tiny)


def contrastive(batch: LossInput) -> tuple[Tensor, Tensor]:
    """The loss ``contrastive`` of the table: both directions' InfoNCE of every pair, weighed by its reliability."""
    loss_P = -0.5 * (batch.forward_P + batch.backward_P)
    return reliability_weighted(loss_P, batch.reliability_P, beta=batch.beta, normalisation=batch.config.normalisation)
