"""TLift and re-ranking against the plain forms in which they are published: loops over images, dense matrices."""

import math
import statistics
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from evaluation.metrics.distances import distance_chunks
from evaluation.scoring.reranking import rerank
from evaluation.scoring.tlift import tlift

TLIFT_BUDGET = 50.0
RERANKING_BUDGET = 10.0


def tlift_against_loops(*, vectorised: bool) -> dict[str, float]:
    """Time of loops over queries and cameras over ours: 300 queries, 1,500 gallery images, 6 cameras, 20 minutes.

    Args:
        vectorised: Whether NumPy does what is inside the loops, or plain Python, as the definition reads.
    """
    rng = np.random.default_rng(0)
    similarity = rng.random((300, 1500))
    cameras = [rng.integers(0, 6, count) for count in similarity.shape]
    seconds = [rng.uniform(0, 1200, count) for count in similarity.shape]
    problem = (similarity, cameras[0], seconds[0], cameras[1], seconds[1])
    plain = _tlift_numpy if vectorised else _tlift_loops
    return _compare(lambda: plain(*problem), lambda: tlift(*problem), atol=1e-9, repeats=7 if vectorised else 2)


def reranking_against_dense() -> dict[str, float]:
    """Time of the dense form over ours: 3,000 images, 600 of them queries."""
    rng = np.random.default_rng(0)
    identity = rng.integers(0, 300, 3000)
    feature = rng.standard_normal((300, 64))[identity] + rng.standard_normal((3000, 64))
    [(_, distance)] = distance_chunks(feature.astype(np.float32), feature.astype(np.float32), chunk=3000)
    chunks = [(slice(0, 3000), distance)]

    def ours() -> NDArray[np.floating]:
        return np.concatenate([part for _, part in rerank(lambda: chunks, 600, 3000)])

    return _compare(lambda: _rerank_dense(distance, 600), ours, atol=1e-4, repeats=3)


def _compare(
    plain: Callable[[], NDArray[np.floating]], ours: Callable[[], NDArray[np.floating]], *, atol: float, repeats: int
) -> dict[str, float]:
    """Time both in turn, so that the machine's drift hits both alike, and refuse a speed with other numbers."""
    ratios = []
    for _ in range(repeats):
        start = time.perf_counter()
        expected = plain()
        middle = time.perf_counter()
        got = ours()
        ratios.append((middle - start) / (time.perf_counter() - middle))
        if not np.allclose(got, expected, atol=atol):
            raise RuntimeError(f"the two forms differ by {np.abs(got - expected).max()}")
    return {"ratio": statistics.median(ratios), "lowest": min(ratios), "highest": max(ratios)}


def _tlift_loops(
    similarity: NDArray[np.floating],
    query_camera: NDArray[np.int64],
    query_seconds: NDArray[np.floating],
    gallery_camera: NDArray[np.int64],
    gallery_seconds: NDArray[np.floating],
) -> NDArray[np.floating]:
    """The definition, word for word."""
    lifted = np.zeros_like(similarity)
    times = gallery_seconds.tolist()
    rows = similarity.tolist()
    images = [np.flatnonzero(gallery_camera == camera).tolist() for camera in range(6)]
    for i in range(len(rows)):
        near = np.flatnonzero((query_camera == query_camera[i]) & (np.abs(query_seconds - query_seconds[i]) < 100.0))
        for own in images:
            found = [(rows[j][g], g) for j in near for g in own]
            theta = sorted((value for value, _ in found), reverse=True)[min(10, len(found)) - 1]
            pivots = [g for value, g in found if value >= theta]
            for g in own:
                near_pivots = [math.exp(-(((times[g] - times[h]) / 200.0) ** 2)) for h in pivots]
                lifted[i, g] = (sum(near_pivots) / len(pivots) + 0.2) * rows[i][g]
    return lifted


def _tlift_numpy(
    similarity: NDArray[np.floating],
    query_camera: NDArray[np.int64],
    query_seconds: NDArray[np.floating],
    gallery_camera: NDArray[np.int64],
    gallery_seconds: NDArray[np.floating],
) -> NDArray[np.floating]:
    """The definition, a query and a camera at a time, with NumPy inside and the time matrices made once."""
    lifted = np.zeros_like(similarity)
    images = [np.flatnonzero(gallery_camera == camera) for camera in range(6)]
    nearness = [np.exp(-(((gallery_seconds[own][:, None] - gallery_seconds[own]) / 200.0) ** 2)) for own in images]
    for i in range(len(similarity)):
        near = np.flatnonzero((query_camera == query_camera[i]) & (np.abs(query_seconds - query_seconds[i]) < 100.0))
        for own, weights in zip(images, nearness, strict=True):
            found = similarity[np.ix_(near, own)]
            theta = np.sort(found.ravel())[::-1][min(10, found.size) - 1]
            _, pivots = np.nonzero(found >= theta)
            lifted[i, own] = (weights[pivots].mean(axis=0) + 0.2) * similarity[i, own]
    return lifted


def _rerank_dense(distance: NDArray[np.floating], num_queries: int) -> NDArray[np.floating]:
    """The definition with an N x N encoding and loops over images, with NumPy inside."""
    count, k1, k2, weight = len(distance), 20, 6, 0.3
    original = distance / distance.max(axis=1, keepdims=True)
    order = np.argsort(original, axis=1, kind="stable")
    encoding = np.zeros((count, count), np.float32)

    def mutual(i: int, k: int) -> NDArray[np.int64]:
        nearest = order[i, : k + 1]
        return nearest[(order[nearest, : k + 1] == i).any(axis=1)]

    for i in range(count):
        core = expanded = mutual(i, k1)
        for c in core:
            theirs = mutual(c, k1 // 2)
            if len(np.intersect1d(theirs, core)) > 2 / 3 * len(theirs):
                expanded = np.append(expanded, theirs)
        expanded = np.unique(expanded)
        weights = np.exp(-original[i, expanded])
        encoding[i, expanded] = weights / weights.sum()
    encoding = np.stack([encoding[order[i, :k2]].mean(axis=0) for i in range(count)])
    named_by = [np.flatnonzero(encoding[:, j]) for j in range(count)]
    jaccard = np.zeros((num_queries, count), np.float32)
    for i in range(num_queries):
        shared = np.zeros(count, np.float32)
        for j in np.flatnonzero(encoding[i]):
            shared[named_by[j]] += np.minimum(encoding[i, j], encoding[named_by[j], j])
        jaccard[i] = 1 - shared / (2 - shared)
    return ((1 - weight) * jaccard + weight * original[:num_queries])[:, num_queries:]
