"""``python -m evaluation compare``: two features files."""

from dataclasses import asdict
from typing import Annotated

import tyro

from cluster import storage
from cluster.console import console, print_result
from cluster.errors import InputError
from evaluation.metrics.bootstrap import paired_differences
from evaluation.metrics.protocols import find_protocol
from evaluation.scoring.comparison import align, comparison_table
from evaluation.scoring.files import ScoringConfig, score_files
from evaluation.scoring.problem import read_problem
from evaluation.scoring.scores import summarise

Scoring = Annotated[ScoringConfig, tyro.conf.OmitArgPrefixes]
DEFAULT = ScoringConfig()


def compare(
    a: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="A")],
    b: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="B")],
    *,
    scoring: Scoring = DEFAULT,
) -> None:
    """Say whether one features file is better than another of the same images: A - B, paired by query.

    Args:
        a: A features file.
        b: Another one; the same images, identities and cameras, in any order.
        scoring: How, both alike.
    """
    if not scoring.bootstrap.resamples:
        raise InputError("a comparison needs --resamples >= 1; 1000 is usual")
    protocol = find_protocol(scoring.protocol)
    first = read_problem([a], protocol)
    problems = {a: first, b: align(read_problem([b], protocol), first)}
    better, baseline = (score_files(problem, [name], scoring)[0] for name, problem in problems.items())
    resampling = {"num_resamples": scoring.bootstrap.resamples, "seed": scoring.bootstrap.seed}
    differences = paired_differences(better, baseline, **resampling)
    title = f"{storage.name_of(a)} - {storage.name_of(b)}, {protocol.name} protocol, {better.num_queries:,} queries"
    console.print(comparison_table(differences, title=title))
    summary = {name: asdict(found) for name, found in differences.items()}
    print_result({"differences": summary, "a": summarise(better), "b": summarise(baseline)})
