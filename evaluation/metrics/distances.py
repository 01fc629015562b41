"""Distances between features, a chunk of queries at a time, the same to the last bit on every CPU.

Shapes: Q queries, G gallery images, D components of a feature, C queries of a chunk, B gallery images of a block.
"""

import functools
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from cluster.errors import InputError

CHUNK_ENTRIES = 16_000_000
"""Distances held at a time when the caller names no chunk: 64 MB, and about three times that with what is made of them.
Each chunk converts the whole gallery to double precision anew, which few queries would not be worth."""

BLOCK_ENTRIES = 4_000_000
"""Feature components converted at a time: 32 MB."""

Chunks = Iterable[tuple[slice, NDArray[np.float32]]]
"""Consecutive queries and their distances to the whole gallery, float32 [C, G]; all queries once, in order."""


def check_features(feature_ND: NDArray[np.float32], name: str) -> None:
    """Refuse features that have no direction.

    Raises:
        InputError: If there are none, or a row is zero or not finite.
    """
    if feature_ND.ndim != 2 or feature_ND.size == 0:
        raise InputError(f"{name} features must be [N, D] with N, D > 0, got {list(feature_ND.shape)}")
    norm_N = row_norms(feature_ND)
    unusable = np.flatnonzero(~(np.isfinite(norm_N) & (norm_N > 0)))
    if len(unusable):
        raise InputError(
            f"{len(unusable)} {name} features are zero or not finite, the first in row {unusable[0]}; "
            "check the model that made them"
        )


def row_norms(feature_ND: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the Euclidean norm of each row, float32 [N], without a second matrix of the same size."""
    norm_N = np.empty(len(feature_ND), np.float32)
    for rows in blocks(feature_ND):
        norm_N[rows] = np.linalg.norm(np.asarray(feature_ND[rows], np.float32), axis=1)
    return norm_N


def blocks(feature_ND: NDArray[np.float32]) -> Iterator[slice]:
    """Cut the rows of a matrix into runs of about `BLOCK_ENTRIES` components."""
    size = max(1, BLOCK_ENTRIES // feature_ND.shape[1])
    for first in range(0, len(feature_ND), size):
        yield slice(first, min(first + size, len(feature_ND)))


def distance_chunks(
    query_QD: NDArray[np.float32],
    gallery_GD: NDArray[np.float32],
    *,
    chunk: int | None = None,
    device: str = "cpu",
) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Yield the squared Euclidean distance of unit vectors, chunk by chunk of queries, in order.

    The definition, as a loop::

        for q in range(Q):
            for g in range(G):
                distance[q, g] = float32(2 - 2 * sum(unit(query[q])[d] * unit(gallery[g])[d] for d in range(D)))

    Rows are scaled to norm 1 in float32, the precision that features are stored and searched in. Products are summed in
    double precision and rounded at the end: a float32 matrix product would let its blocking, and with it the size of a
    chunk, decide between equal distances.

    Args:
        query_QD: Features of any norm but 0.
        gallery_GD: Features of any norm but 0.
        chunk: Queries at a time, >= 1; None takes as many as make `CHUNK_ENTRIES` distances.
        device: Where the products are computed, such as ``cuda``.

    Yields:
        The rows of the chunk, and float32 [C, G] in 0 to 4.

    Raises:
        InputError: If D differs, a feature is zero or not finite, or the chunk is < 1.
    """
    check_features(query_QD, "query")
    check_features(gallery_GD, "gallery")
    if query_QD.shape[1] != gallery_GD.shape[1]:
        raise InputError(f"queries have {query_QD.shape[1]} components and the gallery {gallery_GD.shape[1]}")
    if chunk is not None and chunk < 1:
        raise InputError(f"chunk must be >= 1, got {chunk}")
    product = _product if device == "cpu" else functools.partial(_product_on, device)
    return _chunks(query_QD, gallery_GD, chunk or max(1, CHUNK_ENTRIES // len(gallery_GD)), product)


Product = Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.float32]]


def _chunks(
    query_QD: NDArray[np.float32], gallery_GD: NDArray[np.float32], step: int, product: Product
) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    query_norm_Q, gallery_norm_G = row_norms(query_QD), row_norms(gallery_GD)
    for start in range(0, len(query_QD), step):
        rows = slice(start, min(start + step, len(query_QD)))
        query_CD = np.asarray(query_QD[rows], np.float32) / query_norm_Q[rows, None]
        distance_CG = np.empty((len(query_CD), len(gallery_GD)), np.float32)
        for columns in blocks(gallery_GD):
            gallery_BD = np.asarray(gallery_GD[columns], np.float32) / gallery_norm_G[columns, None]
            distance_CG[:, columns] = product(query_CD, gallery_BD)
        yield rows, distance_CG


def _product(query_CD: NDArray[np.float32], gallery_BD: NDArray[np.float32]) -> NDArray[np.float32]:
    similarity_CB = query_CD.astype(np.float64) @ gallery_BD.astype(np.float64).T
    return np.maximum(2.0 - 2.0 * similarity_CB, 0.0).astype(np.float32)


def _product_on(device: str, query_CD: NDArray[np.float32], gallery_BD: NDArray[np.float32]) -> NDArray[np.float32]:
    import torch  # not at the top: loading it takes as much memory as a large gallery

    query, gallery = (torch.from_numpy(unit).to(device).to(torch.float64) for unit in (query_CD, gallery_BD))
    return (2.0 - 2.0 * (query @ gallery.T)).clamp_(min=0.0).to(torch.float32).cpu().numpy()


def unit_rows(feature_ND: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale rows to norm 1, in float32."""
    return np.asarray(feature_ND, np.float32) / row_norms(feature_ND)[:, None]
