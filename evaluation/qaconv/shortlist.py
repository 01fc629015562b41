"""QAConv on the most likely candidates alone: a vector per image finds them, its map is read only if it is one.

The order of candidates and rest: METHOD.md 2.2.
Shapes: Q queries, G gallery images, L locations, C channels of a map, D components of a pooled map, K candidates.
Where it says chunk, the letter in [C, G] counts the chunk's queries.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cluster.errors import InputError
from evaluation.metrics.distances import CHUNK_ENTRIES, check_features, unit_rows
from evaluation.qaconv.head import QAConvHead
from evaluation.qaconv.scores import Maps, score_chunks, scores


def rescore(
    query_QLC: Maps,
    gallery_GMC: Maps,
    candidate_QK: NDArray[np.int64],
    head: QAConvHead,
    *,
    advance: Callable[[int], None] | None = None,
    **options: Any,
) -> NDArray[np.float32]:
    """Score each query with its own candidates.

    Args:
        query_QLC: Queries.
        gallery_GMC: The gallery; only the maps of candidates are read.
        candidate_QK: Gallery rows.
        head: The matcher.
        advance: Called with the number of pairs after each query.
        options: ``dtype`` and ``device`` of `evaluation.qaconv.scores.raw_scores`.

    Returns:
        float32 [Q, K]; larger is nearer.
    """
    score_QK = np.empty(candidate_QK.shape, np.float32)
    for q, candidate_K in enumerate(candidate_QK):
        score_QK[q] = scores(query_QLC[q : q + 1], gallery_GMC[candidate_K], head, **options)[0]
        if advance:
            advance(len(candidate_K))
    return score_QK


def shortlist_chunks(
    query_QLC: Maps,
    gallery_GMC: Maps,
    query_QD: NDArray[np.float32],
    gallery_GD: NDArray[np.float32],
    head: QAConvHead,
    *,
    k: int,
    **options: Any,
) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Yield distances in which the K likeliest gallery images of each query come first, in the order of QAConv.

    The definition, as a loop::

        for q in range(Q):
            candidates = the K gallery images with the largest cosine(query_D[q], gallery_D[g])
            distance[q, g] = -score(query[q], gallery[g]) for g in candidates
            worst = nextafter(max(distance[q, g] for g in candidates), inf)
            top = max(cosine(query_D[q], gallery_D[g]) for g not in candidates)
            distance[q, g] = worst + top - cosine(query_D[q], gallery_D[g]) for g not in candidates

    So the rest follows the candidates, in coarse order. Its distances order it and mean nothing else; cosines that
    differ by less than the last digit of ``worst`` become equal. With K >= G the result is that of
    `evaluation.qaconv.scores.score_chunks`, to the last bit. For re-ranking and TLift, which want similarities of 0 to
    1, give ``similarity(-distance)`` of `evaluation.qaconv.scores`: it keeps this order, again up to the last digit.

    Args:
        query_QLC: Query maps.
        gallery_GMC: Gallery maps; only those of candidates are read.
        query_QD: Pooled query maps (`evaluation.qaconv.pooling`), or any other vector that says roughly who it is.
        gallery_GD: The same of the gallery.
        head: The matcher.
        k: K, >= 1.
        options: ``dtype``, ``device`` and ``advance`` of `evaluation.qaconv.scores.raw_scores`.

    Yields:
        The rows of the chunk, and float32 [C, G]; smaller is nearer.

    Raises:
        InputError: If k is < 1, the numbers of vectors and maps differ, or a vector is zero or not finite.
    """
    _check(query_QLC, gallery_GMC, query_QD, gallery_GD, k)
    num_gallery = len(gallery_GMC)
    if k >= num_gallery:
        yield from score_chunks(query_QLC, gallery_GMC, head, **options)
        return
    query_QD, gallery_GD = unit_rows(query_QD), unit_rows(gallery_GD)
    step = max(1, CHUNK_ENTRIES // num_gallery)
    for first in range(0, len(query_QLC), step):
        rows = slice(first, min(first + step, len(query_QLC)))
        cosine_CG = query_QD[rows] @ gallery_GD.T
        candidate_CK = np.argpartition(cosine_CG, num_gallery - k, axis=1)[:, num_gallery - k :]
        distance_CK = -rescore(query_QLC[rows], gallery_GMC, candidate_CK, head, **options)
        yield rows, _assemble(distance_CK, candidate_CK, cosine_CG)


def agreement(exact_QG: NDArray[np.float32], shortlisted_QG: NDArray[np.float32], *, top: int = 10) -> float:
    """Return which share of the true nearest images a shortlist also puts first: a fraction of 1.

    The mean over the queries of ``len(nearest(exact) & nearest(shortlisted)) / top``, with the ``top`` nearest of each;
    of equal distances the earlier in the gallery is nearer.

    Args:
        exact_QG: Distances of exhaustive scoring, of all queries or of a sample.
        shortlisted_QG: Distances of the same queries.
        top: Images compared, 1 to G.

    Raises:
        InputError: If the shapes differ, there are no queries, or ``top`` is out of range.
    """
    if exact_QG.shape != shortlisted_QG.shape or not len(exact_QG):
        raise InputError(f"distances of the same queries are needed, got {exact_QG.shape} and {shortlisted_QG.shape}")
    if not 1 <= top <= exact_QG.shape[1]:
        raise InputError(f"top must be 1 to {exact_QG.shape[1]}, the images of the gallery, got {top}")
    nearest = [np.argsort(distance, axis=1, kind="stable")[:, :top] for distance in (exact_QG, shortlisted_QG)]
    shared = [len(np.intersect1d(ours, theirs)) for ours, theirs in zip(*nearest, strict=True)]
    return float(np.mean(shared)) / top


def _assemble(
    distance_CK: NDArray[np.float32], candidate_CK: NDArray[np.int64], cosine_CG: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Put the rest behind the candidates; uses the memory of the cosines."""
    for distance_K, candidate_K, cosine_G in zip(distance_CK, candidate_CK, cosine_CG, strict=True):
        worst = np.nextafter(distance_K.max(), np.float32(np.inf))
        cosine_G[candidate_K] = -np.inf
        top = cosine_G.max()
        cosine_G[:] = worst + (top - cosine_G)
        cosine_G[candidate_K] = distance_K
    return cosine_CG


def _check(
    query_QLC: Maps,
    gallery_GMC: Maps,
    query_QD: NDArray[np.float32],
    gallery_GD: NDArray[np.float32],
    k: int,
) -> None:
    if k < 1:
        raise InputError(f"a shortlist needs k >= 1, got {k}")
    for name, maps, vectors in (("query", query_QLC, query_QD), ("gallery", gallery_GMC, gallery_GD)):
        if len(maps) != len(vectors):
            raise InputError(f"{len(maps)} {name} maps need as many vectors, got {len(vectors)}")
        check_features(vectors, name)
