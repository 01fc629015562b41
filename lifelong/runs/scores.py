"""Scores of the model of one task: each dataset in its own gallery, the mean of those seen, and the unseen ones.

Two papers' "unseen" are two numbers. AKA merges the unseen sets into one gallery, with identities and cameras kept
apart; DKP scores each set in its own gallery and takes the mean. Both are here, under names of their own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from cluster import storage
from cluster.errors import InputError
from evaluation.features.files import read_features
from evaluation.metrics.protocols import find_protocol
from evaluation.scoring.matchers import MatchingConfig, open_matcher
from evaluation.scoring.problem import keep_apart, make_problem
from evaluation.scoring.scores import score, summarise
from pretrain.models.directory import MATCHING_FILE

MatcherName = Literal["cosine", "qaconv"]
SCORES = ("mAP", "rank1")
"""Of which means over datasets are taken."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchmarkScoring:
    """How the models of a benchmark are scored."""

    protocol: str = "market"
    """The rules, see `evaluation.metrics.protocols`; DwoPP's own program has those of ``market-official``."""
    matcher: Literal["auto", "cosine", "qaconv"] = "auto"
    """``auto``: QAConv where the model has a trained matching branch, else cosine."""
    exact_up_to: int = 20_000
    """QAConv compares a query with the whole gallery up to so many images, and else with a shortlist of 100."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        find_protocol(self.protocol)
        if self.exact_up_to < 0:
            raise InputError(f"exact-up-to must be >= 0, got {self.exact_up_to}")


def matcher_of(model: str, scoring: BenchmarkScoring) -> MatcherName:
    """Return the matcher for the images of a model directory."""
    if scoring.matcher == "auto":
        return "qaconv" if storage.exists(storage.join(model, MATCHING_FILE)) else "cosine"
    return scoring.matcher


def score_together(locations: Sequence[str], matcher: MatcherName, scoring: BenchmarkScoring) -> dict[str, Any]:
    """Score features files, several of them as one gallery with identities and cameras kept apart.

    Returns:
        The scores as fractions of 1, counts, and how images were compared.

    Raises:
        InputError: If a file has no queries or no gallery, or no query has a match.
    """
    tables = [read_features(location) for location in locations]
    problem = make_problem(tables[0] if len(tables) == 1 else keep_apart(tables), find_protocol(scoring.protocol))
    is_exact = len(problem.gallery) <= scoring.exact_up_to
    with open_matcher(problem, locations, MatchingConfig(matcher=matcher, exact=is_exact)) as opened:
        found = summarise(score(problem, matcher=opened))
    return found | {"matcher": matcher} | ({"exact": is_exact} if matcher == "qaconv" else {})


def score_model(
    seen: Mapping[str, str], unseen: Mapping[str, str], matcher: MatcherName, scoring: BenchmarkScoring
) -> dict[str, Any]:
    """Score the features of one model.

    Args:
        seen: Name to features file, of datasets that it or an earlier model was trained on.
        unseen: The same of datasets that none was.
        matcher: How images are compared.
        scoring: By which rules.

    Returns:
        ``datasets``: scores of each seen one in its own gallery; ``seen``: their mean; and where there are unseen
        ones, ``unseen``: ``datasets``, ``averaged`` (DKP) and ``merged`` (AKA).
    """
    alone = {name: score_together([location], matcher, scoring) for name, location in seen.items()}
    found: dict[str, Any] = {"datasets": alone, "seen": mean_of(alone)}
    if unseen:
        each = {name: score_together([location], matcher, scoring) for name, location in unseen.items()}
        merged = score_together(list(unseen.values()), matcher, scoring)
        found["unseen"] = {"datasets": each, "averaged": mean_of(each), "merged": merged}
    return found


def mean_of(datasets: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Return mean mAP and Rank-1 over datasets, each counting once, however many queries it has."""
    return {name: float(np.mean([one[name] for one in datasets.values()])) for name in SCORES}
