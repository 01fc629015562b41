"""TLift: people who were near in time before one camera are often near in time before another.

Liao & Shao, "Interpretable and Generalizable Person Re-Identification with Query-Adaptive Convolution and Temporal
Lifting", ECCV 2020. The two implementations that the authors published differ: in the Python one an image that two
neighbours found counts twice (``multiset``), in the Octave one once (``set``).

Only differences of times within one camera enter, so each camera may have a clock of its own, and another one for the
queries than for the gallery (METHOD.md 4.1). Transition times between cameras are not modelled.

Shapes: Q queries, N further detections, R = Q + N rows, G gallery images, B of them before one camera, K pivots at most
of a row, W rows of the longest window, C queries of a chunk, E entries of rows' lists, P pairs of a query and an entry.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from cluster.errors import InputError

CHUNK_ENTRIES = 4_000_000
"""Weights of time differences held at a time: 32 MB, and a few times that on the way."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Neighbours:
    """Recent detections before the queries' cameras, which find pivots for them and are not lifted themselves."""

    similarity: NDArray[np.floating]
    """[N, G], to the same gallery, 0 to 1."""
    camera: NDArray[np.int64]
    """[N]."""
    seconds: NDArray[np.float64]
    """[N], on the clock of the queries of that camera."""


def tlift(
    similarity_QG: NDArray[np.floating],
    query_camera_Q: NDArray[np.int64],
    query_seconds_Q: NDArray[np.float64],
    gallery_camera_G: NDArray[np.int64],
    gallery_seconds_G: NDArray[np.float64],
    *,
    tau: float = 100.0,
    sigma: float = 200.0,
    num_pivots: int = 10,
    alpha: float = 0.2,
    pivots: Literal["multiset", "set"] = "multiset",
    neighbours: Neighbours | None = None,
    advance: Callable[[int], None] | None = None,
) -> NDArray[np.floating]:
    """Lift similarities by temporal co-occurrence.

    >>> import numpy as np, evaluation
    >>> similarity = np.array([[0.9, 0.2, 0.5], [0.1, 0.8, 0.6]])
    >>> camera, seconds = np.array([1, 1]), np.array([10.0, 12.0])
    >>> gallery_camera, gallery_seconds = np.array([2, 2, 2]), np.array([40.0, 45.0, 900.0])
    >>> lifted = evaluation.tlift(similarity, camera, seconds, gallery_camera, gallery_seconds, num_pivots=1)
    >>> lifted.argmax(axis=1).tolist()  # what was seen near the others' best is lifted, what was long after is not
    [0, 1]

    The definition, as a loop, where rows are the queries and the neighbours::

        for i in range(Q):
            near = [j for j in rows if camera[j] == camera[i] and abs(seconds[j] - seconds[i]) < tau]  # i is one
            for b in cameras of the gallery:
                found = [(similarity[j, g], g) for j in near for g in images of b]
                theta = the num_pivots-th largest similarity in found, or the smallest where there are fewer
                pivot = [g for s, g in found if s >= theta]       # "set": each image once
                for g in images of b:
                    w = mean(exp(-((seconds[g] - seconds[h]) / sigma) ** 2) for h in pivot)
                    lifted[i, g] = (w + alpha) * similarity[i, g]

    The paper re-ranks first (see `evaluation.scoring.reranking`). A query's result depends on those beside it; for one
    at a time give the camera's recent detections as neighbours: that is the same as lifting all together.

    Args:
        similarity_QG: 0 to 1: with a negative one the multiplication would reverse the lift.
        query_camera_Q: Which camera took each query.
        query_seconds_Q: When.
        gallery_camera_G: Which camera took each gallery image.
        gallery_seconds_G: When.
        tau: Rows of one camera less than so many seconds apart are neighbours, > 0.
        sigma: Width in seconds of the window around what they found, > 0.
        num_pivots: Of the best similarities of all neighbours, >= 1 (K).
        alpha: What is left of a similarity that nothing lifts, >= 0.
        pivots: See the module.
        neighbours: Further rows.
        advance: Called with the number of similarities just lifted, for a progress bar.

    Returns:
        [Q, G], of the type of the similarities, 0 to 1 + alpha.

    Raises:
        InputError: If shapes disagree, a similarity is not in 0 to 1, a time is unknown, or a number is out of range.
    """
    _check_numbers(tau, sigma, num_pivots, alpha, pivots)
    parts = [Neighbours(similarity=similarity_QG, camera=query_camera_Q, seconds=query_seconds_Q)]
    parts += [neighbours] if neighbours else []
    for name, part in zip(("query", "neighbour"), parts, strict=False):
        _check(name, part, gallery_camera_G, gallery_seconds_G)
    similarity_RG = np.concatenate([part.similarity for part in parts]) if neighbours else similarity_QG
    windows = _Windows(
        np.concatenate([part.camera for part in parts]),
        np.concatenate([part.seconds for part in parts]),
        len(similarity_QG),
        tau,
    )
    lifted_QG = np.empty_like(similarity_QG)
    for camera in np.unique(gallery_camera_G):
        columns = np.flatnonzero(gallery_camera_G == camera)
        similarity_RB = np.take(similarity_RG, columns, axis=1)
        best = _Best(similarity_RB, num_pivots)
        seconds_B = gallery_seconds_G[columns].astype(np.float64)
        step = max(1, CHUNK_ENTRIES // (max(len(columns), windows.length.max()) * num_pivots))
        for start in range(0, len(similarity_QG), step):
            rows = slice(start, min(start + step, len(similarity_QG)))
            weight_CB = _mean_nearness(_pivots(rows, windows, best, len(columns), pivots), seconds_B, sigma)
            weight_CB += alpha
            weight_CB *= similarity_RB[rows]
            lifted_QG[rows, columns] = weight_CB
            if advance:
                advance(weight_CB.size)
    return lifted_QG


class _Windows:
    """Which rows are neighbours of which queries: runs of the rows sorted by camera and time."""

    def __init__(
        self, camera_R: NDArray[np.int64], seconds_R: NDArray[np.float64], num_queries: int, tau: float
    ) -> None:
        self.order = np.lexsort((seconds_R, camera_R))
        """[R], rows by camera and time."""
        self.first = np.empty(num_queries, np.int64)
        """[Q], place in the order where the query's window begins."""
        self.length = np.empty(num_queries, np.int64)
        for camera in np.unique(camera_R[:num_queries]):
            inside = np.flatnonzero(camera_R[self.order] == camera)
            seconds = seconds_R[self.order[inside]].astype(np.float64)
            queries = np.flatnonzero(camera_R[:num_queries] == camera)
            for start in range(0, len(queries), max(1, CHUNK_ENTRIES // len(seconds))):
                part = queries[start : start + max(1, CHUNK_ENTRIES // len(seconds))]
                # subtracting first, as the definition does: at a distance of just tau the last digit decides
                is_near = np.abs(seconds - seconds_R[part, None]) < tau
                self.first[part] = inside[0] + is_near.argmax(axis=1)
                self.length[part] = is_near.sum(axis=1)


class _Best:
    """The best similarities of each row to one camera's images: the best of several rows are among the rows' best."""

    def __init__(self, similarity_RB: NDArray[np.floating], num_pivots: int) -> None:
        self.num_pivots = num_pivots
        size = min(num_pivots, similarity_RB.shape[1])
        self.value = -np.partition(-similarity_RB, size - 1, axis=1)[:, :size]
        """[R, K], in no order."""
        row_E, self.column = np.nonzero(similarity_RB >= self.value.min(axis=1, keepdims=True))
        """[E], images that are as good as these: more than K of a row where similarities are equal."""
        self.similarity = similarity_RB[row_E, self.column]
        """[E]."""
        self.start = np.searchsorted(row_E, np.arange(len(similarity_RB) + 1))
        """[R + 1], where a row's entries begin."""


def _pivots(rows: slice, windows: _Windows, best: _Best, num_images: int, kind: str) -> sp.csr_array:
    """Return how often each image is a pivot of each query: [C, B]."""
    first_C, length_C = windows.first[rows], windows.length[rows]
    place_CW = first_C[:, None] + np.arange(length_C.max())
    is_inside_CW = place_CW < (first_C + length_C)[:, None]
    row_CW = windows.order[np.where(is_inside_CW, place_CW, first_C[:, None])]
    found_CN = np.where(is_inside_CW[..., None], best.value[row_CW], -1).reshape(len(first_C), -1)
    nth_C = np.minimum(best.num_pivots, length_C * num_images) - 1
    found_CN = -np.partition(-found_CN, np.unique(nth_C), axis=1)
    theta_C = found_CN[np.arange(len(first_C)), nth_C]
    query_L, row_L = np.repeat(np.arange(len(first_C)), length_C), row_CW[is_inside_CW]  # each query with its rows
    num_L = best.start[row_L + 1] - best.start[row_L]
    query_P = np.repeat(query_L, num_L)
    entry_P = np.arange(num_L.sum()) + np.repeat(best.start[row_L] - (np.cumsum(num_L) - num_L), num_L)
    is_pivot_P = best.similarity[entry_P] >= theta_C[query_P]
    query_P, column_P = query_P[is_pivot_P], best.column[entry_P[is_pivot_P]]
    count = sp.csr_array((np.ones(len(query_P)), (query_P, column_P)), shape=(len(first_C), num_images))
    if kind == "set":
        count.data[:] = 1  # the constructor has summed what was found twice
    return count


def _mean_nearness(count: sp.csr_array, seconds_B: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """Return the mean over a query's pivots of how near in time each image is: [C, B]."""
    used, place_P = np.unique(count.indices, return_inverse=True)
    scaled_B = seconds_B / sigma
    nearness_UB = scaled_B[used, None] - scaled_B
    nearness_UB = np.exp(-nearness_UB * nearness_UB)
    few = sp.csr_array((count.data, place_P, count.indptr), shape=(len(count.indptr) - 1, len(used)))
    return (few @ nearness_UB) / count.sum(axis=1)[:, None]


def _check_numbers(tau: float, sigma: float, num_pivots: int, alpha: float, pivots: str) -> None:
    if not (tau > 0 and sigma > 0 and num_pivots >= 1 and num_pivots == int(num_pivots) and 0 <= alpha < np.inf):
        raise InputError(
            "tau and sigma must be > 0 s, num_pivots a whole number >= 1 and alpha >= 0, "
            f"got {tau}, {sigma}, {num_pivots}, {alpha}"
        )
    if pivots not in ("multiset", "set"):
        raise InputError(f"pivots must be multiset or set, got {pivots}")


def _check(
    name: str, part: Neighbours, gallery_camera_G: NDArray[np.int64], gallery_seconds_G: NDArray[np.float64]
) -> None:
    shape = (len(part.camera), len(gallery_camera_G))
    if part.similarity.shape != shape or len(part.seconds) != shape[0] or len(gallery_seconds_G) != shape[1]:
        raise InputError(
            f"{name} similarities {list(part.similarity.shape)} need as many cameras and times, got {shape[0]} and "
            f"{len(part.seconds)}, and of the gallery {shape[1]} and {len(gallery_seconds_G)}"
        )
    if not shape[0] or not shape[1]:
        raise InputError(f"TLift needs at least one {name} and one gallery image, got {list(shape)}")
    if not np.issubdtype(part.similarity.dtype, np.floating):
        raise InputError(f"{name} similarities must be floats, got {part.similarity.dtype}")
    if not ((part.similarity >= 0) & (part.similarity <= 1)).all():
        raise InputError(
            f"TLift needs {name} similarities in [0, 1], got {part.similarity.min():.3g} to "
            f"{part.similarity.max():.3g}; give (1 + cosine) / 2, or sigmoid(score / 10) of QAConv"
        )
    for what, seconds in ((name, part.seconds), ("gallery", gallery_seconds_G)):
        num_unknown = int((~np.isfinite(seconds)).sum())
        if num_unknown:
            raise InputError(
                f"{num_unknown} of {len(seconds)} {what} images have no time; TLift needs time_seconds of every image"
            )
