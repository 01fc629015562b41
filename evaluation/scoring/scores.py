"""Scores in the forms in which they are shown: a table for people, JSON for programs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Group
from rich.table import Table

from cluster.errors import InputError
from evaluation.features.table import Features
from evaluation.metrics.bootstrap import Interval, confidence_intervals
from evaluation.metrics.protocols import MARKET
from evaluation.metrics.retrieval import RetrievalResult, evaluate
from evaluation.scoring.problem import Problem, make_problem
from evaluation.scoring.ranking import AS_MATCHED, CosineMatcher, Matcher, RankingConfig, rank

NAMES = {"mAP": "mAP", "rank1": "Rank-1", "rank5": "Rank-5", "rank10": "Rank-10", "mINP": "mINP"}
"""Of scores, as people write them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BootstrapConfig:
    """How sure one may be of a score."""

    resamples: int = 1000
    """Of the queries, for 95 % intervals; 0 leaves the intervals out."""
    seed: int = 0
    """Of the resampling, and of the galleries that a protocol draws."""

    def __post_init__(self) -> None:
        if self.resamples < 0:
            raise InputError(f"resamples must be >= 0, got {self.resamples}")


def score(
    features: Features | Problem,
    *,
    matcher: Matcher | None = None,
    ranking: RankingConfig = AS_MATCHED,
    seed: int = 0,
) -> RetrievalResult:
    """Score queries against a gallery.

    >>> import evaluation
    >>> features = evaluation.read_features(f"{folder}/features.parquet")
    >>> f"{evaluation.score(features).mAP:.2f}"
    '1.00'

    Args:
        features: A table with both, for the ``market`` protocol; or the problem that another protocol makes of it.
        matcher: What compares two images; cosine unless given.
        ranking: What is done to the distances.
        seed: Of the galleries that a protocol draws.

    Raises:
        InputError: If queries or a gallery are missing, models are mixed, or no query has a match.
    """
    problem = features if isinstance(features, Problem) else make_problem(features, MARKET)
    chunks = rank(problem, matcher or CosineMatcher(problem.images), ranking)
    return evaluate(chunks, problem.labels, problem.protocol, seed=seed)


def scores_of(result: RetrievalResult) -> dict[str, float]:
    """Return the five scores, fractions of 1."""
    cmc = result.cmc
    return {"mAP": result.mAP, "rank1": cmc[0], "rank5": cmc[4], "rank10": cmc[9], "mINP": result.mINP}


def intervals_of(result: RetrievalResult, config: BootstrapConfig) -> dict[str, Interval]:
    """Return the 95 % interval of each score; none where no resamples are asked for."""
    if not config.resamples:
        return {}
    return confidence_intervals(result, num_resamples=config.resamples, seed=config.seed)


def summarise(result: RetrievalResult, intervals: Mapping[str, Interval] | None = None) -> dict[str, Any]:
    """Return the scores that programs read; fractions of 1, and counts."""
    summary: dict[str, Any] = scores_of(result)
    if intervals:
        summary["interval95"] = {name: [interval.low, interval.high] for name, interval in intervals.items()}
    return summary | {
        "protocol": result.protocol.name,
        "num_queries": result.num_queries,
        "num_valid_queries": result.num_valid_queries,
        "num_gallery": result.num_gallery,
    }


def table(result: RetrievalResult, title: str, intervals: Mapping[str, Interval] | None = None) -> Group:
    """Return the scores as people read them: percent with one decimal."""
    shown = Table(title=title, title_justify="left")
    for name in NAMES.values():
        shown.add_column(name, justify="right")
    shown.add_row(*(f"{100 * value:.1f} %" for value in scores_of(result).values()))
    if intervals:
        shown.add_row(*(f"{100 * one.low:.1f} to {100 * one.high:.1f}" for one in intervals.values()), style="dim")
    return Group(shown, _counts(result, bool(intervals)))


def _counts(result: RetrievalResult, has_intervals: bool) -> str:
    text = f"{result.num_queries:,} queries, {result.num_gallery:,} gallery images without junk"
    without = result.num_queries - result.num_valid_queries
    if without:
        counted = "count as 0" if result.protocol.without_match == "zero" else "are in no score"
        text += f"; queries without a match, which {counted}: {without:,}"
    if result.protocol.num_repeats > 1:
        text += f"; means of {result.protocol.num_repeats} drawn galleries"
    return text + ("; below the scores: 95 % intervals, by resampling the queries" if has_intervals else "")
