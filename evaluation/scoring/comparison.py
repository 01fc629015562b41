"""Two rankings of the same images: which is better, and by how much for sure."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from cluster.errors import InputError
from evaluation.features.table import Features
from evaluation.metrics.bootstrap import Difference
from evaluation.scoring.problem import Problem
from evaluation.scoring.scores import NAMES


def align(problem: Problem, reference: Problem) -> Problem:
    """Return a problem with its queries and gallery in the order of another one of the same images.

    Images are joined by their paths; where paths are not all different, by their order.

    Raises:
        InputError: If the images, their identities or cameras differ: the scores would be of different tasks.
    """
    query_rows = _joined(reference.query, problem.query, problem.query_rows, "query")
    gallery_rows = _joined(reference.gallery, problem.gallery, problem.gallery_rows, "gallery")
    return replace(
        problem,
        query_rows=query_rows,
        gallery_rows=gallery_rows,
        query=problem.images.take(query_rows),
        gallery=problem.images.take(gallery_rows),
    )


def _joined(wanted: Features, others: Features, other_rows: NDArray[np.int64], what: str) -> NDArray[np.int64]:
    """Return those of the other rows that hold the wanted images, in their order."""
    if len(wanted) != len(others):
        raise InputError(f"{len(wanted)} {what} images against {len(others)}; compare features of the same split")
    order = np.arange(len(others))
    if len(set(wanted.path)) == len(wanted):
        row_of = {path: row for row, path in enumerate(others.path)}
        missing = [path for path in wanted.path if path not in row_of]
        if missing:
            raise InputError(
                f"{len(missing)} {what} images are in one file only, the first {missing[0]}; "
                "compare features of the same split"
            )
        order = np.array([row_of[path] for path in wanted.path], np.int64)
    for name in ("identity", "camera"):
        differs = np.flatnonzero(getattr(wanted, name) != getattr(others, name)[order])
        if len(differs):
            raise InputError(
                f"{len(differs)} {what} images have another {name} in the other file, the first "
                f"{wanted.path[differs[0]]}; compare features of the same split"
            )
    return other_rows[order]


def comparison_table(differences: dict[str, Difference], *, title: str) -> Table:
    """Return the differences as people read them: percent points."""
    shown = Table(title=title, title_justify="left")
    for column in ("", "difference", "95 % interval", "p"):
        shown.add_column(column, justify="left" if not column else "right")
    for name, found in differences.items():
        interval = f"{100 * found.interval.low:+.2f} to {100 * found.interval.high:+.2f}"
        shown.add_row(NAMES[name], f"{100 * found.difference:+.2f} points", interval, f"{found.p_value:.3f}")
    return shown
