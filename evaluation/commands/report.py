"""``python -m evaluation report``: one HTML file."""

from typing import Annotated

import tyro

from cluster import storage
from cluster.console import console, print_result
from cluster.errors import InputError
from evaluation.report.evaluation_report import ReportConfig, report_rankings
from evaluation.scoring.files import ScoringConfig
from evaluation.scoring.scores import summarise

Locations = Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FEATURES...")]
Scoring = Annotated[ScoringConfig, tyro.conf.OmitArgPrefixes]
Report = Annotated[ReportConfig, tyro.conf.OmitArgPrefixes]
DEFAULT = ScoringConfig()
AS_SHOWN = ReportConfig()


def report(
    features: Locations,
    *,
    out: str,
    names: tuple[str, ...] = (),
    scoring: Scoring = DEFAULT,
    show: Report = AS_SHOWN,
) -> None:
    """Write a one-file HTML report of features files of the same images: scores, curves, distances, rank lists.

    Args:
        features: Features files, the first of which the others are compared with.
        out: The HTML file to write.
        names: What to call them, one name each; their file names unless given.
        scoring: How, all alike.
        show: What the report shows.
    """
    labels = names or tuple(storage.name_of(location).rpartition(".")[0] for location in features)
    if len(set(labels)) != len(features):
        raise InputError(f"{len(features)} files need as many different names, got {', '.join(labels)}; give --names")
    files = dict(zip(labels, features, strict=True))
    methods = report_rankings(files, storage.resolve(out), scoring, show)
    console.print(f"open {storage.resolve(out)}")
    scores = {method.name: summarise(method.result, method.intervals) for method in methods}
    print_result({"out": storage.resolve(out), "scores": scores})
