"""Rank lists for the report: what one or several methods find for the same queries, with the images."""

from collections.abc import Mapping, Sequence

import numpy as np

from evaluation.features import Features
from evaluation.images import read_image
from evaluation.report import RankedQuery, Ranking, RankLists
from evaluation.retrieval import RankList, RetrievalResult, rank_list


def choose_queries(result: RetrievalResult, num_queries: int, *, seed: int = 0) -> tuple[int, ...]:
    """Choose queries at random among those that have a match: an honest sample, neither the best nor the worst.

    Returns:
        Rows among the queries, ascending; all valid ones where there are fewer.
    """
    valid = np.flatnonzero(result.first_match_rank > 0)
    chosen = np.random.default_rng(seed).choice(valid, min(num_queries, len(valid)), replace=False)
    return tuple(int(row) for row in np.sort(chosen))


def show_rankings(
    methods: Mapping[str, Features],
    query_rows: Sequence[int],
    *,
    heading: str,
    caption: str = "",
    length: int = 8,
) -> RankLists:
    """Make the section that shows the first gallery images of some queries, method below method.

    Args:
        methods: Name to features; every method embedded the same images in the same order.
        query_rows: Rows among the queries, such as `choose_queries` gives.
        heading: Heading of the section.
        caption: What to know about the choice of queries.
        length: Gallery images per query and method.

    Raises:
        ValueError: If the methods saw different images, or an image cannot be read.
    """
    first, *others = methods.values()
    if any(not np.array_equal(first.path, other.path) for other in others):
        raise ValueError(f"the features of {', '.join(methods)} are of different images; embed one dataset with each")
    rows = np.asarray(query_rows, np.int64)
    query, gallery = first.select("query").take(rows), first.select("gallery")
    lists = {name: _rank(features, rows, length) for name, features in methods.items()}
    queries = tuple(
        RankedQuery(
            query=read_image(query.path[row]),
            caption=f"camera {query.camera[row]}",
            rankings=tuple(_show(name, ranked, row, gallery) for name, ranked in lists.items()),
        )
        for row in range(len(rows))
    )
    return RankLists(heading=heading, caption=caption, queries=queries)


def _rank(features: Features, query_rows: np.ndarray, length: int) -> RankList:
    query, gallery = features.select("query").take(query_rows), features.select("gallery")
    return rank_list(
        query.feature,
        gallery.feature,
        query.identity,
        gallery.identity,
        query.camera,
        gallery.camera,
        length=length,
    )


def _show(method: str, ranked: RankList, row: int, gallery: Features) -> Ranking:
    found = [int(index) for index in ranked.gallery_index[row] if index >= 0]
    return Ranking(
        method=method,
        gallery=tuple(read_image(gallery.path[index]) for index in found),
        is_right=tuple(bool(right) for right in ranked.is_right[row, : len(found)]),
    )
