"""Results of a benchmark as people read them: tables in Markdown, percent with one decimal, and curves."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from evaluation.report.charts import line_chart
from lifelong.runs.scores import SCORES

HEADINGS = {"mAP": "mAP", "rank1": "Rank-1"}
SUMMARY = {
    "last": "after the last task",
    "mean": "mean over tasks",
    "seen": "seen average",
    "forgetting": "forgetting, points",
    "unseen-averaged": "unseen, averaged",
    "unseen-merged": "unseen, merged",
}
"""What the parts of a summary are called; all but ``mean`` and ``forgetting`` are after the last task."""


def heading(name: str) -> str:
    """Return what people call an entry of a summary, such as ``last/mAP``."""
    what, score = name.split("/")
    return f"{SUMMARY[what]}, {HEADINGS[score]}"


def to_markdown(result: Mapping[str, Any], manifest: Mapping[str, Any]) -> str:
    """Return the tables of a result, and what they are of."""
    about = (
        f"Recipe {result['recipe']}, seed {result['seed']}; {result['settings']}. {manifest['rule'].capitalize()}. "
        f"Protocol {manifest['protocol']}. Manifest {manifest['sha256'][:16]}. In percent."
    )
    kind = result["benchmark"]
    summary = [[heading(name), percent(value)] for name, value in result["summary"].items()]
    parts = [
        f"# {'Tasks within one dataset' if kind == 'intra' else 'One domain after the other'}",
        about,
        "## Summary",
        table(("", "value"), summary),
        *(_intra(result) if kind == "intra" else _inter(result)),
        "## What is trained",
        table(
            ("task", "dataset", "identities", "images"),
            [
                [task["name"], task["dataset"], f"{task['identities']:,}", f"{task['images']:,}"]
                for task in manifest["tasks"]
            ],
            num_words=2,
        ),
    ]
    return "\n\n".join([*parts, *notes_on(manifest)]) + "\n"


def notes_on(manifest: Mapping[str, Any]) -> list[str]:
    """Say what keeps the scores of a manifest from being compared with a paper's."""
    notes = []
    if "shuffled" in manifest["rule"]:
        notes.append("Shuffled tasks are this project's own: their scores do not compare with a paper's.")
    if manifest["missing"]:
        missing = ", ".join(manifest["missing"])
        notes.append(f"Unseen sets of the benchmark that are not there, and are not tested: {missing}.")
    return notes


def _intra(result: Mapping[str, Any]) -> list[str]:
    rows = [[task["name"], *(percent(task["seen"][score]) for score in SCORES)] for task in result["tasks"]]
    return [
        "## After each task",
        "The whole test set of the dataset, always the same, of identities that no task trains on. So this is how well "
        "the model generalises within its domain; what it forgets of the people of earlier tasks is not measured.",
        table(("after", *HEADINGS.values()), rows),
    ]


def _inter(result: Mapping[str, Any]) -> list[str]:
    parts = [
        "## Seen domains",
        "Each domain in its own gallery, by the model after the row's task; mean: every domain counts once.",
        _by_task(result["tasks"], lambda task: {**task["datasets"], "mean": task["seen"]}),
    ]
    if "unseen" in result["tasks"][-1]:
        parts += [
            "## Unseen datasets",
            "Each in its own gallery; averaged: their mean (as DKP); merged: all in one gallery, identities and "
            "cameras kept apart (as AKA). The two are not comparable.",
            _by_task(result["tasks"], lambda task: _unseen(task["unseen"])),
        ]
    return parts


def _unseen(unseen: Mapping[str, Any]) -> dict[str, Any]:
    return {**unseen["datasets"], "averaged": unseen["averaged"], "merged": unseen["merged"]}


def _by_task(tasks: Sequence[Mapping[str, Any]], columns_of: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> str:
    """Draw mAP / Rank-1 by task and dataset; the last task has all columns."""
    columns = list(columns_of(tasks[-1]))
    rows = []
    for task in tasks:
        found = columns_of(task)
        scores = {name: " / ".join(percent(one[score]) for score in SCORES) for name, one in found.items()}
        rows.append([task["name"], *(scores.get(name, "") for name in columns)])
    return table(("after", *(f"{name}, mAP / Rank-1" for name in columns)), rows)


def chart(result: Mapping[str, Any]) -> str:
    """Draw the curves over tasks, and return the SVG: seen, and both kinds of unseen where there are any."""
    tasks = result["tasks"]
    number = list(range(1, len(tasks) + 1))
    what = "test set" if result["benchmark"] == "intra" else "seen, mean"
    series = {f"{what}, {HEADINGS[score]}": (number, [task["seen"][score] for task in tasks]) for score in SCORES}
    if "unseen" in tasks[-1]:
        for how in ("averaged", "merged"):
            values = [task["unseen"][how]["mAP"] for task in tasks]
            series[f"unseen, {how}, mAP"] = (number, values)
    step = max(1, len(tasks) // 10)
    return line_chart(
        series, x_label="tasks learned", y_label="score", y_is_percent=True, x_ticks=number[step - 1 :: step]
    )


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, num_words: int = 1) -> str:
    """Draw a table in Markdown whose first columns are words and whose others are numbers."""
    ruler = ["---"] * num_words + ["---:"] * (len(columns) - num_words)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (columns, ruler, *rows))


def percent(value: float) -> str:
    """Write a fraction of 1 in percent."""
    return f"{100 * value:.1f}"
