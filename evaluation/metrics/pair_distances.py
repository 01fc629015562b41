"""Distances of sampled pairs: how far images of one identity are apart, and how far those of different ones.

Shapes: Q queries, G gallery images, D components of a feature, V queries and W gallery images without junk, P pairs.
Distance is smaller-is-nearer: squared Euclidean between unit vectors, 0 to 4.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cluster.errors import InputError
from evaluation.metrics.counting import JUNK_IDENTITY, Labels
from evaluation.metrics.distances import check_features, unit_rows

_PAIRS_AT_ONCE = 2048


@dataclass(frozen=True, kw_only=True, slots=True)
class EqualError:
    """The threshold at which as many pairs of one identity are refused as pairs of different ones are accepted."""

    threshold: float
    """Pairs at this distance or nearer are accepted; 0 to 4 for unit vectors."""
    rate: float
    """Mean of both fractions of wrong decisions there, 0 to 1: 0 if a threshold separates, 0.5 if nothing is known."""


def sample_pair_distances(
    query_QD: NDArray[np.float32],
    gallery_GD: NDArray[np.float32],
    query_identity_Q: NDArray[np.int64],
    gallery_identity_G: NDArray[np.int64],
    query_camera_Q: NDArray[np.int64],
    gallery_camera_G: NDArray[np.int64],
    *,
    max_pairs: int = 20_000,
    seed: int = 0,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Sample distances of query-gallery pairs of one identity before two cameras, and of different identities.

    The definition, as a loop::

        same, different = [], []
        for q in range(Q):
            for g in range(G):
                if -1 in (query_identity[q], gallery_identity[g]):
                    continue  # junk
                if query_identity[q] != gallery_identity[g]:
                    different.append(distance(query[q], gallery[g]))
                elif query_camera[q] != gallery_camera[g]:
                    same.append(distance(query[q], gallery[g]))
        return sample(same, max_pairs), sample(different, max_pairs)

    Only the sampled pairs are ever made: memory grows with Q + G + max_pairs, not with Q x G. Pairs are drawn alike,
    without replacement, so an identity counts as often as it has pairs.

    Args:
        query_QD: Features of any norm but 0.
        gallery_GD: Features of any norm but 0.
        query_identity_Q: Who is in each query; -1 is junk.
        gallery_identity_G: Who is in each gallery image; -1 is junk.
        query_camera_Q: Which camera took each query.
        gallery_camera_G: Which camera took each gallery image.
        max_pairs: At most so many pairs of each kind, >= 1; all of them where there are fewer.
        seed: Chooses the pairs.

    Returns:
        Distances of pairs of the same identity and of pairs of different ones, float32, in no meaningful order.

    Raises:
        InputError: If shapes disagree, a feature is zero or not finite, or there is no pair of either kind.
    """
    if max_pairs < 1:
        raise InputError(f"max_pairs must be >= 1, got {max_pairs}")
    Labels(  # checks itself
        query_identity=query_identity_Q,
        gallery_identity=gallery_identity_G,
        query_camera=query_camera_Q,
        gallery_camera=gallery_camera_G,
    )
    for name, feature_ND, identity_N in (
        ("query", query_QD, query_identity_Q),
        ("gallery", gallery_GD, gallery_identity_G),
    ):
        check_features(feature_ND, name)
        if len(feature_ND) != len(identity_N):
            raise InputError(f"{len(feature_ND)} {name} features need as many identities, got {len(identity_N)}")
    if query_QD.shape[1] != gallery_GD.shape[1]:
        raise InputError(f"queries have {query_QD.shape[1]} components and the gallery {gallery_GD.shape[1]}")
    query_V = np.flatnonzero(query_identity_Q != JUNK_IDENTITY)
    gallery_W = np.flatnonzero(gallery_identity_G != JUNK_IDENTITY)
    identity_V, identity_W, _ = _ranks(query_identity_Q[query_V], gallery_identity_G[gallery_W])
    camera_V, camera_W, num_cameras = _ranks(query_camera_Q[query_V], gallery_camera_G[gallery_W])
    passage_W = identity_W * num_cameras + camera_W
    gallery_W, passage_W = gallery_W[np.argsort(passage_W, kind="stable")], np.sort(passage_W)
    # now the gallery images of an identity stand side by side, and among them those of a camera
    of_anybody = np.broadcast_to([[0], [len(gallery_W)]], (2, len(query_V)))
    of_identity = np.searchsorted(passage_W, [identity_V * num_cameras, (identity_V + 1) * num_cameras])
    of_passage = np.searchsorted(passage_W, identity_V * num_cameras + camera_V + np.array([[0], [1]]))
    rng = np.random.default_rng(seed)
    distances = []
    for what, span, hole in (
        ("one identity before two cameras", of_identity, of_passage),
        ("different identities", of_anybody, of_identity),
    ):
        row_P, column_P = _sample(span, hole, max_pairs, rng)
        if len(row_P) == 0:
            raise InputError(f"no query and gallery image are of {what}; check identities and cameras")
        distances.append(_distances(query_QD, gallery_GD, query_V[row_P], gallery_W[column_P]))
    return distances[0], distances[1]


def equal_error_rate(same: NDArray[np.floating], different: NDArray[np.floating]) -> EqualError:
    """Find the threshold at which both kinds of wrong decisions are equally frequent, or nearest to it.

    The definition, as a loop::

        for t in sorted({*same, *different}):  # between two of these nothing changes
            refused[t] = mean(d > t for d in same)
            accepted[t] = mean(d <= t for d in different)
        best = the first t with the smallest abs(refused[t] - accepted[t])
        threshold = mean of best and the next t  # best itself where it is the last
        rate = (refused[best] + accepted[best]) / 2

    Args:
        same: Distances of pairs of one identity, [n], finite.
        different: Distances of pairs of different identities, [m], finite.

    Raises:
        InputError: If one of them is empty, or a distance is not finite.
    """
    for values, name in ((same, "same"), (different, "different")):
        if len(values) == 0 or not np.isfinite(values).all():
            num_bad = len(values) - np.isfinite(values).sum()
            raise InputError(f"need finite distances of {name} identities, got {len(values)} with {num_bad} not finite")
    same, different = np.sort(same).astype(np.float64), np.sort(different).astype(np.float64)
    threshold = np.unique(np.concatenate([same, different]))
    num_refused = len(same) - np.searchsorted(same, threshold, "right")
    num_accepted = np.searchsorted(different, threshold, "right")
    gap = np.abs(num_refused * len(different) - num_accepted * len(same))  # whole numbers: no rounding decides a tie
    best = int(gap.argmin())
    return EqualError(
        threshold=float(threshold[best : best + 2].mean()),
        rate=float(num_refused[best] / len(same) + num_accepted[best] / len(different)) / 2,
    )


def _ranks(
    query_V: NDArray[np.int64], gallery_W: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Number the labels of both sets from 0, in ascending order; return how many there are, too."""
    labels, rank = np.unique(np.concatenate([query_V, gallery_W]), return_inverse=True)
    return rank[: len(query_V)], rank[len(query_V) :], len(labels)


def _sample(
    span_2V: NDArray[np.int64], hole_2V: NDArray[np.int64], max_pairs: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Choose among all (v, column) with a column in v's span but not in the hole inside it; return v and column."""
    (start_V, end_V), (hole_start_V, hole_end_V) = span_2V, hole_2V
    num_V = (end_V - start_V) - (hole_end_V - hole_start_V)
    last_V = np.cumsum(num_V)
    total = int(last_V[-1]) if len(last_V) else 0
    chosen_P = np.sort(rng.choice(total, max_pairs, replace=False)) if total > max_pairs else np.arange(total)
    row_P = np.searchsorted(last_V, chosen_P, "right")
    column_P = start_V[row_P] + chosen_P - (last_V - num_V)[row_P]
    column_P += np.where(column_P >= hole_start_V[row_P], (hole_end_V - hole_start_V)[row_P], 0)
    return row_P, column_P


def _distances(
    query_QD: NDArray[np.float32],
    gallery_GD: NDArray[np.float32],
    query_P: NDArray[np.int64],
    gallery_P: NDArray[np.int64],
) -> NDArray[np.float32]:
    distance_P = np.empty(len(query_P), np.float32)
    for start in range(0, len(query_P), _PAIRS_AT_ONCE):
        part = slice(start, start + _PAIRS_AT_ONCE)
        left_PD = unit_rows(query_QD[query_P[part]]).astype(np.float64)
        right_PD = unit_rows(gallery_GD[gallery_P[part]])
        distance_P[part] = np.maximum(2 - 2 * np.einsum("pd,pd->p", left_PD, right_PD), 0)
    return distance_P
