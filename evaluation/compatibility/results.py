"""Results of a sequence of models as JSON, and back. Fractions of 1; what is not known is null, NaN in memory."""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cluster.errors import InputError
from evaluation.compatibility.measures import (
    average_accuracy,
    average_compatibility,
    backward_transfer,
    forgetting,
    update_gain,
)
from evaluation.compatibility.sequence import (
    DatasetScores,
    JointScores,
    ScoreTable,
    SequenceResult,
    StageScores,
    UnseenScores,
)

KINDS = {"stored": "stored", "re_extracted": "re-extracted", "no_update": "no update", "first_model": "first model"}
"""Fields of `StageScores`, and how people read them."""


def measures_of(result: SequenceResult) -> dict[str, Any]:
    """Return all measures of the mAP of stored galleries; NaN where they need what is not known."""
    table_TT, own_TT = result.table.mAP, result.own.mAP
    gains = [
        {
            "model": result.names[i],
            "gallery": result.names[j],
            "gain": update_gain(table_TT[i, j], table_TT[j, j], own_TT[i, j]),
        }
        for j, i in combinations(range(len(result.names)), 2)
        if not np.isnan(table_TT[i, j])
    ]
    return {
        "average_compatibility": {
            "strict": average_compatibility(table_TT, ties="strict"),
            "non_strict": average_compatibility(table_TT, ties="non-strict"),
        },
        "average_accuracy": average_accuracy(table_TT),
        "forgetting": {
            "avalanche": forgetting(table_TT, definition="avalanche"),
            "chaudhry": forgetting(table_TT, definition="chaudhry"),
            "mammoth": forgetting(table_TT, definition="mammoth"),
        },
        "backward_transfer": backward_transfer(table_TT),
        "update_gain": gains,
        "update_gain_paragon": "the same model with the gallery re-extracted",
    }


def to_json(result: SequenceResult) -> dict[str, Any]:
    """Return a result as JSON values, with its measures."""
    return _known(
        {
            "stages": [_stage_json(stage, result) for stage in result.stages],
            "table": _table_json(result.table),
            "own": _table_json(result.own),
            "measures": measures_of(result),
            "unseen": {
                model.model: {"mAP": model.mAP, "rank1": model.rank1, "datasets": [_row(one) for one in model.datasets]}
                for model in result.unseen
            },
        }
    )


def from_json(saved: Mapping[str, Any]) -> SequenceResult:
    """Return the result that `to_json` was given; measures are made from it anew.

    Raises:
        InputError: If it is no such JSON.
    """
    try:
        return SequenceResult(
            names=tuple(row["name"] for row in saved["stages"][-1]["datasets"]),
            stages=tuple(
                StageScores(**{kind: _joint(stage["datasets"], lambda row, k=kind: row[k]) for kind in KINDS})
                for stage in saved["stages"]
            ),
            table=_table(saved["table"]),
            own=_table(saved["own"]),
            unseen=tuple(
                UnseenScores(model=name, datasets=_joint(model["datasets"], lambda row: row).datasets)
                for name, model in saved["unseen"].items()
            ),
        )
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise InputError(f"this is not the JSON of a sequence of models: {error!r}; write it with to_json") from error


def _stage_json(stage: StageScores, result: SequenceResult) -> dict[str, Any]:
    joint: dict[str, JointScores] = {kind: getattr(stage, kind) for kind in KINDS}
    t = stage.number
    alone = {"stored": result.table, "re_extracted": result.own}
    return {
        "name": stage.name,
        **{kind: {"mAP": scores.mAP, "rank1": scores.rank1} for kind, scores in joint.items()},
        "macro": {kind: {"mAP": scores.macro_mAP, "rank1": scores.macro_rank1} for kind, scores in joint.items()},
        "datasets": [
            {
                "name": name,
                "num_queries": stage.stored.datasets[k].num_queries,
                **{
                    kind: {"mAP": scores.datasets[k].mAP, "rank1": scores.datasets[k].rank1}
                    for kind, scores in joint.items()
                },
            }
            for k, name in enumerate(result.names[: t + 1])
        ],
        "isolated": [
            {
                "name": name,
                **{kind: {"mAP": table.mAP[t, k], "rank1": table.rank1[t, k]} for kind, table in alone.items()},
            }
            for k, name in enumerate(result.names[: t + 1])
        ],
    }


def _row(scores: DatasetScores) -> dict[str, Any]:
    return {"name": scores.name, "num_queries": scores.num_queries, "mAP": scores.mAP, "rank1": scores.rank1}


def _joint(
    rows: Sequence[Mapping[str, Any]], scores: Callable[[Mapping[str, Any]], Mapping[str, float]]
) -> JointScores:
    return JointScores(
        datasets=tuple(
            DatasetScores(
                name=row["name"],
                num_queries=row["num_queries"],
                mAP=scores(row)["mAP"],
                rank1=scores(row)["rank1"],
            )
            for row in rows
        )
    )


def _table_json(table: ScoreTable) -> dict[str, Any]:
    return {"mAP": table.mAP.tolist(), "rank1": table.rank1.tolist()}


def _table(saved: Mapping[str, Any]) -> ScoreTable:
    return ScoreTable(mAP=_array(saved["mAP"]), rank1=_array(saved["rank1"]))


def _array(rows: Sequence[Sequence[float | None]]) -> NDArray[np.float64]:
    return np.array([[np.nan if value is None else value for value in row] for row in rows], np.float64)


def _known(value: Any) -> Any:
    """Return JSON values with null in the place of NaN, and no numbers of NumPy."""
    if isinstance(value, Mapping):
        return {name: _known(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_known(one) for one in value]
    if isinstance(value, float):
        return None if math.isnan(value) else float(value)
    return value
