"""Searches of a gallery that may change between them: which index, and exact similarities for what it found.

Shapes: Q queries, D components of a feature, C candidates, K hits, U distinct items.
"""

from collections.abc import Iterator
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from cluster.errors import InputError
from evaluation.metrics.distances import check_features, unit_rows
from lifelong.gallery import journal
from lifelong.gallery.index import VectorIndex
from lifelong.gallery.manifest import Manifest
from lifelong.gallery.search import FACTS, NO_ITEM, Hits, describe, look_up, search_flat
from lifelong.gallery.shards import matrix_of

Kind = Literal["flat", "ivf"]
"""``flat`` compares with everything, reading all shards each time; ``ivf`` looks into the nearest of many cells."""
FLAT_ITEMS = 200_000
"""Up to so many, ``flat`` is chosen."""
CANDIDATES = 2
"""Times K that are compared exactly."""
QUERIES_AT_ONCE = 1000


class Searcher:
    """Searches one gallery."""

    def __init__(self, location: str, cache: str) -> None:
        self._location = location
        self._index = VectorIndex(location, cache)

    def search(self, query_QD: NDArray[np.float32], k: int, *, model_fingerprint: str, kind: Kind | None) -> Hits:
        """Search what is there now (see `Gallery.search`)."""
        check_features(query_QD, "query")
        if k < 1:
            raise InputError(f"k must be >= 1, got {k}")
        if kind is not None and kind not in get_args(Kind):
            raise InputError(f"an index is one of {', '.join(get_args(Kind))}, got {kind}")

        def search(manifest: Manifest) -> Hits:
            manifest.require_declared({model_fingerprint}, "queries")
            if query_QD.shape[1] != manifest.size:
                raise InputError(f"queries have {query_QD.shape[1]} components and the gallery {manifest.size}")
            if not manifest.num_items:
                raise InputError(f"{self._location} holds no images yet; add some")
            return self._search(unit_rows(query_QD), min(k, manifest.num_items), manifest, kind)

        return journal.with_newest(self._location, search)

    def nearest(
        self, query_QD: NDArray[np.float32], k: int, manifest: Manifest
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Ask the index alone: approximate similarities and items of queries of norm 1."""
        self._index.refresh(manifest)
        return self._index.search(query_QD, k)

    def _search(self, query_QD: NDArray[np.float32], k: int, manifest: Manifest, kind: Kind | None) -> Hits:
        if (kind or ("flat" if manifest.num_items <= FLAT_ITEMS else "ivf")) == "flat":
            similarity_QK, item_QK = search_flat(self._location, manifest, query_QD, k)
            item_U = np.unique(item_QK)
            table = look_up(self._location, manifest, item_U, FACTS)
            return Hits(similarity=similarity_QK, item=item_QK, **describe(table, item_U, item_QK))
        parts = [self._search_index(query_QD[rows], k, manifest) for rows in _chunks(len(query_QD))]
        return Hits(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in Hits.__slots__})

    def _search_index(self, query_QD: NDArray[np.float32], k: int, manifest: Manifest) -> Hits:
        _, item_QC = self.nearest(query_QD, CANDIDATES * k, manifest)
        item_U = np.unique(item_QC[item_QC != NO_ITEM])
        table = look_up(self._location, manifest, item_U, ["feature", *FACTS])
        similarity_QC = exact(query_QD, matrix_of(table["feature"], manifest.size), item_U, item_QC)
        best_QK = np.argsort(-similarity_QC, axis=1, kind="stable")[:, :k]
        item_QK = np.take_along_axis(item_QC, best_QK, axis=1)
        similarity_QK = np.take_along_axis(similarity_QC, best_QK, axis=1)
        return Hits(similarity=similarity_QK, item=item_QK, **describe(table, item_U, item_QK))


def exact(
    query_QD: NDArray[np.float32],
    feature_UD: NDArray[np.float32],
    item_U: NDArray[np.int64],
    item_QC: NDArray[np.int64],
) -> NDArray[np.float32]:
    """Return the similarity of each query to each of its candidates, float32 [Q, C]; -inf where there is none."""
    place_QC = np.searchsorted(item_U, item_QC).clip(max=len(item_U) - 1)
    rows = zip(query_QD, place_QC, strict=True)
    similarity_QC = np.stack([feature_UD[place_C] @ query_D for query_D, place_C in rows])
    similarity_QC[item_QC == NO_ITEM] = -np.inf
    return similarity_QC


def _chunks(count: int) -> Iterator[slice]:
    for start in range(0, count, QUERIES_AT_ONCE):
        yield slice(start, min(start + QUERIES_AT_ONCE, count))
