"""k-reciprocal re-ranking: images that are among each other's neighbours are likely to show one identity.

Zhong, Zheng, Cao & Li, "Re-ranking Person Re-identification with k-reciprocal Encoding", CVPR 2017, in sparse form:
each image has a few dozen neighbours, so nothing of size N x N is ever held (METHOD.md 3).

What goes in as the original distance differs between code bases, and with it the numbers. The paper's program squares a
Euclidean distance, so squared Euclidean distances of unit vectors, as `evaluation.metrics.distances` gives them, are
taken here. torchreid and the PyTorch port of Market-1501's program square once more; TransReID takes k1 = 50 and
k2 = 15; several keep encodings and their sums in half precision, which moves distances by up to 2.4e-3.

Shapes: Q queries, G gallery images, N = Q + G images, C images of a chunk, E non-zero entries.
"""

from collections.abc import Callable, Iterator

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from cluster.errors import InputError
from evaluation.metrics.distances import Chunks

ROWS_AT_ONCE = 256
"""Rows that are searched, or blended, at a time."""


def rerank(
    all_pairs: Callable[[], Chunks],
    num_queries: int,
    num_images: int,
    *,
    k1: int = 20,
    k2: int = 6,
    weight: float = 0.3,
) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Yield re-ranked distances of queries to the gallery, chunk by chunk.

    The definition, as a loop; ``neighbours(i, k)`` are the k + 1 nearest images of i, equal distances by index (itself
    among them, unless more than k others are the same image); half is k1 / 2, rounded to even::

        original[i, j] = distance[i, j] / max(distance[i, :])
        mutual(i, k) = {j in neighbours(i, k) if i in neighbours(j, k)}
        for i in range(N):
            expanded = mutual(i, k1)
            for c in mutual(i, k1):
                if len(mutual(c, half) & mutual(i, k1)) > 2 / 3 * len(mutual(c, half)):
                    expanded |= mutual(c, half)
            V[i, j] = exp(-original[i, j]) for j in expanded, divided by their sum; 0 elsewhere
        V[i] = mean(V[j] for j in the k2 nearest images of i)     # local query expansion; k2 = 1 changes nothing
        shared = sum(min(V[q, j], V[g, j]) for j in range(N))
        jaccard[q, g] = 1 - shared / (2 - shared)
        distance[q, g] = (1 - weight) * jaccard[q, g] + weight * original[q, g]

    Args:
        all_pairs: Called three times; each time yields the rows of the symmetric distances of all images, queries
            first, in order. Distances are >= 0. The third time only the queries' rows are taken.
        num_queries: Q, the first rows.
        num_images: N, > Q.
        k1: Neighbours that must be mutual, >= 1; all others where there are fewer.
        k2: Images whose encodings are averaged, >= 1.
        weight: Of the original distance, 0 to 1 (lambda).

    Yields:
        The queries of the chunk, and float32 [C, G] in 0 to 1; smaller is nearer.

    Raises:
        InputError: If a number is out of range, or a distance is negative or not finite.
    """
    if not 0 < num_queries < num_images:
        raise InputError(f"re-ranking needs queries and a gallery, got {num_queries} of {num_images} images")
    if k1 < 1 or k2 < 1 or not 0 <= weight <= 1:
        raise InputError(f"k1 and k2 must be >= 1 and the weight 0 to 1, got {k1}, {k2} and {weight}")
    return _rerank(all_pairs, num_queries, num_images, min(k1, num_images - 1), min(k2, num_images), weight)


def _rerank(
    all_pairs: Callable[[], Chunks], num_queries: int, num_images: int, k1: int, k2: int, weight: float
) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    neighbour_NK, largest_N = _neighbours(all_pairs(), num_images, max(k1 + 1, k2))
    pattern = _expanded(neighbour_NK, k1)
    encoding = _encode(all_pairs(), pattern, largest_N)
    if k2 > 1:
        encoding = sp.csr_array(_links(neighbour_NK[:, :k2]) @ encoding / k2)
    gallery = sp.csc_array(encoding[num_queries:])
    for rows, distance_CN in all_pairs():
        end = min(rows.stop, num_queries)
        if rows.start >= end:
            return
        reranked_CG = np.empty((end - rows.start, num_images - num_queries), np.float32)
        for first in range(rows.start, end, ROWS_AT_ONCE):
            here = slice(first, min(first + ROWS_AT_ONCE, end))
            part = slice(here.start - rows.start, here.stop - rows.start)
            jaccard = _jaccard(encoding[here], gallery, num_images - num_queries)
            original = distance_CN[part, num_queries:] / largest_N[here, None]
            reranked_CG[part] = np.maximum((1 - weight) * jaccard + weight * original, 0)  # sums may end below 0
        yield slice(rows.start, end), reranked_CG


def _neighbours(chunks: Chunks, num_images: int, num_nearest: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the nearest images of each, [N, K], equal distances by index, and each row's largest distance, [N]."""
    neighbour_NK = np.empty((num_images, num_nearest), np.int64)
    largest_N = np.empty(num_images, np.float32)
    done = 0
    for rows, distance_CN in chunks:
        if rows.start != done or distance_CN.shape != (rows.stop - rows.start, num_images):
            raise InputError(f"distances {list(distance_CN.shape)} of images {rows} do not fit {num_images} images")
        for first in range(0, len(distance_CN), ROWS_AT_ONCE):
            part_CN = np.ascontiguousarray(distance_CN[first : first + ROWS_AT_ONCE], np.float32) + np.float32(0)
            if not (np.isfinite(part_CN).all() and (part_CN >= 0).all()):
                raise InputError(
                    "a distance is negative or not finite; re-ranking takes squared Euclidean ones, or 0 to 1"
                )
            here = slice(done + first, done + first + len(part_CN))
            # floats >= 0 are ordered as their bits are, so that distance and index make one key
            key_CN = part_CN.view(np.int32).astype(np.int64) << 32 | np.arange(num_images)
            nearest_CK = np.sort(np.partition(key_CN, num_nearest - 1, axis=1)[:, :num_nearest], axis=1)
            neighbour_NK[here] = nearest_CK & 0xFFFFFFFF
            largest_N[here] = np.maximum(
                part_CN.max(axis=1), np.finfo(np.float32).tiny
            )  # of images all alike: 0 / tiny
        done = rows.stop
    if done != num_images:
        raise InputError(f"there are distances of {done} images and not of {num_images}")
    return neighbour_NK, largest_N


def _links(neighbour_NK: NDArray[np.int64]) -> sp.csr_array:
    """Return the sparse matrix [N, N] of ones where an image has a neighbour."""
    num_images, k = neighbour_NK.shape
    starts = np.arange(0, num_images * k + 1, k)
    return sp.csr_array((np.ones(num_images * k), neighbour_NK.flatten(), starts), shape=(num_images, num_images))


def _expanded(neighbour_NK: NDArray[np.int64], k1: int) -> sp.csr_array:
    """Return which images the encoding of each names: mutual neighbours, and those that these agree on."""
    links = _links(neighbour_NK[:, : k1 + 1])
    mutual = sp.csr_array(links.multiply(links.T))
    half_links = _links(neighbour_NK[:, : int(np.around(k1 / 2)) + 1])
    half = sp.csr_array(half_links.multiply(half_links.T))
    size_N = half.sum(axis=1)
    # entry i, c: how many images c's half and i both name
    row_E, column_E, shared_E = sp.find((mutual @ half.T).multiply(mutual))
    agrees = shared_E > 2 / 3 * size_N[column_E]
    rows, columns = row_E[agrees], column_E[agrees]
    trusted = sp.csr_array((np.ones(len(rows)), (rows, columns)), shape=mutual.shape)
    expanded = sp.csr_array(mutual + trusted @ half)
    expanded.sort_indices()
    return expanded


def _encode(chunks: Chunks, pattern: sp.csr_array, largest_N: NDArray[np.float32]) -> sp.csr_array:
    """Fill the pattern with exp(-original distance), each row scaled to sum 1."""
    starts, columns, value_E = _parts(pattern)
    for rows, distance_CN in chunks:
        start, end = starts[rows.start], starts[rows.stop]
        row_E = np.repeat(np.arange(len(distance_CN)), np.diff(starts[rows.start : rows.stop + 1]))
        distance_E = distance_CN[row_E, columns[start:end]].astype(np.float64)
        weight_E = np.exp(-distance_E / largest_N[rows][row_E])
        value_E[start:end] = weight_E / np.bincount(row_E, weights=weight_E, minlength=len(distance_CN))[row_E]
    return sp.csr_array((value_E, columns, starts), shape=pattern.shape)


def _jaccard(encoding: sp.csr_array, gallery: sp.csc_array, num_gallery: int) -> NDArray[np.float64]:
    """Return the Jaccard distance of queries' encodings to the gallery's: float64 [C, G]."""
    starts, columns, values = _parts(encoding)
    gallery_starts, gallery_rows, gallery_values = _parts(gallery)
    shared_CG = np.empty((len(starts) - 1, num_gallery))
    for c in range(len(shared_CG)):
        column_E, value_E = columns[starts[c] : starts[c + 1]], values[starts[c] : starts[c + 1]]
        first_E = gallery_starts[column_E]
        length_E = gallery_starts[column_E + 1] - first_E
        # the places of all gallery images that name what the query names
        place = np.arange(length_E.sum()) + np.repeat(first_E - (np.cumsum(length_E) - length_E), length_E)
        smaller = np.minimum(np.repeat(value_E, length_E), gallery_values[place])
        shared_CG[c] = np.bincount(gallery_rows[place], weights=smaller, minlength=num_gallery)
    return 1 - shared_CG / (2 - shared_CG)


def _parts(matrix: sp.csr_array | sp.csc_array) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return where rows (of csc: columns) begin, the other index of each entry, and the entries, a copy."""
    return np.asarray(matrix.indptr, np.int64), np.asarray(matrix.indices, np.int64), np.array(matrix.data, np.float64)
