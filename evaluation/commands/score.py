"""``python -m evaluation score``: features to scores."""

from typing import Annotated

import tyro

from cluster import storage
from cluster.console import console, print_result
from evaluation.metrics.protocols import find_protocol
from evaluation.scoring.files import ScoringConfig, score_files
from evaluation.scoring.problem import read_problem
from evaluation.scoring.scores import intervals_of, summarise, table

Locations = Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FEATURES...")]
Scoring = Annotated[ScoringConfig, tyro.conf.OmitArgPrefixes]
DEFAULT = ScoringConfig()


def score(
    features: Locations,
    *,
    scoring: Scoring = DEFAULT,
) -> None:
    """Score a features file: how well its queries find their identity in its gallery.

    Args:
        features: A features file (Parquet or NPZ), from `embed` or another toolbox; several for `--protocol joint`.
        scoring: How.
    """
    problem = read_problem(features, find_protocol(scoring.protocol))
    result, facts = score_files(problem, features, scoring)
    intervals = intervals_of(result, scoring.bootstrap)
    names = ", ".join(storage.name_of(location) for location in features)
    console.print(table(result, f"{scoring.protocol} protocol, {names}", intervals))
    print_result(summarise(result, intervals) | facts)
