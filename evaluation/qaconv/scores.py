"""Query-adaptive convolution: match two images location by location instead of vector by vector.

Liao & Shao, "Interpretable and Generalizable Person Re-Identification with Query-Adaptive Convolution and Temporal
Lifting", ECCV 2020; the head that both directions share is that of Liao & Shao, "Graph Sampling Based Deep Metric
Learning for Generalizable Person Re-Identification", CVPR 2022.

Shapes: Q queries, G gallery images, N images, L locations of a query's map, M locations of a gallery map, C channels.
A map has unit norm over C at each location. Where it says chunk, the letter in [C, G] counts the chunk's queries.
"""

from collections.abc import Callable, Iterator
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evaluation.metrics.distances import CHUNK_ENTRIES
from evaluation.qaconv.head import QAConvHead


class Maps(Protocol):
    """Feature maps [N, L, C]: an array, a memory-mapped one, or anything that is read block by block like one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """N, L, C."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> NDArray[Any]:
        """Read some rows, given as a slice or as an array of row numbers."""
        ...


Precision = Literal["float32", "bfloat16"]
"""Of the maps and of the similarities of two locations. Products are summed, and all else is computed, in float32."""

TILE_BYTES = {"cpu": 2_400_000, "cuda": 2**30}
"""Similarities held at a time: what two cores keep in their caches, or 1 GB. Measured at 192 locations."""
TILE_QUERIES = {"cpu": 8, "cuda": 64}
BLOCK_ENTRIES = 2**23
"""Components of the gallery's maps that are read and converted at a time: 32 MB."""


def raw_scores(
    query_QLC: Maps,
    gallery_GMC: Maps,
    head: QAConvHead,
    *,
    dtype: Precision = "float32",
    device: str = "cpu",
    advance: Callable[[int], None] | None = None,
) -> NDArray[np.float32]:
    """Match all queries with all gallery images, before the head's scale and shift.

    The definition, as a loop::

        for q in range(Q):
            for g in range(G):
                S = [[dot(query[q][l], gallery[g][m]) for m in range(M)] for l in range(L)]
                best_L = [max(S[l][m] for m in range(M)) for l in range(L)]
                best_M = [max(S[l][m] for l in range(L)) for m in range(M)]
                raw[q, g] = dot(query_weight, best_L) + dot(gallery_weight, best_M)

    With weights >= 0 that sum to 1 on each side it is at most 2, which a map reaches with itself, and at least twice
    the inner product of the two weighted mean maps.

    Args:
        query_QLC: All of it is held in memory as float32; see `score_chunks` for more queries than that.
        gallery_GMC: Read block by block.
        head: Its weights say L and M.
        dtype: Precision. bfloat16 changes scores by about 3e-4 of their size; it is several times as fast on a CPU that
            has instructions for it, and slow on one that has not.
        device: As torch names it.
        advance: Called with the number of pairs after each block, for a progress bar.

    Returns:
        float32 [Q, G]; larger is nearer.

    Raises:
        ValueError: If shapes do not fit each other or the head, or a map is not finite.
    """
    _check(query_QLC, gallery_GMC, head, dtype)
    num_queries, num_gallery = len(query_QLC), len(gallery_GMC)
    raw_QG = np.empty((num_queries, num_gallery), np.float32)
    weight_L, weight_M = (torch.from_numpy(weight).to(device) for weight in head.weights)
    kind, entries = torch.device(device).type, len(weight_L) * len(weight_M)
    room = max(1, TILE_BYTES.get(kind, TILE_BYTES["cpu"]) // (entries * (4 if dtype == "float32" else 2)))  # pairs
    tile_q = min(num_queries, max(1, room // 2), TILE_QUERIES.get(kind, TILE_QUERIES["cpu"]))
    tile_g = max(1, room // tile_q)
    block = max(tile_g, BLOCK_ENTRIES // (gallery_GMC.shape[1] * gallery_GMC.shape[2]))
    buffer = torch.empty(tile_q * tile_g * entries, dtype=getattr(torch, dtype), device=device)
    with torch.inference_mode():
        query = _load(query_QLC[:], buffer)
        for first in range(0, num_gallery, block):
            gallery = _load(gallery_GMC[first : first + block], buffer)
            raw = torch.empty(num_queries, len(gallery), device=device)
            for g in range(0, len(gallery), tile_g):
                for q in range(0, num_queries, tile_q):
                    tiles = query[q : q + tile_q], gallery[g : g + tile_g]
                    raw[q : q + tile_q, g : g + tile_g] = _raw(*tiles, weight_L, weight_M, buffer)
            raw_QG[:, first : first + block] = raw.cpu().numpy()
            if advance:
                advance(num_queries * len(gallery))
    _check_finite(raw_QG, query_QLC)
    return raw_QG


def scores(query_QLC: Maps, gallery_GMC: Maps, head: QAConvHead, **options: Any) -> NDArray[np.float32]:
    """Return the matcher's score, ``scale * raw + shift``: float32 [Q, G], unbounded, larger is nearer.

    Takes what `raw_scores` takes.
    """
    return raw_scores(query_QLC, gallery_GMC, head, **options) * np.float32(head.scale) + np.float32(head.shift)


def similarity(score: NDArray[np.float32]) -> NDArray[np.float32]:
    """Squash scores into 0 to 1, ``1 / (1 + exp(-score / 10))``, as re-ranking and TLift want them (ECCV 2020).

    Monotone; scores that differ by a few last digits may become equal.
    """
    return torch.sigmoid(torch.from_numpy(np.asarray(score, np.float32)) / 10).numpy()


def score_chunks(
    query_QLC: Maps, gallery_GMC: Maps, head: QAConvHead, *, chunk: int | None = None, **options: Any
) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Yield distances, ``-score``, chunk by chunk of queries, in order; the gallery is read anew for each chunk.

    Args:
        query_QLC: Queries; read chunk by chunk.
        gallery_GMC: Candidates; read block by block.
        head: The matcher.
        chunk: Queries at a time, >= 1; None takes as many as make `CHUNK_ENTRIES` distances, at most 1024.
        options: ``dtype``, ``device``, ``advance`` of `raw_scores`.

    Yields:
        The rows of the chunk, and float32 [C, G]; smaller is nearer.

    Raises:
        ValueError: As `raw_scores`, or if the chunk is < 1.
    """
    if chunk is not None and chunk < 1:
        raise ValueError(f"chunk must be >= 1, got {chunk}")
    _check(query_QLC, gallery_GMC, head, options.get("dtype", "float32"))
    step = chunk or max(1, min(1024, CHUNK_ENTRIES // len(gallery_GMC)))
    for first in range(0, len(query_QLC), step):
        rows = slice(first, min(first + step, len(query_QLC)))
        yield rows, -scores(query_QLC[rows], gallery_GMC, head, **options)


def self_scores(map_NLC: Maps, head: QAConvHead, *, block: int = 256, **options: Any) -> NDArray[np.float32]:
    """Score all pairs within one set: float32 [N, N].

    A head whose directions share their weights is symmetric; half of the pairs are then computed and the rest copied,
    so that the result is symmetric to the last bit.

    Args:
        map_NLC: Images.
        head: The matcher.
        block: Images matched with one another at a time, >= 1.
        options: ``dtype``, ``device``, ``advance`` of `raw_scores`; pairs that are copied do not count.
    """
    if head.gallery_weight is not None:
        return scores(map_NLC, map_NLC, head, **options)
    score_NN = np.empty((len(map_NLC), len(map_NLC)), np.float32)
    for first in range(0, len(map_NLC), block):
        end = min(first + block, len(map_NLC))
        score_NN[first:end, first:] = scores(map_NLC[first:end], map_NLC[first:], head, **options)
        upper = np.triu(score_NN[first:end, first:end])
        score_NN[first:end, first:end] = upper + np.triu(upper, 1).T
        score_NN[end:, first:end] = score_NN[first:end, end:].T
    return score_NN


def _raw(query: Tensor, gallery: Tensor, weight_L: Tensor, weight_M: Tensor, buffer: Tensor) -> Tensor:
    """Match a tile: float32 [Q, G].

    Similarities go into one buffer, over and over: fresh memory of this size comes with a page fault for every 4 KB.
    """
    if len(gallery) > len(query):  # the product is faster with the larger matrix on the left
        return _raw(gallery, query, weight_M, weight_L, buffer).T
    left, right = query.flatten(0, 1), gallery.flatten(0, 1)
    product = torch.mm(left, right.T, out=buffer[: len(left) * len(right)].view(len(left), len(right)))
    S_QLGM = product.view(len(query), len(weight_L), len(gallery), len(weight_M))
    return weight_L @ _largest(S_QLGM, 3) + _largest(S_QLGM, 1) @ weight_M


def _largest(S: Tensor, axis: int) -> Tensor:
    """Return the largest entries along an axis, as float32.

    Bits of bfloat16 numbers, read as integers, are ordered like the numbers unless all are negative, and their largest
    is found several times as fast.
    """
    if S.dtype != torch.bfloat16:
        return S.amax(axis)
    bits = S.view(torch.int16).amax(axis)
    return S.amax(axis).float() if (bits < 0).any() else bits.view(torch.bfloat16).float()


def _load(maps: NDArray[Any], buffer: Tensor) -> Tensor:
    """Return maps in the precision and on the device of the buffer; torch takes no read-only memory."""
    return torch.from_numpy(np.require(maps, requirements=["C", "W"])).to(buffer.device, buffer.dtype)


def _check(query_QLC: Maps, gallery_GMC: Maps, head: QAConvHead, dtype: str) -> None:
    if dtype not in ("float32", "bfloat16"):
        raise ValueError(f"dtype must be float32 or bfloat16, got {dtype}")
    for name, maps, weight in (("query", query_QLC, head.weights[0]), ("gallery", gallery_GMC, head.weights[1])):
        if len(maps.shape) != 3 or 0 in maps.shape or maps.shape[1] != len(weight):
            raise ValueError(f"{name} maps must be [N, {len(weight)}, C] for this head, got {list(maps.shape)}")
    if query_QLC.shape[2] != gallery_GMC.shape[2]:
        raise ValueError(f"query maps have {query_QLC.shape[2]} channels and gallery maps {gallery_GMC.shape[2]}")


def _check_finite(raw_QG: NDArray[np.float32], query_QLC: Maps) -> None:
    bad = np.argwhere(~np.isfinite(raw_QG))
    if len(bad):
        q, g = bad[0].tolist()
        culprit = f"gallery map {g}" if np.isfinite(query_QLC[q]).all() else f"query map {q}"
        raise ValueError(f"{culprit} holds NaN or infinity; check the model that made it")
