"""How well queries find their identity in a gallery: mAP, CMC and mINP under a named protocol.

Shapes: R repeats (1 where nothing is drawn), Q queries, G gallery images, C queries of a chunk, H matches of a chunk.
Distance is smaller-is-nearer. Every number of a result is a fraction of 1; percent is for people, and made where they
read it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cluster.errors import InputError
from evaluation.metrics.average_precision import average_precision, nth_match
from evaluation.metrics.counting import JUNK_IDENTITY, Labels, Ranks, count_ranks
from evaluation.metrics.distances import Chunks
from evaluation.metrics.draws import Block, Draws
from evaluation.metrics.protocols import MARKET, Protocol

CMC_LENGTH = 50


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class RetrievalResult:
    """Scores of one query set against one gallery, under a protocol.

    Means are over the queries that the protocol counts, and over its repeats.
    """

    protocol: Protocol
    num_queries: int
    num_gallery: int
    """Gallery images without junk."""
    average_precision: NDArray[np.float64]
    """[R, Q], 0 to 1; NaN where the query is in no mean."""
    inverse_negative_penalty: NDArray[np.float64]
    """[R, Q], 0 to 1: matches divided by the rank of the last one (Ye et al., 2021); NaN as above."""
    first_match_rank: NDArray[np.int64]
    """[R, Q], counted from 1; 0 for a query without a match."""

    @property
    def mAP(self) -> float:  # noqa: N802 - the name that the field uses
        """Mean average precision, 0 to 1."""
        return float(np.nanmean(self.average_precision))

    @property
    def mINP(self) -> float:  # noqa: N802
        """Mean inverse negative penalty, 0 to 1."""
        return float(np.nanmean(self.inverse_negative_penalty))

    @property
    def cmc(self) -> tuple[float, ...]:
        """Entry k - 1 is the fraction of counted queries whose first match is at rank k or better; k = 1 to 50."""
        rank = self.first_match_rank[~np.isnan(self.average_precision)]
        counts = np.bincount(np.minimum(rank, CMC_LENGTH + 1), minlength=CMC_LENGTH + 2)
        return tuple((np.cumsum(counts[1:-1]) / len(rank)).tolist())

    @property
    def num_valid_queries(self) -> int:
        """Queries that have a match."""
        return int((self.first_match_rank > 0).any(axis=0).sum())

    def rank(self, k: int) -> float:
        """Return Rank-k accuracy, 0 to 1, for k from 1 to 50."""
        return self.cmc[k - 1]


def evaluate(chunks: Chunks, labels: Labels, protocol: Protocol = MARKET, *, seed: int = 0) -> RetrievalResult:
    """Score rankings under a protocol (Zheng et al., 2015, as the code base that the protocol names computes it).

    The definition, as a loop, for a protocol that draws nothing::

        for q in range(Q):
            ranking = []
            for g in sorted(range(G), key=lambda g: (distance[q, g], g)):
                if gallery_identity[g] == -1:
                    continue  # junk
                if gallery_identity[g] == query_identity[q] and gallery_camera[g] == query_camera[q]:
                    continue  # same-passage; same-camera asks for the camera alone
                ranking.append(gallery_identity[g] == query_identity[q])
            rank = [r for r, is_right in enumerate(ranking, start=1) if is_right]
            if not rank:
                continue  # a query without a match: in no mean, or 0 in every mean
            average_precision[q] = mean(k / r for k, r in enumerate(rank, start=1))
            inverse_negative_penalty[q] = len(rank) / rank[-1]
            first_match_rank[q] = rank[0]

    The other forms of AP are in `evaluation.metrics.average_precision`. A query whose own identity is -1 has no match.

    Args:
        chunks: Distances of all queries to the whole gallery, in any unit. Under a protocol that draws its gallery from
            queries and gallery together, both are all images together, in the same order.
        labels: Who is in the images, and which camera took them.
        protocol: The rules.
        seed: Draws the galleries of a protocol with repeats.

    Raises:
        InputError: If shapes disagree, a distance is NaN, or no query at all has a match.
    """
    num_queries, num_gallery = len(labels.query_identity), len(labels.gallery_identity)
    scores = _Scores(protocol, num_queries)
    draws = Draws(labels, protocol, seed)
    done = 0
    for rows, distance_CG in chunks:
        is_next = rows.start == done and rows.stop <= num_queries
        if not is_next or distance_CG.shape != (rows.stop - rows.start, num_gallery):
            raise InputError(
                f"distances {list(distance_CG.shape)} of queries {rows.start} to {rows.stop} do not fit the labels of "
                f"{num_queries} queries and {num_gallery} gallery images, of which query {done} comes next"
            )
        for block in draws.blocks(rows):
            is_whole = len(block.queries) == len(distance_CG)
            distance_BG = distance_CG if is_whole else distance_CG[block.queries - rows.start]
            scores.record(
                block,
                count_ranks(
                    distance_BG[:, block.columns],
                    labels.query_identity[block.queries],
                    labels.query_camera[block.queries],
                    block.groups,
                    left_out=protocol.left_out,
                ),
            )
        done = rows.stop
    if done != num_queries:
        raise InputError(f"there are distances of {done} queries and labels of {num_queries}; give as many")
    return scores.result(int((labels.gallery_identity != JUNK_IDENTITY).sum()), labels)


class _Scores:
    """The scores of all queries, filled block by block."""

    def __init__(self, protocol: Protocol, num_queries: int) -> None:
        shape = (protocol.num_repeats, num_queries)
        self.protocol = protocol
        self.precision_RQ, self.penalty_RQ = np.full((2, *shape), np.nan)
        self.first_rank_RQ = np.zeros(shape, np.int64)

    def record(self, block: Block, ranks: Ranks) -> None:
        """Score the rankings of a block."""
        num_C = len(block.queries)
        nth_H = nth_match(ranks, num_C)
        if block.gives_rank:
            first_rank_C = np.zeros(num_C, np.int64)
            first_rank_C[ranks.query[nth_H == 1]] = ranks.rank[nth_H == 1]
            self.first_rank_RQ[block.repeats, block.queries] = first_rank_C
        if block.gives_precision:
            penalty_C = np.full(num_C, np.nan)
            penalty_C[ranks.query] = nth_H / ranks.rank  # the last match of a query is written last and stays
            precision_C = average_precision(ranks, num_C, self.protocol)
            if self.protocol.without_match == "zero":
                precision_C, penalty_C = np.nan_to_num(precision_C), np.nan_to_num(penalty_C)
            self.precision_RQ[block.repeats, block.queries] = precision_C
            self.penalty_RQ[block.repeats, block.queries] = penalty_C

    def result(self, num_gallery: int, labels: Labels) -> RetrievalResult:
        num_queries = self.first_rank_RQ.shape[1]
        if not self.first_rank_RQ.any():
            cameras = np.union1d(labels.query_camera, labels.gallery_camera)
            reason = (
                f"all images are of camera {cameras[0]}, whose own images of a query's identity are left out"
                if len(cameras) == 1
                else "the same identity seen by another camera; check identities and cameras"
            )
            raise InputError(
                f"none of the {num_queries} queries has a match in the gallery ({num_gallery} images): {reason}"
            )
        return RetrievalResult(
            protocol=self.protocol,
            num_queries=num_queries,
            num_gallery=num_gallery,
            average_precision=self.precision_RQ,
            inverse_negative_penalty=self.penalty_RQ,
            first_match_rank=self.first_rank_RQ,
        )
