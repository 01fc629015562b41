"""From a features file to scores, and the forms in which they are shown: a table for people, JSON for programs."""

from typing import Any

from rich.console import Group
from rich.table import Table

from evaluation.features import Features, read_features
from evaluation.retrieval import RetrievalResult, market_metrics


def score_features(location: str) -> RetrievalResult:
    """Score the queries of a features file against its gallery under the ``market`` protocol.

    Raises:
        ValueError: If the file is missing or wrong, lacks queries or a gallery, mixes models, or has no match at all.
    """
    features = read_features(location)
    try:
        return score(features)
    except ValueError as error:
        raise ValueError(f"{location}: {error}") from error


def score(features: Features) -> RetrievalResult:
    """Score the queries among some features against the gallery among them (see `score_features`)."""
    query, gallery = features.select("query"), features.select("gallery")
    models = sorted({*query.model_fingerprint, *gallery.model_fingerprint})
    if len(models) > 1:
        raise ValueError(
            f"the features come from {len(models)} models ({', '.join(models)}), which cannot be compared; "
            "embed all images with one model"
        )
    return market_metrics(
        query.feature, gallery.feature, query.identity, gallery.identity, query.camera, gallery.camera
    )


def summarise(result: RetrievalResult) -> dict[str, Any]:
    """Return the scores that programs read; fractions of 1, and counts."""
    return {
        "mAP": result.mAP,
        "rank1": result.rank(1),
        "rank5": result.rank(5),
        "rank10": result.rank(10),
        "mINP": result.mINP,
        "num_queries": result.num_queries,
        "num_valid_queries": result.num_valid_queries,
        "num_gallery": result.num_gallery,
    }


def table(result: RetrievalResult, title: str) -> Group:
    """Return the scores as people read them: percent with one decimal."""
    shown = Table(title=title, title_justify="left")
    for name in ("mAP", "Rank-1", "Rank-5", "Rank-10", "mINP"):
        shown.add_column(name, justify="right")
    values = (result.mAP, result.rank(1), result.rank(5), result.rank(10), result.mINP)
    shown.add_row(*(f"{100 * value:.1f} %" for value in values))
    return Group(shown, _counts(result))


def _counts(result: RetrievalResult) -> str:
    text = f"{result.num_queries:,} queries, {result.num_gallery:,} gallery images without junk"
    without = result.num_queries - result.num_valid_queries
    return text + (f"; queries without a match, which are in no score: {without:,}" if without else "")
