"""How well queries find their identity in a gallery: mAP, CMC and mINP under the Market-1501 protocol.

Shapes: Q queries, G gallery images, D components of a feature, K entries of a list, C queries of a chunk.
Distance is smaller-is-nearer. Every number of a result is a fraction of 1; percent is for people, and made where they
read it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.distances import check_features, distance_chunks

JUNK_IDENTITY = -1
"""The label of images that are neither right nor wrong (bad detections); Market-1501's own convention."""

CMC_LENGTH = 50


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class RetrievalResult:
    """Scores of one query set against one gallery. Means are over the valid queries: those with at least one match."""

    mAP: float  # noqa: N815 - the name that the field uses
    """Mean average precision, 0 to 1."""
    cmc: tuple[float, ...]
    """Entry k - 1 is the fraction of valid queries whose first match is at rank k or better; k = 1 to 50."""
    mINP: float  # noqa: N815
    """Mean inverse negative penalty, 0 to 1: matches divided by the rank of the last one (Ye et al., 2021)."""
    num_queries: int
    num_valid_queries: int
    num_gallery: int
    """Gallery images without junk."""
    average_precision: NDArray[np.float64]
    """[Q], 0 to 1; NaN for a query without a match."""
    inverse_negative_penalty: NDArray[np.float64]
    """[Q], 0 to 1; NaN for a query without a match."""
    first_match_rank: NDArray[np.int64]
    """[Q], counted from 1; 0 for a query without a match."""

    def rank(self, k: int) -> float:
        """Return Rank-k accuracy, 0 to 1, for k from 1 to 50."""
        return self.cmc[k - 1]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class RankList:
    """The nearest gallery images of some queries, nearest first. Lists shorter than K end in -1, False and infinity."""

    gallery_index: NDArray[np.int64]
    """[Q, K], rows of the gallery."""
    is_right: NDArray[np.bool_]
    """[Q, K], whether the gallery image shows the query's identity."""
    distance: NDArray[np.float32]
    """[Q, K], squared Euclidean between unit vectors: 0 to 4."""


def market_metrics(
    query_QD: NDArray[np.float32],
    gallery_GD: NDArray[np.float32],
    query_identity_Q: NDArray[np.int64],
    gallery_identity_G: NDArray[np.int64],
    query_camera_Q: NDArray[np.int64],
    gallery_camera_G: NDArray[np.int64],
    *,
    chunk: int | None = None,
) -> RetrievalResult:
    """Score queries against a gallery under the ``market`` protocol (Zheng et al., 2015, as torchreid computes it).

    The definition, as a loop::

        for q in range(Q):
            ranking = []
            for g in sorted(range(G), key=lambda g: (distance(query[q], gallery[g]), g)):
                if gallery_identity[g] == -1:
                    continue  # junk
                if gallery_identity[g] == query_identity[q] and gallery_camera[g] == query_camera[q]:
                    continue  # the same passage, found by the same camera
                ranking.append(gallery_identity[g] == query_identity[q])
            rank = [r for r, is_right in enumerate(ranking, start=1) if is_right]
            if not rank:
                continue  # a query without a match: counted, in no mean
            average_precision[q] = mean(k / r for k, r in enumerate(rank, start=1))
            inverse_negative_penalty[q] = len(rank) / rank[-1]
            first_match_rank[q] = rank[0]

    The distance is squared Euclidean between the features scaled to norm 1, rounded to float32; equal distances stay in
    the order of the gallery. Distractors (identity 0 in Market-1501) are ordinary gallery images that no query seeks.

    Args:
        query_QD: Features of any norm but 0.
        gallery_GD: Features of any norm but 0.
        query_identity_Q: Who is in each query.
        gallery_identity_G: Who is in each gallery image; -1 is junk.
        query_camera_Q: Which camera took each query.
        gallery_camera_G: Which camera took each gallery image.
        chunk: Queries ranked at a time, >= 1. Changes memory, never a result. None fits about 200 MB.

    Raises:
        ValueError: If shapes disagree, a feature is zero or not finite, or no query at all has a match.
    """
    _check(query_QD, query_identity_Q, query_camera_Q, "query")
    _check(gallery_GD, gallery_identity_G, gallery_camera_G, "gallery")
    valid_G = gallery_identity_G != JUNK_IDENTITY
    num_queries, num_gallery = len(query_QD), int(valid_G.sum())
    average_precision_Q = np.full(num_queries, np.nan)
    penalty_Q = np.full(num_queries, np.nan)
    first_rank_Q = np.zeros(num_queries, np.int64)
    if num_gallery:
        identity_G, camera_G = gallery_identity_G[valid_G], gallery_camera_G[valid_G]
        for rows, distance_CG in distance_chunks(query_QD, gallery_GD[valid_G], chunk=chunk):
            is_right_CG = query_identity_Q[rows, None] == identity_G
            is_kept_CG = ~(is_right_CG & (query_camera_Q[rows, None] == camera_G))
            scores = _score_rankings(distance_CG, is_right_CG, is_kept_CG)
            average_precision_Q[rows], penalty_Q[rows], first_rank_Q[rows] = scores
    return _summarise(average_precision_Q, penalty_Q, first_rank_Q, num_gallery)


def rank_list(
    query_QD: NDArray[np.float32],
    gallery_GD: NDArray[np.float32],
    query_identity_Q: NDArray[np.int64],
    gallery_identity_G: NDArray[np.int64],
    query_camera_Q: NDArray[np.int64],
    gallery_camera_G: NDArray[np.int64],
    *,
    length: int = 10,
) -> RankList:
    """List the nearest gallery images of queries, in exactly the ranking that `market_metrics` scores.

    Args:
        query_QD: As in `market_metrics`, as are the next five; give only the queries whose lists are wanted.
        gallery_GD: Candidates.
        query_identity_Q: Who is in each query.
        gallery_identity_G: Who is in each gallery image.
        query_camera_Q: Which camera took each query.
        gallery_camera_G: Which camera took each gallery image.
        length: K, >= 1.

    Raises:
        ValueError: If shapes disagree, or a feature is zero or not finite.
    """
    if length < 1:
        raise ValueError(f"a rank list needs a length >= 1, got {length}")
    _check(query_QD, query_identity_Q, query_camera_Q, "query")
    _check(gallery_GD, gallery_identity_G, gallery_camera_G, "gallery")
    index_QK = np.full((len(query_QD), length), -1, np.int64)
    distance_QK = np.full((len(query_QD), length), np.inf, np.float32)
    for rows, distance_CG in distance_chunks(query_QD, gallery_GD, chunk=None):
        for q, distance_G in zip(range(*rows.indices(len(query_QD))), distance_CG, strict=True):
            is_same_passage_G = (gallery_identity_G == query_identity_Q[q]) & (gallery_camera_G == query_camera_Q[q])
            kept = np.flatnonzero((gallery_identity_G != JUNK_IDENTITY) & ~is_same_passage_G)
            nearest = kept[np.argsort(distance_G[kept], kind="stable")[:length]]
            index_QK[q, : len(nearest)], distance_QK[q, : len(nearest)] = nearest, distance_G[nearest]
    is_right_QK = (index_QK >= 0) & (gallery_identity_G[index_QK] == query_identity_Q[:, None])
    return RankList(gallery_index=index_QK, is_right=is_right_QK, distance=distance_QK)


def _check(feature_ND: NDArray[np.float32], identity: NDArray[np.int64], camera: NDArray[np.int64], name: str) -> None:
    check_features(feature_ND, name)
    if identity.shape != (len(feature_ND),) or camera.shape != (len(feature_ND),):
        raise ValueError(
            f"{len(feature_ND)} {name} features need as many identities and cameras, "
            f"got {list(identity.shape)} and {list(camera.shape)}"
        )


def _score_rankings(
    distance_CG: NDArray[np.float32], is_right_CG: NDArray[np.bool_], is_kept_CG: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Return average precision, inverse negative penalty and rank of the first match of each query of a chunk."""
    order_CG = np.argsort(distance_CG, axis=1, kind="stable")
    is_kept_CG = np.take_along_axis(is_kept_CG, order_CG, axis=1)
    is_hit_CG = np.take_along_axis(is_right_CG, order_CG, axis=1) & is_kept_CG
    row_H, column_H = np.nonzero(is_hit_CG)  # matches of all queries, query by query and nearest first
    rank_H = np.cumsum(is_kept_CG, axis=1, dtype=np.int32)[row_H, column_H]
    num_C = is_hit_CG.sum(axis=1)
    end_C = np.cumsum(num_C)
    nth_H = np.arange(1, len(row_H) + 1) - (end_C - num_C)[row_H]
    precision_C = np.bincount(row_H, weights=nth_H / rank_H, minlength=len(num_C))
    valid_C = num_C > 0
    average_precision_C, penalty_C = np.full((2, len(num_C)), np.nan)
    average_precision_C[valid_C] = precision_C[valid_C] / num_C[valid_C]
    penalty_C[valid_C] = num_C[valid_C] / rank_H[end_C[valid_C] - 1]
    first_rank_C = np.zeros(len(num_C), np.int64)
    first_rank_C[valid_C] = rank_H[(end_C - num_C)[valid_C]]
    return average_precision_C, penalty_C, first_rank_C


def _summarise(
    average_precision_Q: NDArray[np.float64],
    penalty_Q: NDArray[np.float64],
    first_rank_Q: NDArray[np.int64],
    num_gallery: int,
) -> RetrievalResult:
    valid_Q = first_rank_Q > 0
    if not valid_Q.any():
        raise ValueError(
            f"none of the {len(valid_Q)} queries has a match in the gallery ({num_gallery} images): the same identity "
            "seen by another camera; check identities and cameras"
        )
    rank_V = first_rank_Q[valid_Q]
    return RetrievalResult(
        mAP=float(average_precision_Q[valid_Q].mean()),
        cmc=tuple(float((rank_V <= k).mean()) for k in range(1, CMC_LENGTH + 1)),
        mINP=float(penalty_Q[valid_Q].mean()),
        num_queries=len(valid_Q),
        num_valid_queries=int(valid_Q.sum()),
        num_gallery=num_gallery,
        average_precision=average_precision_Q,
        inverse_negative_penalty=penalty_Q,
        first_match_rank=first_rank_Q,
    )
