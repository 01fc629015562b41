"""Distances between features, a chunk of queries at a time, the same to the last bit on every machine.

Shapes: Q queries, G gallery images, D components of a feature, C queries of a chunk.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

CHUNK_ENTRIES = 4_000_000
"""Distances held at a time when the caller names no chunk: about 200 MB with all that a protocol derives from them."""


def check_features(feature_ND: NDArray[np.float32], name: str) -> None:
    """Refuse features that have no direction.

    Raises:
        ValueError: If there are none, or a row is zero or not finite.
    """
    if feature_ND.ndim != 2 or len(feature_ND) == 0:
        raise ValueError(f"{name} features must be [N, D] with N > 0, got {list(feature_ND.shape)}")
    norm_N = np.linalg.norm(feature_ND, axis=1)
    unusable = np.flatnonzero(~(np.isfinite(norm_N) & (norm_N > 0)))
    if len(unusable):
        raise ValueError(
            f"{len(unusable)} {name} features are zero or not finite, the first in row {unusable[0]}; "
            "check the model that made them"
        )


def unit_rows(feature_ND: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale rows to norm 1, in float32: the precision that features are stored and searched in."""
    feature_ND = np.asarray(feature_ND, np.float32)
    return feature_ND / np.linalg.norm(feature_ND, axis=1, keepdims=True)


def distance_chunks(
    query_QD: NDArray[np.float32], gallery_GD: NDArray[np.float32], *, chunk: int | None
) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Yield the squared Euclidean distance of unit vectors, chunk by chunk of queries, in order.

    The definition, as a loop::

        for q in range(Q):
            for g in range(G):
                distance[q, g] = float32(2 - 2 * sum(unit(query[q])[d] * unit(gallery[g])[d] for d in range(D)))

    Products are summed in double precision and rounded at the end: a float32 matrix product would let its blocking, and
    with it the size of a chunk, decide between equal distances.

    Args:
        query_QD: Features of any norm but 0.
        gallery_GD: Features of any norm but 0.
        chunk: Queries at a time, >= 1; None takes as many as make `CHUNK_ENTRIES` distances.

    Yields:
        The rows of the chunk, and float32 [C, G] in 0 to 4.

    Raises:
        ValueError: If D differs, or the chunk is < 1.
    """
    if query_QD.shape[1] != gallery_GD.shape[1]:
        raise ValueError(f"queries have {query_QD.shape[1]} components and the gallery {gallery_GD.shape[1]}")
    if chunk is not None and chunk < 1:
        raise ValueError(f"chunk must be >= 1, got {chunk}")
    num_queries, num_gallery = len(query_QD), len(gallery_GD)
    step = chunk or max(1, CHUNK_ENTRIES // num_gallery)
    block = max(1, CHUNK_ENTRIES // gallery_GD.shape[1])  # a whole gallery in double precision may not fit
    gallery_GD = unit_rows(gallery_GD)
    for start in range(0, num_queries, step):
        rows = slice(start, min(start + step, num_queries))
        query_CD = unit_rows(query_QD[rows]).astype(np.float64)
        distance_CG = np.empty((len(query_CD), num_gallery), np.float32)
        for first in range(0, num_gallery, block):
            similarity_CB = query_CD @ gallery_GD[first : first + block].astype(np.float64).T
            distance_CG[:, first : first + block] = np.maximum(2.0 - 2.0 * similarity_CB, 0.0)
        yield rows, distance_CG
