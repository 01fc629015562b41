"""QAConv of map stores, as a matcher that is ranked by and scored like any other."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cluster import storage
from cluster.console import meter
from cluster.errors import InputError
from evaluation.metrics.distances import Chunks
from evaluation.qaconv.correspondences import Correspondences, correspondences
from evaluation.qaconv.head import QAConvHead, read_head
from evaluation.qaconv.maps import Maps, open_maps
from evaluation.qaconv.scores import Precision, score_chunks, similarity
from evaluation.qaconv.shortlist import agreement, shortlist_chunks
from evaluation.scoring.problem import Problem
from evaluation.scoring.ranking import Rows


@contextlib.contextmanager
def open_qaconv(
    problem: Problem, locations: Sequence[str], *, device: str, precision: Precision, head: str, k: int | None
) -> Iterator["QAConvMatcher"]:
    """Open the map stores of a problem's images.

    Args:
        problem: The images.
        locations: One map store for each features file, in order.
        device: As torch names it.
        precision: Of the products.
        head: File of the head; empty for that of the first store, or uniform weights where it has none.
        k: Candidates of each query; None compares all pairs.

    Raises:
        InputError: If there are no maps, or they are of other images or another model.
    """
    for location in locations:
        if not storage.exists(location):
            raise InputError(f"there are no feature maps {location}; embed with --maps to have them")
    with contextlib.ExitStack() as stack:
        stores = [stack.enter_context(open_maps(location)) for location in locations]
        chosen = read_head(head) if head else stores[0].head
        chosen = chosen or QAConvHead.uniform(stores[0].shape.num_locations)
        yield QAConvMatcher(_join(problem, stores, locations), chosen, k, precision, device)


@dataclass(frozen=True, slots=True, eq=False)
class JoinedMaps:
    """The maps of several stores, one after the other, read from disk only where they are asked for."""

    stores: Sequence[Maps]
    rows: NDArray[np.int64]
    """[N], which rows of all stores together."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """N, L, C."""
        return (len(self.rows), *self.stores[0].array.shape[1:])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: slice | NDArray[np.int64]) -> NDArray[np.float16]:
        rows = self.rows[key]
        found = np.empty((len(rows), *self.shape[1:]), np.float16)
        first = 0
        for store in self.stores:
            is_here = (rows >= first) & (rows < first + len(store))
            found[is_here] = store.take(rows[is_here] - first)
            first += len(store)
        return found

    def take(self, rows: NDArray[np.int64]) -> "JoinedMaps":
        """Return some of the rows, unread."""
        return JoinedMaps(self.stores, self.rows[rows])


def _join(problem: Problem, stores: Sequence[Maps], locations: Sequence[str]) -> JoinedMaps:
    """Check that the maps are those of the images, row by row."""
    images, first = problem.images, 0
    for store, location in zip(stores, locations, strict=True):
        rows = slice(first, first + len(store))
        first += len(store)
        for name in ("path", "split", "model_fingerprint"):
            if not np.array_equal(getattr(images, name)[rows], getattr(store.rows, name)):
                raise InputError(f"{location} differs from the features in {name}; write both with one call of embed")
        if store.shape != stores[0].shape:
            raise InputError(f"maps of {location} are {store.shape} and others {stores[0].shape}; use one model")
    if first != len(images):
        raise InputError(f"there are {first:,} maps of {len(images):,} images; write both with one call of embed")
    return JoinedMaps(stores, np.arange(first))


@dataclass(frozen=True, slots=True, eq=False)
class QAConvMatcher:
    """Query-adaptive convolution of feature maps (see `evaluation.qaconv.scores`), of all pairs or of a shortlist."""

    maps: JoinedMaps
    head: QAConvHead
    k: int | None
    """Candidates of each query; None compares all pairs."""
    precision: Precision
    device: str

    def distances(self, query_rows: Rows, gallery_rows: Rows) -> Chunks:
        """Yield -score, float32 [C, G]; see `evaluation.qaconv.shortlist` for what is not on the shortlist."""
        return self._distances(query_rows, gallery_rows, self.k)

    def similarities(self, query_rows: Rows, gallery_rows: Rows) -> Chunks:
        """Yield sigmoid(score / 10)."""
        return ((rows, similarity(-part)) for rows, part in self.distances(query_rows, gallery_rows))

    def all_pairs(self, rows: Rows) -> Chunks:
        """Yield 1 - similarity."""
        return ((part, 1 - found) for part, found in self.similarities(rows, rows))

    def quality(self, query_rows: Rows, gallery_rows: Rows, *, seed: int = 0) -> dict[str, float]:
        """Return the share of the true top 10 that the shortlist puts there, on a sample of the queries.

        The sample is so large that its exhaustive scoring costs about what the shortlists of all queries cost, but
        at least 8 queries.
        """
        if self.k is None:
            return {}
        num_sampled = max(8, len(query_rows) * self.k // len(gallery_rows))
        chosen = np.random.default_rng(seed).permutation(query_rows)[:num_sampled]
        exact, short = (
            np.concatenate([part for _, part in self._distances(chosen, gallery_rows, k)]) for k in (None, self.k)
        )
        share = agreement(exact, short, top=min(10, len(gallery_rows)))
        return {"shortlist": self.k, "shortlist_agreement_top10": share}

    def correspondences(self, query_row: int, gallery_row: int) -> Correspondences:
        """Return which locations of two images match best, for drawing."""
        query, gallery = self.maps[np.array([query_row, gallery_row])]
        return correspondences(query, gallery)

    def _distances(self, query_rows: Rows, gallery_rows: Rows, k: int | None) -> Chunks:
        query, gallery = self.maps.take(query_rows), self.maps.take(gallery_rows)
        num_candidates = min(k or len(gallery), len(gallery))
        with meter("matching pairs", len(query) * num_candidates) as advance:
            options = {"dtype": self.precision, "device": self.device, "advance": advance}
            if k is None:
                yield from score_chunks(query, gallery, self.head, **options)
                return
            pooled = np.concatenate([store.rows.feature for store in self.maps.stores])
            vectors = pooled[query_rows], pooled[gallery_rows]
            yield from shortlist_chunks(query, gallery, *vectors, self.head, k=num_candidates, **options)
