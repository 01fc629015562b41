"""Which queries are ranked against which part of the gallery: the random galleries of some protocols.

Shapes: R repeats, Q queries, G gallery images.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cluster.errors import InputError
from evaluation.metrics.counting import JUNK_IDENTITY, GalleryGroups, Labels
from evaluation.metrics.protocols import Protocol

EVERYTHING = slice(None)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Block:
    """Some queries against some columns of the gallery, and what is to be learned from that."""

    queries: NDArray[np.int64]
    """Rows among all queries."""
    columns: NDArray[np.int64] | slice
    groups: GalleryGroups
    """Of those columns."""
    repeats: slice
    """The repeats whose scores it gives."""
    gives_precision: bool
    gives_rank: bool


class Draws:
    """The galleries of a protocol, drawn once for all chunks (see `Protocol.gallery`).

    A draw takes one image of each identity at random. Junk is never drawn; distractors (identity 0) all stay.
    """

    def __init__(self, labels: Labels, protocol: Protocol, seed: int) -> None:
        """Draw.

        Raises:
            InputError: If the gallery is drawn from all images together, and queries and gallery are not the same.
        """
        self._labels, self._protocol = labels, protocol
        rng = np.random.default_rng(seed)
        priority_RG = [rng.permutation(len(labels.gallery_identity)) for _ in range(protocol.num_repeats)]
        identity_G, camera_G = labels.gallery_identity, labels.gallery_camera
        self._whole = GalleryGroups(identity_G, camera_G)
        self._drawn: dict[tuple[int, int | None], tuple[NDArray[np.int64], GalleryGroups]] = {}
        """Columns of a repeat, for the queries of a camera, or for all."""
        cameras: list[int | None] = []
        if protocol.gallery == "one-per-identity":
            cameras = np.unique(labels.query_camera).tolist()
        elif protocol.gallery == "one-of-all-per-identity":
            if not np.array_equal(labels.query_identity, identity_G):
                raise InputError(
                    f"{protocol.name} draws the gallery from all images: give all of them as queries and as gallery"
                )
            cameras = [None]
        for repeat, priority_G in enumerate(priority_RG):
            for camera in cameras:
                columns = _one_per_identity(identity_G, priority_G, None if camera is None else camera_G != camera)
                self._drawn[repeat, camera] = columns, GalleryGroups(identity_G[columns], camera_G[columns])

    def blocks(self, rows: slice) -> Iterator[Block]:
        """Cut a chunk of queries into what is ranked together."""
        queries = np.arange(rows.start, rows.stop)
        if self._protocol.gallery != "one-of-all-per-identity":
            yield Block(
                queries=queries,
                columns=EVERYTHING,
                groups=self._whole,
                repeats=slice(0, self._protocol.num_repeats),
                gives_precision=True,
                gives_rank=self._protocol.gallery == "all",
            )
        for (repeat, camera), (columns, groups) in self._drawn.items():
            if camera is not None:
                kept = queries[self._labels.query_camera[rows] == camera]
            else:
                is_junk = self._labels.query_identity[rows] == JUNK_IDENTITY
                kept = queries[~np.isin(queries, columns) & ~is_junk]
            if len(kept):
                yield Block(
                    queries=kept,
                    columns=columns,
                    groups=groups,
                    repeats=slice(repeat, repeat + 1),
                    gives_precision=camera is None,
                    gives_rank=True,
                )


def _one_per_identity(
    identity_G: NDArray[np.int64], priority_G: NDArray[np.int64], is_allowed_G: NDArray[np.bool_] | None
) -> NDArray[np.int64]:
    """Return the allowed row of highest priority of each identity, and all allowed distractors, ascending."""
    allowed = identity_G != JUNK_IDENTITY
    if is_allowed_G is not None:
        allowed &= is_allowed_G
    rows = np.flatnonzero(allowed)
    rows = rows[np.argsort(priority_G[rows])]
    people = rows[identity_G[rows] != 0]
    _, first = np.unique(identity_G[people], return_index=True)
    return np.sort(np.concatenate([people[first], rows[identity_G[rows] == 0]]))
