"""``python -m lifelong results``: the tables again."""

from typing import Annotated

import tyro

from cluster import storage
from cluster.console import console, print_result
from evaluation.compatibility.markdown import to_markdown
from evaluation.compatibility.results import to_json
from lifelong.runs.measure import measure
from lifelong.runs.run import open_run


def results(run: Annotated[str, tyro.conf.Positional]) -> None:
    """Score the finished stages of a run again, and print the tables.

    Args:
        run: A run directory.
    """
    run = storage.resolve(run)
    scores = measure(open_run(run))
    console.print(to_markdown(scores), markup=False)
    print_result(to_json(scores))
