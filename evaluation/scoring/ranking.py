"""From images to distances, by the chosen matcher, with or without re-ranking and temporal lifting.

The order is that of the QAConv paper (Liao and Shao, ECCV 2020): matching, then re-ranking, then TLift. Re-ranking
takes distances (squared Euclidean for cosine, 1 - similarity for QAConv), TLift similarities in [0, 1]:
(1 + cosine) / 2, sigmoid(score / 10) of QAConv, or 1 - the re-ranked distance.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from cluster.console import meter
from cluster.errors import InputError
from evaluation.features.table import Features
from evaluation.metrics.distances import Chunks, distance_chunks
from evaluation.scoring.problem import Problem
from evaluation.scoring.reranking import rerank
from evaluation.scoring.tlift import tlift

Rows = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class RankingConfig:
    """What is done to distances before they are scored."""

    rerank: bool = False
    """Whether to re-rank by k-reciprocal neighbours (Zhong et al., 2017)."""
    rerank_k1: int = 20
    """Neighbours that must be mutual."""
    rerank_k2: int = 6
    """Neighbours over which encodings are averaged."""
    rerank_weight: float = 0.3
    """Weight of the original distance, 0 to 1."""
    tlift: bool = False
    """Whether to lift scores by temporal co-occurrence (TLift); every image needs a time."""
    tlift_tau: float = 100.0
    """Queries of one camera within so many seconds are neighbours."""
    tlift_sigma: float = 200.0
    """Width in seconds of the window around what the neighbours found."""
    tlift_num_pivots: int = 10
    """How many of the neighbours' best scores count."""
    tlift_alpha: float = 0.2
    """What remains of a score that nothing lifts."""
    tlift_pivots: Literal["multiset", "set"] = "multiset"
    """Whether an image that two neighbours found counts twice (the authors' Python) or once (their Octave)."""


AS_MATCHED = RankingConfig()
"""Distances as the matcher gives them."""


class Matcher(Protocol):
    """Compares images of one table by their rows."""

    def distances(self, query_rows: Rows, gallery_rows: Rows) -> Chunks:
        """Yield distances in the matcher's own unit, smaller is nearer; progress is shown where it takes a while."""
        ...

    def similarities(self, query_rows: Rows, gallery_rows: Rows) -> Chunks:
        """Yield similarities in [0, 1], in the same order."""
        ...

    def all_pairs(self, rows: Rows) -> Chunks:
        """Yield non-negative distances of all images to all, as re-ranking takes them."""
        ...

    def quality(self, query_rows: Rows, gallery_rows: Rows, *, seed: int = 0) -> dict[str, float]:
        """Return what is known of how far shortcuts of the matcher change its ranking; nothing if it takes none."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class CosineMatcher:
    """Squared Euclidean distance of unit vectors: the ranking of cosine similarity."""

    images: Features
    device: str = "cpu"

    def distances(self, query_rows: Rows, gallery_rows: Rows) -> Chunks:
        """Yield float32 [C, G] in 0 to 4."""
        query, gallery = self.images.take(query_rows), self.images.take(gallery_rows)
        with meter("comparing images", len(query)) as advance:
            for rows, part in distance_chunks(query.feature, gallery.feature, device=self.device):
                yield rows, part
                advance(rows.stop - rows.start)

    def similarities(self, query_rows: Rows, gallery_rows: Rows) -> Chunks:
        """Yield (1 + cosine) / 2, which is 1 - distance / 4."""
        return ((rows, 1 - part / np.float32(4)) for rows, part in self.distances(query_rows, gallery_rows))

    def all_pairs(self, rows: Rows) -> Chunks:
        """Yield squared Euclidean distances."""
        return self.distances(rows, rows)

    def quality(self, query_rows: Rows, gallery_rows: Rows, *, seed: int = 0) -> dict[str, float]:
        """Return nothing: all pairs are compared."""
        return {}


def rank(problem: Problem, matcher: Matcher, config: RankingConfig) -> Chunks:
    """Yield distances of queries to the gallery.

    Raises:
        InputError: If what is asked for does not go with the protocol, or times are missing.
    """
    if (config.rerank or config.tlift) and problem.protocol.gallery == "one-of-all-per-identity":
        raise InputError(
            f"{problem.protocol.name} draws its galleries itself; re-ranking and TLift need one gallery: "
            "leave --rerank and --tlift out"
        )
    if not config.tlift:
        return _distances(problem, matcher, config)
    similarity_QG = np.empty((len(problem.query), len(problem.gallery)), np.float32)
    for rows, part in _similarities(problem, matcher, config):
        similarity_QG[rows] = part
    with meter("lifting similarities", similarity_QG.size) as advance:
        lifted_QG = tlift(
            similarity_QG,
            problem.query.camera,
            problem.query.time_seconds,
            problem.gallery.camera,
            problem.gallery.time_seconds,
            tau=config.tlift_tau,
            sigma=config.tlift_sigma,
            num_pivots=config.tlift_num_pivots,
            alpha=config.tlift_alpha,
            pivots=config.tlift_pivots,
            advance=advance,
        )
    return iter([(slice(0, len(lifted_QG)), -lifted_QG.astype(np.float32, copy=False))])


def _distances(problem: Problem, matcher: Matcher, config: RankingConfig) -> Chunks:
    if not config.rerank:
        return matcher.distances(problem.query_rows, problem.gallery_rows)
    rows = np.concatenate([problem.query_rows, problem.gallery_rows])
    return rerank(
        lambda: matcher.all_pairs(rows),
        len(problem.query),
        len(rows),
        k1=config.rerank_k1,
        k2=config.rerank_k2,
        weight=config.rerank_weight,
    )


def _similarities(problem: Problem, matcher: Matcher, config: RankingConfig) -> Chunks:
    if config.rerank:
        return ((rows, np.clip(1 - part, 0, 1)) for rows, part in _distances(problem, matcher, config))
    return matcher.similarities(problem.query_rows, problem.gallery_rows)
