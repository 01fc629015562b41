"""Learning to compare, an episode at a time: some images of each class are given, the others are to be found again.

Sources: METHOD.md 4.

Shapes: N classes of an episode, S supports and Q queries of each class, K = S + Q, B = N * K rows of the batch,
R = N * Q queries, D embedding size. Row r of the queries belongs to class r // Q.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Distance = Literal["euclidean", "cosine"]
"""Squared Euclidean distance of the features as they are, or 1 - their cosine."""


def split_episode(feature_BD: Tensor, label_B: Tensor, *, queries: int) -> tuple[Tensor, Tensor]:
    """Cut a batch, its classes one after the other, into supports and queries.

    The definition, as a loop::

        for n in range(N):
            rows = feature[n * K : (n + 1) * K]
            support[n], query[n] = rows[: K - queries], rows[K - queries :]

    Args:
        feature_BD: Rows of a class are consecutive: first its supports, then its queries.
        label_B: int64, the class of each row.
        queries: Q, >= 1.

    Returns:
        Supports [N, S, D] and queries [N, Q, D], views of the features.

    Raises:
        ValueError: If there are no rows, classes have different numbers of rows, a class comes twice, or a class has
            no row left for a support.
    """
    if feature_BD.ndim != 2 or not len(feature_BD) or label_B.shape != feature_BD.shape[:1]:
        raise ValueError(f"an episode needs [B, D] and B labels, got {list(feature_BD.shape)}, {list(label_B.shape)}")
    class_N, count_N = torch.unique_consecutive(label_B, return_counts=True)
    classes, counts = class_N.tolist(), count_N.tolist()
    if len(set(classes)) < len(classes):
        twice = next(name for place, name in enumerate(classes) if name in classes[:place])
        raise ValueError(f"class {twice} comes twice in the episode; put all of a class's rows together")
    if len(set(counts)) > 1:
        raise ValueError(f"classes of an episode need as many rows each, got {min(counts)} to {max(counts)}")
    if not 1 <= queries < counts[0]:
        raise ValueError(f"queries must be >= 1 and less than the {counts[0]} rows of a class, got {queries}")
    feature_NKD = feature_BD.unflatten(0, (len(classes), counts[0]))
    return feature_NKD[:, :-queries], feature_NKD[:, -queries:]


def episode_logits(
    support_NSD: Tensor, query_NQD: Tensor, *, distance: Distance = "euclidean", scale: float = 1.0
) -> Tensor:
    """Compare every query with every class's prototype (Snell et al., 2017), as DwoPP distils.

    The definition, as a loop::

        for r in range(R):
            for c in range(N):
                prototype = mean(support[c])
                logit[r, c] = -scale * sum((query[r // Q, r % Q] - prototype) ** 2)

    Under ``cosine`` supports and queries are normalised first, and it is ``-scale * (1 - cos(query, prototype))``. That
    form and the scale are ours: the published code takes Euclidean distances and a scale of 1.

    Args:
        support_NSD: Features of any norm.
        query_NQD: Features of any norm.
        distance: What is compared.
        scale: Multiplies the distance; > 0, of order 10 for cosines.

    Returns:
        float [R, N], <= 0 up to rounding.

    Raises:
        ValueError: If shapes do not fit, or an argument is out of range.
    """
    _check(support_NSD, query_NQD, distance, scale)
    if distance == "cosine":
        support_NSD = functional.normalize(support_NSD, dim=2)
    return -scale * _distances(query_NQD.flatten(0, 1), support_NSD.mean(dim=1), distance)


def dmml_loss(
    support_NSD: Tensor,
    query_NQD: Tensor,
    *,
    mode: Literal["hard", "center"] = "hard",
    margin: float = 0.4,
    distance: Distance = "euclidean",
    scale: float = 1.0,
    norm_penalty: float = 0.0005,
) -> Tensor:
    """Tell each query's class from the others by distance (deep meta metric learning; Chen et al., ICCV 2019).

    >>> import torch, lifelong
    >>> support, query = torch.randn(3, 2, 16), torch.randn(3, 2, 16, requires_grad=True)  # 3 people, 2 images each
    >>> lifelong.dmml_loss(support, query).backward()

    The definition, as a loop::

        for r in range(R):
            y, q = r // Q, query[r // Q, r % Q]
            for c in range(N):
                if mode == "center":
                    d[c] = distance(q, mean(support[c]))
                elif c == y:
                    d[c] = max(distance(q, s) for s in support[c])
                else:
                    d[c] = max(0, min(distance(q, s) for s in support[c]) - margin)
            loss[r] = -log_softmax(-scale * d)[y]
        return mean(loss) + norm_penalty * mean(sum(f ** 2) for f in [*supports, *queries])

    The margin is inside the clamp: another class nearer than the margin has no gradient. The centre form has no margin.
    Published, and run by DwoPP's scripts, is the hard form with squared Euclidean distances of features as they are, a
    scale of 1 and these defaults; the penalty is what keeps their norm in check. DMML's own later code compares raw dot
    products without a margin. The cosine form, whose centre is of normalised supports, and the scale are ours.

    Args:
        support_NSD: Features of any norm.
        query_NQD: Features of any norm.
        mode: Farthest support of the own class and nearest of the others, or the mean of each class.
        margin: In units of the distance, before the scale; >= 0.
        distance: What is compared.
        scale: Multiplies the distance; > 0, of order 10 for cosines.
        norm_penalty: Weight of the mean squared norm over all rows, supports included; >= 0.

    Returns:
        Scalar, in nats; >= 0.

    Raises:
        ValueError: If shapes do not fit, there is only one class, or an argument is out of range.
    """
    _check(support_NSD, query_NQD, distance, scale)
    if len(support_NSD) < 2:
        raise ValueError("an episode of one class has nothing to tell apart; draw at least 2")
    if mode not in ("hard", "center"):
        raise ValueError(f"mode must be hard or center, got {mode!r}")
    if not (margin >= 0 and norm_penalty >= 0):
        raise ValueError(f"margin and norm_penalty must be >= 0, got {margin} and {norm_penalty}")
    (N, S), Q = support_NSD.shape[:2], query_NQD.shape[1]
    own_R = torch.arange(N, device=query_NQD.device).repeat_interleave(Q)
    if mode == "center":
        logit_RN = episode_logits(support_NSD, query_NQD, distance=distance, scale=scale)
    else:
        distance_RNS = _distances(query_NQD.flatten(0, 1), support_NSD.flatten(0, 1), distance).unflatten(1, (N, S))
        is_own_RN = own_R[:, None] == torch.arange(N, device=own_R.device)
        other_RN = functional.relu(distance_RNS.amin(dim=2) - margin)
        logit_RN = -scale * torch.where(is_own_RN, distance_RNS.amax(dim=2), other_RN)
    square = support_NSD.square().sum() + query_NQD.square().sum()
    return functional.cross_entropy(logit_RN, own_R) + norm_penalty * square / (N * (S + Q))


def _distances(query_RD: Tensor, other_CD: Tensor, distance: Distance) -> Tensor:
    """Return the distance [R, C] of each query to each of some vectors."""
    if distance == "cosine":
        return 1 - functional.normalize(query_RD, dim=1) @ functional.normalize(other_CD, dim=1).T
    # Of differences, not of a product, which is inexact between near features far from the origin.
    return torch.cdist(query_RD, other_CD, compute_mode="donot_use_mm_for_euclid_dist").square()


def _check(support_NSD: Tensor, query_NQD: Tensor, distance: str, scale: float) -> None:
    shapes = list(support_NSD.shape), list(query_NQD.shape)
    fits = support_NSD.ndim == query_NQD.ndim == 3 and all(support_NSD.shape) and all(query_NQD.shape)
    if not fits or shapes[0][::2] != shapes[1][::2]:
        raise ValueError(f"an episode needs supports [N, S, D] and queries [N, Q, D], got {shapes[0]} and {shapes[1]}")
    if distance not in ("euclidean", "cosine"):
        raise ValueError(f"distance must be euclidean or cosine, got {distance!r}")
    if not scale > 0:
        raise ValueError(f"scale must be > 0, got {scale}")
