"""What the evaluation's report shows: scores with their doubt, curves, distances, rank lists, match lines."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.metrics.bootstrap import Difference, Interval
from evaluation.metrics.pair_distances import equal_error_rate, sample_pair_distances
from evaluation.metrics.rank_list import RankList
from evaluation.metrics.retrieval import RetrievalResult
from evaluation.report.charts import cmc_chart, distance_distribution_chart, scatter_chart
from evaluation.report.page import Figure, Section, Table, Text, Tile, percent
from evaluation.scoring.problem import Problem
from evaluation.scoring.scores import NAMES, scores_of

PROJECTED_IDENTITIES = 12
"""Identities shown in a projection: as many as colours and marks tell apart."""
OTHER_IMAGES = 600
"""Images of others in a projection, for the background."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Scored:
    """A ranking with its scores."""

    name: str
    problem: Problem
    result: RetrievalResult
    intervals: Mapping[str, Interval]
    """95 % intervals by score; empty if none were made."""
    lists: RankList
    """Of some queries."""


def tiles(methods: Sequence[Scored]) -> list[Tile]:
    """Return mAP and Rank-1 of the first two methods."""
    return [
        Tile(
            label=f"{method.name}, {NAMES[score]}",
            value=percent(scores_of(method.result)[score]),
            detail=f"95 %: {_span(method.intervals[score])}" if method.intervals else "",
        )
        for method in methods[:2]
        for score in ("mAP", "rank1")
    ]


def score_table(methods: Sequence[Scored]) -> Table:
    """Return all scores of all methods."""
    result = methods[0].result
    caption = (
        f"{result.num_queries:,} queries, {result.num_valid_queries:,} of them with a match, "
        f"{result.num_gallery:,} gallery images; protocol {result.protocol.name}: {result.protocol.summary}."
    )
    if methods[0].intervals:
        caption += " In brackets: 95 % intervals by resampling the queries."
    return Table(
        heading="Scores",
        columns=("method", *NAMES.values()),
        rows=tuple((method.name, *_cells(method)) for method in methods),
        caption=caption,
    )


def _cells(method: Scored) -> list[str]:
    scores = scores_of(method.result)
    if not method.intervals:
        return [percent(value) for value in scores.values()]
    return [f"{percent(value)} ({_span(method.intervals[name])})" for name, value in scores.items()]


def _span(interval: Interval) -> str:
    return f"{100 * interval.low:.1f} to {100 * interval.high:.1f}"


def difference_table(differences: Mapping[str, Mapping[str, Difference]], baseline: str) -> Table:
    """Return how much methods are above a baseline; p-values below 0.05 deserve attention, above it little."""
    rows = []
    for name, found in differences.items():
        cells = [
            f"{100 * one.difference:+.1f} ({100 * one.interval.low:+.1f} to {100 * one.interval.high:+.1f})"
            for one in found.values()
        ]
        rows.append((name, *cells, f"{found['mAP'].p_value:.3f}"))
    return Table(
        heading=f"Difference to {baseline}",
        columns=("method", *NAMES.values(), "p (mAP)"),
        rows=tuple(rows),
        caption="Percent points, paired by query; in brackets 95 % intervals. One that holds 0 leaves it open which "
        "method is better.",
    )


def cmc_figure(methods: Sequence[Scored]) -> Figure:
    """Return the cumulative matching curves."""
    return Figure(
        heading="Cumulative matching",
        image=cmc_chart({method.name: method.result.cmc for method in methods}),
        caption="The share of queries whose first match is at rank k or better.",
    )


def distance_figure(method: Scored) -> Figure:
    """Return how far images of one identity are apart, and of different ones, by the features alone."""
    query, gallery = method.problem.query, method.problem.gallery
    same, different = sample_pair_distances(
        query.feature, gallery.feature, query.identity, gallery.identity, query.camera, gallery.camera
    )
    error = equal_error_rate(same, different)
    return Figure(
        heading=f"Distances, {method.name}",
        image=distance_distribution_chart(same, different, threshold=error.threshold),
        caption=f"{len(same):,} pairs of one identity before two cameras and {len(different):,} pairs of different "
        f"identities, drawn at random. At the threshold of {error.threshold:.2f} as many of the first are refused as "
        f"of the second are accepted: {percent(error.rate)}.",
    )


def projection_figure(method: Scored, kind: str, *, seed: int = 0) -> Figure:
    """Return the features of some identities in the plane, before a background of others.

    Raises:
        ValueError: If there are too few images, or the kind is not installed.
    """
    from evaluation.report.projection import project  # scikit-learn takes a second to load, and few ask for this

    gallery = method.problem.gallery
    identities, counts = np.unique(gallery.identity[gallery.identity > 0], return_counts=True)
    shown = identities[np.argsort(-counts, kind="stable")[:PROJECTED_IDENTITIES]]
    is_shown = np.isin(gallery.identity, shown)
    others = np.random.default_rng(seed).permutation(np.flatnonzero(~is_shown))[:OTHER_IMAGES]
    rows = np.sort(np.concatenate([np.flatnonzero(is_shown), others]))
    chosen, xy = project(gallery.feature[rows], method="umap" if kind == "umap" else "tsne", seed=seed)
    labels = np.where(is_shown[rows], gallery.identity[rows], 0)[chosen]
    return Figure(
        heading=f"Features in the plane ({'UMAP' if kind == 'umap' else 't-SNE'}), {method.name}",
        image=scatter_chart(xy, labels),
        caption="The identities with the most gallery images, before a grey background of others. Only neighbourhoods "
        "can be read from it, neither sizes of groups nor gaps between them.",
    )


def rules(methods: Sequence[Scored]) -> Section:
    """Return what a reader must know of the protocol to compare these numbers with others."""
    protocol = methods[0].result.protocol
    left_out = {
        "same-passage": "Images of the query's identity by the query's own camera are left out.",
        "same-camera": "All images of the query's own camera are left out.",
        "nothing": "Cameras play no part.",
    }[protocol.left_out]
    without = {
        "left-out": "A query without a match is in no score.",
        "zero": "A query without a match counts as 0 in every score.",
    }[protocol.without_match]
    ties = {
        "gallery-order": "equal distances stay in the order of the gallery",
        "grouped": "equal distances share the precision at their end",
        "averaged": "the mean over all orders of equal distances",
    }[protocol.ties]
    kind = {"finite-sum": "the mean precision at the matches", "trapezoid": "the area under the polygon"}
    return Text(
        heading="Rules",
        paragraphs=(
            f"Protocol {protocol.name}: {protocol.summary}. Junk images (identity -1) are in no ranking. {left_out} "
            f"{without} AP is {kind[protocol.average_precision]}; {ties}.",
            "Intervals resample the queries. They do not cover another training run, which often differs by more: "
            "compare methods over several seeds.",
        ),
    )
