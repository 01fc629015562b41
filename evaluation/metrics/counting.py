"""Ranks without ordering the gallery: a match's rank is one more than the number of images that come before it.

A query has a handful of matches among thousands of gallery images. How many distances are smaller than a match's is
found by bisection in the sorted distances; sorting bare numbers is four times cheaper than finding the order of the
images, and two threads do it at once.

Shapes: C queries of a chunk, G gallery images, H matches of all queries together (query by query, nearest first).
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

JUNK_IDENTITY = -1
"""The label of images that are neither right nor wrong (bad detections); Market-1501's own convention."""

ROWS_AT_ONCE = 64
"""Queries that a thread takes: few enough to stay in its cache."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Labels:
    """Who is in the images, and which camera took them."""

    query_identity: NDArray[np.int64]
    """[Q]."""
    gallery_identity: NDArray[np.int64]
    """[G]; -1 is junk."""
    query_camera: NDArray[np.int64]
    gallery_camera: NDArray[np.int64]

    def __post_init__(self) -> None:
        for name in ("query", "gallery"):
            identity, camera = getattr(self, f"{name}_identity"), getattr(self, f"{name}_camera")
            for what, values in (("identities", identity), ("cameras", camera)):
                if values.ndim != 1 or not np.issubdtype(values.dtype, np.integer):
                    raise ValueError(
                        f"{name} {what} must be integers [N], got {values.dtype} {list(values.shape)}; number the names"
                    )
            if len(identity) != len(camera):
                raise ValueError(f"{len(identity)} {name} identities need as many cameras, got {len(camera)}")
            if not len(identity):
                raise ValueError(f"there are no {name} images; give at least one")
            if identity.min() < JUNK_IDENTITY:
                raise ValueError(f"{name} identities must be >= -1 (-1 is junk), got {identity.min()}")

    def take(self, queries: NDArray[np.int64] | slice, gallery: NDArray[np.int64] | slice) -> "Labels":
        """Return the labels of some queries and some gallery images, in the order given."""
        return Labels(
            query_identity=self.query_identity[queries],
            gallery_identity=self.gallery_identity[gallery],
            query_camera=self.query_camera[queries],
            gallery_camera=self.gallery_camera[gallery],
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Ranks:
    """Where the matches of the queries of a chunk stand. Queries without a match have none."""

    query: NDArray[np.int64]
    """[H], row of the chunk, ascending."""
    rank: NDArray[np.int64]
    """[H], counted from 1 among what the protocol leaves in; equal distances in the order of the gallery."""
    first_equal: NDArray[np.int64]
    """[H], the rank at which the run of distances equal to this match's begins."""
    last_equal: NDArray[np.int64]
    """[H], the rank at which it ends."""


class GalleryGroups:
    """The rows of a gallery by identity and by camera, so that no query has to look at all labels."""

    def __init__(self, identity_G: NDArray[np.int64], camera_G: NDArray[np.int64]) -> None:
        self.camera = camera_G
        self.junk = np.flatnonzero(identity_G == JUNK_IDENTITY)
        self._by_identity = _groups(identity_G)
        self._by_camera = _groups(camera_G)

    def of_identity(self, identity: int) -> NDArray[np.int64]:
        """Return the rows that show an identity, ascending."""
        return self._by_identity.get(identity, _NOTHING)

    def of_camera(self, camera: int) -> NDArray[np.int64]:
        """Return the rows that a camera took, ascending."""
        return self._by_camera.get(camera, _NOTHING)


_NOTHING = np.zeros(0, np.int64)


def _groups(value_G: NDArray[np.int64]) -> dict[int, NDArray[np.int64]]:
    order = np.argsort(value_G, kind="stable")
    values, starts = np.unique(value_G[order], return_index=True)
    return dict(zip(values.tolist(), np.split(order, starts[1:]), strict=True))


def count_ranks(
    distance_CG: NDArray[np.float32],
    identity_C: NDArray[np.int64],
    camera_C: NDArray[np.int64],
    groups: GalleryGroups,
    *,
    left_out: Literal["same-passage", "same-camera", "nothing"],
) -> Ranks:
    """Find the ranks of all matches of some queries (see `evaluation.metrics.protocols.Protocol.left_out`).

    The definition, as a loop::

        for c in range(C):
            kept = [g for g in range(G) if not is_left_out(c, g)]  # junk always is
            for p in matches of c among kept:
                before = [g for g in kept if (distance[c, g], g) < (distance[c, p], p)]
                rank = 1 + len(before)

    Args:
        distance_CG: Smaller is nearer, any sign; not changed.
        identity_C: Who is in each query.
        camera_C: Which camera took each query.
        groups: The gallery.
        left_out: Which images of the query's camera are in no ranking.

    Raises:
        ValueError: If a distance is NaN.
    """

    def of_rows(start: int) -> NDArray[np.int64]:
        rows = slice(start, start + ROWS_AT_ONCE)
        return _of_rows(distance_CG[rows], identity_C[rows], camera_C[rows], groups, left_out, start)

    starts = range(0, len(distance_CG), ROWS_AT_ONCE)
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # NumPy lets other threads run while it copies and sorts
        query, rank, first_equal, last_equal = np.concatenate(list(pool.map(of_rows, starts)), axis=1)
    return Ranks(query=query, rank=rank, first_equal=first_equal, last_equal=last_equal)


def _of_rows(
    distance_CG: NDArray[np.float32],
    identity_C: NDArray[np.int64],
    camera_C: NDArray[np.int64],
    groups: GalleryGroups,
    left_out: str,
    start: int,
) -> NDArray[np.int64]:
    """Return query, rank, first and last equal rank of the matches of some rows: int64 [4, H]."""
    distance_CG = np.array(distance_CG, np.float32)
    distance_CG[:, groups.junk] = np.inf
    matches = [
        leave_out(distance_G, int(identity), int(camera), groups, left_out)
        for distance_G, identity, camera in zip(distance_CG, identity_C, camera_C, strict=True)
    ]
    sorted_CG = np.sort(distance_CG, axis=1)
    if np.isnan(sorted_CG[:, -1]).any():  # NaN sorts last
        raise ValueError("a distance is NaN; check the model or the matcher that made it")
    found = [np.zeros((4, 0), np.int64)]
    for row, (distance_G, sorted_G, matches_H) in enumerate(zip(distance_CG, sorted_CG, matches, strict=True)):
        if not len(matches_H):
            continue
        value_H = distance_G[matches_H]
        order = np.argsort(value_H, kind="stable")
        value_H, matches_H = value_H[order], matches_H[order]
        nearer_H = sorted_G.searchsorted(value_H, "left")
        last_H = sorted_G.searchsorted(value_H, "right")
        rank_H = nearer_H + 1
        for tied in np.flatnonzero(last_H > rank_H):
            rank_H[tied] += np.count_nonzero(distance_G[: matches_H[tied]] == value_H[tied])
        found.append(np.stack([np.full(len(matches_H), start + row), rank_H, nearer_H + 1, last_H]))
    return np.concatenate(found, axis=1)


def leave_out(
    distance_G: NDArray[np.float32], identity: int, camera: int, groups: GalleryGroups, left_out: str
) -> NDArray[np.int64]:
    """Put what is in no ranking of a query behind everything, in place, and return the rows of its matches."""
    members = groups.of_identity(identity) if identity != JUNK_IDENTITY else _NOTHING
    if left_out == "nothing":
        return members
    is_same_camera = groups.camera[members] == camera
    distance_G[groups.of_camera(camera) if left_out == "same-camera" else members[is_same_camera]] = np.inf
    return members[~is_same_camera]
