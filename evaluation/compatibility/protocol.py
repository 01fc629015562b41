"""The evaluation of a sequence of models whose galleries are extracted once and kept ("all together, no backfilling").

After stage t the gallery holds the images of datasets 0 to t, each embedded by the model of its own stage, and all
queries are embedded by model t. Identities and cameras of different datasets are kept apart.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from cluster.errors import InputError
from evaluation.compatibility.joint import score_together
from evaluation.compatibility.sequence import JointScores, ScoreTable, SequenceResult, StageScores, UnseenScores
from evaluation.features.table import Features, concatenate
from evaluation.metrics.protocols import MARKET, Protocol

Split = Literal["query", "gallery"]
FeatureSource = Callable[[int, int, Split], Features | None]
"""Called with (model, dataset, split), numbers from 0: returns the features of that split by that model, None where
they were not extracted. It may read a file each time: what was just read is kept for a while."""
Parts = Sequence[tuple[int, int, int]]
"""Datasets, each with the models of its queries and of its gallery."""


def evaluate_stages(
    names: Sequence[str],
    features: FeatureSource,
    *,
    protocol: Protocol = MARKET,
    device: str = "cpu",
) -> SequenceResult:
    """Score the models of all stages, jointly over the datasets and dataset by dataset.

    The definition, as a loop, with ``M(queries, galleries)`` the scores of all queries against all galleries together::

        for t in range(T):
            stored[t] = M([query(t, k) for k <= t], [gallery(k, k) for k <= t])
            re_extracted[t] = M([query(t, k) for k <= t], [gallery(t, k) for k <= t])
            no_update[t] = M([query(k, k) for k <= t], [gallery(k, k) for k <= t])
            first_model[t] = M([query(0, k) for k <= t], [gallery(0, k) for k <= t])
        for i in range(T):
            for j in range(T):
                table[i, j] = M([query(i, j)], [gallery(j, j)])  # i < j: NaN where the query was not extracted
                own[i, j] = M([query(i, j)], [gallery(i, j)]) if j <= i else NaN

    Args:
        names: Of the T stages; that of a stage is also that of its dataset.
        features: Where the features are.
        protocol: The rules.
        device: Where distances are computed.

    Raises:
        InputError: If names are not all different, features are missing, of several models where one is meant, or of
            different sizes, the protocol draws its gallery from the queries, or a dataset's queries have no match.
    """
    _check_names(names, "stages")
    everything = range(len(names))
    read = functools.lru_cache(maxsize=4 * len(names))(features)  # about what a stage needs
    joint = functools.partial(_joint, names, names, read, protocol, device)
    table, own = np.full((2, 2, len(names), len(names)), np.nan)
    stages = []
    for i in everything:
        for j in everything:
            if i >= j or read(i, j, "query") is not None:
                table[:, i, j] = _alone(joint([(j, i, j)]))
            if i >= j:
                own[:, i, j] = table[:, i, j] if i == j else _alone(joint([(j, i, i)]))
        stages.append(_stage(joint, i))
    return SequenceResult(
        names=tuple(names),
        stages=tuple(stages),
        table=ScoreTable(mAP=table[0], rank1=table[1]),
        own=ScoreTable(mAP=own[0], rank1=own[1]),
    )


def evaluate_unseen(
    names: Sequence[str],
    features: FeatureSource,
    *,
    models: Sequence[str],
    protocol: Protocol = MARKET,
    device: str = "cpu",
) -> tuple[UnseenScores, ...]:
    """Score each model on datasets that no stage learned, each with its own gallery, both by that model.

    Args:
        names: Of the unseen datasets, in the order in which ``features`` counts them.
        features: Where the features are.
        models: Names of the stages.
        protocol: The rules.
        device: Where distances are computed.

    Raises:
        ValueError: As `evaluate_stages`.
    """
    _check_names(names, "unseen datasets")
    joint = functools.partial(_joint, models, names, features, protocol, device)
    return tuple(
        UnseenScores(model=model, datasets=tuple(joint([(k, t, t)]).datasets[0] for k in range(len(names))))
        for t, model in enumerate(models)
    )


def _stage(joint: Callable[[Parts], JointScores], t: int) -> StageScores:
    seen = range(t + 1)
    stored = joint([(k, t, k) for k in seen])
    if t == 0:  # one model and one dataset: all four are the same
        return StageScores(stored=stored, re_extracted=stored, no_update=stored, first_model=stored)
    return StageScores(
        stored=stored,
        re_extracted=joint([(k, t, t) for k in seen]),
        no_update=joint([(k, k, k) for k in seen]),
        first_model=joint([(k, 0, 0) for k in seen]),
    )


def _alone(scores: JointScores) -> tuple[float, float]:
    return scores.mAP, scores.rank1


def _joint(
    models: Sequence[str],
    datasets: Sequence[str],
    read: FeatureSource,
    protocol: Protocol,
    device: str,
    parts: Parts,
) -> JointScores:
    """Score queries and galleries of some datasets together, each by the models that are named."""

    def features(model: int, dataset: int, split: Split) -> Features:
        found = read(model, dataset, split)
        if found is None:
            raise InputError(
                f"the {split} images of {datasets[dataset]} were not embedded by the model of stage {models[model]}; "
                "embed them first"
            )
        return replace(found, split=np.full(len(found), split, object))

    tables = {
        datasets[dataset]: concatenate([features(query, dataset, "query"), features(gallery, dataset, "gallery")])
        for dataset, query, gallery in parts
    }
    is_mixed = len({model for _, *both in parts for model in both}) > 1
    return score_together(tables, protocol=protocol, is_mixed=is_mixed, device=device)


def _check_names(names: Sequence[str], what: str) -> None:
    if not names or len(set(names)) != len(names):
        raise InputError(f"the {what} need names, all different, got {', '.join(names) or 'none'}")
