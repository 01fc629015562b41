"""Features files to scores, as the command line asks for them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from cluster.console import console
from evaluation.metrics.protocols import find_protocol
from evaluation.metrics.retrieval import RetrievalResult
from evaluation.scoring.matchers import MatchingConfig, open_matcher
from evaluation.scoring.problem import Problem
from evaluation.scoring.ranking import RankingConfig
from evaluation.scoring.scores import BootstrapConfig, score


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoringConfig:
    """How features are scored."""

    protocol: str = "market"
    """The rules: market, market-official, market-averaged, open-reid, aka, cuhk03-classic, vehicleid or joint."""
    matching: MatchingConfig = field(default_factory=MatchingConfig)
    """How two images are compared."""
    ranking: RankingConfig = field(default_factory=RankingConfig)
    """What is done to distances."""
    bootstrap: BootstrapConfig = field(default_factory=BootstrapConfig)
    """How sure one may be."""

    def __post_init__(self) -> None:
        find_protocol(self.protocol)


def score_files(
    problem: Problem, locations: Sequence[str], config: ScoringConfig
) -> tuple[RetrievalResult, dict[str, Any]]:
    """Score a problem with the matcher that is asked for.

    Args:
        problem: What the protocol made of the files.
        locations: The files.
        config: How.

    Returns:
        The result, and what programs should know of how it came about.

    Raises:
        ValueError: If what is asked for does not go together, or the files lack it.
    """
    matching, ranking, seed = config.matching, config.ranking, config.bootstrap.seed
    with open_matcher(problem, locations, matching) as matcher:
        result = score(problem, matcher=matcher, ranking=ranking, seed=seed)
        quality = matcher.quality(problem.query_rows, problem.gallery_rows, seed=seed)
    if quality:
        share = f"{100 * quality['shortlist_agreement_top10']:.1f} %"
        console.print(f"shortlist of {matching.shortlist}: it holds {share} of the top 10 of --exact")
    facts = {"matcher": matching.matcher, "rerank": ranking.rerank, "tlift": ranking.tlift}
    return result, facts | quality
