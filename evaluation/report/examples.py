"""Rank lists for the report: what one or several methods find for the same queries, with the images."""

from collections.abc import Mapping, Sequence

import numpy as np

from cluster.errors import InputError
from evaluation.datasets.images import read_image
from evaluation.features.table import Features
from evaluation.metrics.distances import distance_chunks
from evaluation.metrics.protocols import MARKET
from evaluation.metrics.rank_list import RankList, rank_list
from evaluation.metrics.retrieval import RetrievalResult
from evaluation.report.page import RankedQuery, Ranking, RankLists
from evaluation.scoring.problem import make_problem


def choose_queries(result: RetrievalResult, num_queries: int, *, seed: int = 0) -> tuple[int, ...]:
    """Choose queries at random among those that have a match: an honest sample, neither the best nor the worst.

    Returns:
        Rows among the queries, ascending; all valid ones where there are fewer.
    """
    valid = np.flatnonzero((result.first_match_rank > 0).any(axis=0))
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
        InputError: If the methods saw different images, or an image cannot be read.
    """
    first, *others = methods.values()
    if any(not np.array_equal(first.path, other.path) for other in others):
        raise InputError(f"the features of {', '.join(methods)} are of different images; embed one dataset with each")
    rows = np.asarray(query_rows, np.int64)
    problems = {name: make_problem(features, MARKET) for name, features in methods.items()}
    lists = {}
    for name, problem in problems.items():
        chunks = distance_chunks(problem.query.take(rows).feature, problem.gallery.feature)
        lists[name] = rank_list(chunks, problem.labels.take(rows, slice(None)), length=length)
    shown = next(iter(problems.values()))
    return show_lists(lists, shown.query.take(rows), shown.gallery, heading=heading, caption=caption)


def show_lists(
    lists: Mapping[str, RankList], query: Features, gallery: Features, *, heading: str, caption: str = ""
) -> RankLists:
    """Make the section that shows rank lists, method below method.

    Args:
        lists: Name of a method to its lists, of the same queries and gallery.
        query: The queries of the lists.
        gallery: The whole gallery.
        heading: Heading of the section.
        caption: What to know about the choice of queries.

    Raises:
        InputError: If an image cannot be read.
    """
    queries = tuple(
        RankedQuery(
            query=read_image(query.path[row]),
            caption=f"camera {query.camera[row]}",
            rankings=tuple(_show(name, ranked, row, gallery) for name, ranked in lists.items()),
        )
        for row in range(len(query))
    )
    return RankLists(heading=heading, caption=caption, queries=queries)


def _show(method: str, ranked: RankList, row: int, gallery: Features) -> Ranking:
    found = [int(index) for index in ranked.gallery_index[row] if index >= 0]
    return Ranking(
        method=method,
        gallery=tuple(read_image(gallery.path[index]) for index in found),
        is_right=tuple(bool(right) for right in ranked.is_right[row, : len(found)]),
    )
