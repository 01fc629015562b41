"""Results of a sequence of models as people read them: tables in Markdown, percent with one decimal."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.compatibility.measures import Forgetting, forgetting
from evaluation.compatibility.results import KINDS, from_json, measures_of
from evaluation.compatibility.sequence import SequenceResult

DEFINITIONS: dict[Forgetting, str] = {
    "avalanche": "right after learning - at the end",
    "chaudhry": "best before the end - at the end",
    "mammoth": "best, the end included - at the end",
}


def to_markdown(result: SequenceResult | Mapping[str, Any]) -> str:
    """Return tables of the stages, of models by galleries, and of the measures, with what they mean.

    Args:
        result: What `evaluate_stages` returned, or its JSON.

    Raises:
        ValueError: If it is JSON of something else.
    """
    found = result if isinstance(result, SequenceResult) else from_json(result)
    parts = [_stages(found), _datasets(found), _models_by_galleries(found), _measures(found)]
    return "\n\n".join([*parts, *([_unseen(found)] if found.unseen else [])]) + "\n"


def _stages(result: SequenceResult) -> str:
    columns = ["after stage", *(f"{word}, {score}" for word in KINDS.values() for score in ("mAP", "Rank-1"))]
    micro, macro = [], []
    for stage in result.stages:
        joint = [getattr(stage, kind) for kind in KINDS]
        micro.append([stage.name, *(_percent(value) for one in joint for value in (one.mAP, one.rank1))])
        macro.append([stage.name, *(_percent(value) for one in joint for value in (one.macro_mAP, one.macro_rank1))])
    return "\n\n".join(
        [
            "## All queries against all galleries together",
            "Stored galleries: queries by the newest model, each gallery as the model of its own stage extracted it. "
            "Extracted anew: galleries by the newest model too. No update: queries and gallery of each dataset by the "
            "model of its own stage. First model: everything by the model of the first stage.",
            "Mean over all queries, so that large datasets count more, in percent:",
            _table(columns, micro),
            "Mean over the datasets, in percent:",
            _table(columns, macro),
        ]
    )


def _datasets(result: SequenceResult) -> str:
    last = result.stages[-1]
    rows = []
    for k, name in enumerate(result.names):
        stored, anew = last.stored.datasets[k], last.re_extracted.datasets[k]
        alone = result.table.mAP[last.number, k], result.own.mAP[last.number, k]
        rows.append([name, f"{stored.num_queries:,}", *(_percent(value) for value in (stored.mAP, anew.mAP, *alone))])
    kinds = ("stored", "re-extracted", "stored, alone", "re-extracted, alone")
    return "\n\n".join(
        [
            f"## Each dataset after stage {last.name}",
            'mAP in percent, against the galleries of all datasets together, and "alone" against the dataset\'s own: '
            "that difference is the growth of the gallery, no forgetting.",
            _table(["queries of", "number", *kinds], rows),
        ]
    )


def _models_by_galleries(result: SequenceResult) -> str:
    columns = ["model \\ dataset", *result.names]
    return "\n\n".join(
        [
            "## Models by galleries",
            "mAP in percent. Row: the model of the queries. Column: dataset, its gallery as stored by its own model.",
            _table(columns, _square(result.names, result.table.mAP)),
            "The same with the gallery re-extracted by the model of the row:",
            _table(columns, _square(result.names, result.own.mAP)),
        ]
    )


def _measures(result: SequenceResult) -> str:
    found = measures_of(result)
    compatible = found["average_compatibility"]
    rows = [
        ["average compatibility, strict", "pairs in which a newer model beats the gallery's own", compatible["strict"]],
        ["average compatibility, non-strict", "pairs in which it beats or equals it", compatible["non_strict"]],
        ["average accuracy", "mean of all models against the galleries up to their own", found["average_accuracy"]],
        ["backward transfer, stored galleries", "at the end - right after learning", found["backward_transfer"]],
    ]
    for where, table_TT in (("stored galleries", result.table.mAP), ("re-extracted", result.own.mAP)):
        for definition, meaning in DEFINITIONS.items():
            rows.append([f"forgetting ({definition}), {where}", meaning, forgetting(table_TT, definition=definition)])
    rows = [[name, meaning, _percent(value)] for name, meaning, value in rows]
    gains = [[one["model"], one["gallery"], _percent(one["gain"])] for one in found["update_gain"]]
    explained = (
        "Update gain: which part of the gain of extracting the gallery anew by the same model is had without doing so. "
        "0 is none, 100 all, negative a loss; empty where extracting anew gains nothing."
    )
    parts = ["## Measures", "Of mAP, in percent or percent points.", _table(["measure", "meaning", ""], rows, 2)]
    if gains:
        parts += [explained, _table(["queries by", "gallery of", "gain"], gains, 2)]
    return "\n\n".join(parts)


def _unseen(result: SequenceResult) -> str:
    names = [dataset.name for dataset in result.unseen[0].datasets]
    columns = ["model", *(f"{name}, {score}" for name in [*names, "mean"] for score in ("mAP", "Rank-1"))]
    rows = [
        [model.model, *(_percent(value) for one in (*model.datasets, model) for value in (one.mAP, one.rank1))]
        for model in result.unseen
    ]
    about = "Datasets that no stage learned, each with its own gallery, queries and gallery by the model of the row."
    return "\n\n".join(["## Unseen datasets", f"{about} In percent.", _table(columns, rows)])


def _square(names: Sequence[str], score_TT: NDArray[np.float64]) -> list[list[str]]:
    return [[name, *map(_percent, score_T)] for name, score_T in zip(names, score_TT, strict=True)]


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]], num_words: int = 1) -> str:
    """Draw a table whose first columns are words and whose others are numbers."""
    ruler = ["---"] * num_words + ["---:"] * (len(columns) - num_words)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (columns, ruler, *rows))


def _percent(value: float) -> str:
    return "" if np.isnan(value) else f"{100 * value:.1f}"
