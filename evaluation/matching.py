"""The matcher that a command line names: cosine of features, or QAConv of feature maps."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from cluster import storage
from cluster.console import meter
from evaluation.maps import Maps, open_maps
from evaluation.metrics.distances import Chunks
from evaluation.qaconv import Correspondences, Precision, correspondences, score_chunks, similarity
from evaluation.qaconv_head import QAConvHead, read_head
from evaluation.scoring.problem import Problem
from evaluation.scoring.ranking import CosineMatcher, Matcher, Rows
from evaluation.shortlist import agreement, shortlist_chunks


@dataclass(frozen=True, kw_only=True, slots=True)
class MatchingConfig:
    """How two images are compared."""

    matcher: Literal["cosine", "qaconv"] = "cosine"
    """Cosine of features; or QAConv of the feature maps that `embed --maps` wrote beside the features file."""
    head: str = ""
    """File with a trained QAConv head; unless given, that of the maps, or uniform weights where they have none."""
    shortlist: int = 100
    """QAConv re-scores so many candidates of each query, the nearest by pooled maps."""
    exact: bool = False
    """Whether QAConv compares every query with the whole gallery instead."""
    precision: Precision = "float32"
    """Of QAConv's products."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where distances are computed: `auto` takes a GPU if there is one."""

    def __post_init__(self) -> None:
        if self.shortlist < 1:
            raise ValueError(f"shortlist must be >= 1, got {self.shortlist}")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ValueError("device cuda was asked for and there is no GPU; leave --device out")


@contextlib.contextmanager
def open_matcher(problem: Problem, locations: Sequence[str], config: MatchingConfig) -> Iterator[Matcher]:
    """Open what compares the images of a problem.

    Args:
        problem: The images.
        locations: The features files they came from, in order; maps lie beside them.
        config: Which matcher.

    Raises:
        ValueError: If there are no maps, or they are of other images or another model.
    """
    device = ("cuda" if torch.cuda.is_available() else "cpu") if config.device == "auto" else config.device
    if config.matcher == "cosine":
        yield CosineMatcher(problem.images, device)
        return
    for location in locations:
        if not storage.exists(maps_location(location)):
            raise ValueError(f"there are no feature maps {maps_location(location)}; embed with --maps to have them")
    with contextlib.ExitStack() as stack:
        stores = [stack.enter_context(open_maps(maps_location(location))) for location in locations]
        head = read_head(config.head) if config.head else stores[0].head
        head = head or QAConvHead.uniform(stores[0].shape.num_locations)
        yield QAConvMatcher(_join(problem, stores, locations), head, config, device)


def maps_location(features: str) -> str:
    """Return where the feature maps of a features file lie: ``f.maps`` beside ``f.parquet``."""
    location = storage.resolve(features)
    folder, _, name = location.rpartition("/")
    return storage.join(folder, name.rpartition(".")[0] + ".maps") if "." in name else location + ".maps"


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

    @property
    def ndim(self) -> int:
        """3."""
        return 3

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
                raise ValueError(
                    f"{maps_location(location)} differs from {location} in {name}; write both with one call of embed"
                )
        if store.shape != stores[0].shape:
            raise ValueError(f"maps of {location} are {store.shape} and others {stores[0].shape}; use one model")
    return JoinedMaps(stores, np.arange(first))


@dataclass(frozen=True, slots=True, eq=False)
class QAConvMatcher:
    """Query-adaptive convolution of feature maps (see `evaluation.qaconv`), of all pairs or of a shortlist."""

    maps: JoinedMaps
    head: QAConvHead
    config: MatchingConfig
    device: str

    def distances(self, query_rows: Rows, gallery_rows: Rows) -> Chunks:
        """Yield -score, float32 [C, G]; see `evaluation.shortlist` for what is not on the shortlist."""
        return self._distances(query_rows, gallery_rows, exact=self.config.exact)

    def similarities(self, query_rows: Rows, gallery_rows: Rows) -> Chunks:
        """Yield sigmoid(score / 10)."""
        return ((rows, similarity(-part)) for rows, part in self.distances(query_rows, gallery_rows))

    def all_pairs(self, rows: Rows) -> Chunks:
        """Yield 1 - similarity."""
        return ((part, 1 - found) for part, found in self.similarities(rows, rows))

    def agreement(self, query_rows: Rows, gallery_rows: Rows, *, seed: int = 0) -> float:
        """Return the share of the true top 10 that the shortlist puts there, on a sample of the queries.

        The sample is so large that its exhaustive scoring costs about what the shortlists of all queries cost, but
        at least 8 queries.
        """
        num_sampled = max(8, len(query_rows) * self.config.shortlist // len(gallery_rows))
        chosen = np.random.default_rng(seed).permutation(query_rows)[:num_sampled]
        exact, short = (
            np.concatenate([part for _, part in self._distances(chosen, gallery_rows, exact=exact)])
            for exact in (True, False)
        )
        return agreement(exact, short, top=min(10, len(gallery_rows)))

    def correspondences(self, query_row: int, gallery_row: int) -> Correspondences:
        """Return which locations of two images match best, for drawing."""
        query, gallery = self.maps[np.array([query_row, gallery_row])]
        return correspondences(query, gallery)

    def _distances(self, query_rows: Rows, gallery_rows: Rows, *, exact: bool) -> Chunks:
        query, gallery = self.maps.take(query_rows), self.maps.take(gallery_rows)
        num_candidates = len(gallery) if exact else min(self.config.shortlist, len(gallery))
        with meter("matching pairs", len(query) * num_candidates) as advance:
            options = {"dtype": self.config.precision, "device": self.device, "advance": advance}
            if exact:
                yield from score_chunks(query, gallery, self.head, **options)
            else:
                pooled = np.concatenate([store.rows.feature for store in self.maps.stores])
                yield from shortlist_chunks(
                    query, gallery, pooled[query_rows], pooled[gallery_rows], self.head, k=num_candidates, **options
                )
