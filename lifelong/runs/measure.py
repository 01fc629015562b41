"""What is measured of a run: features of every dataset by the models that the protocol asks for, and their scores."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from cluster import storage
from cluster.console import console
from cluster.errors import InputError
from evaluation.compatibility.chart import table_chart
from evaluation.compatibility.markdown import to_markdown
from evaluation.compatibility.protocol import Split, evaluate_stages, evaluate_unseen
from evaluation.compatibility.results import to_json
from evaluation.compatibility.sequence import SequenceResult
from evaluation.datasets.registry import read_dataset
from evaluation.datasets.rows import ImageRow
from evaluation.features.parquet import read_parquet, write_features
from evaluation.features.table import Features
from lifelong.runs.files import features_file, model_folder, read_done, stage_folder
from lifelong.runs.local import Backend
from lifelong.runs.scores import BenchmarkScoring, matcher_of, score_model
from lifelong.runs.scores import extract as embed_missing
from lifelong.stages.plan import LifelongPlan, named

MOST_IN_A_CHART = 12
"""Stages; more cannot be read in a heat map, and the tables have them all."""


def extract(run: str, plan: LifelongPlan, number: int, backend: Backend) -> None:
    """Embed what the evaluation after a stage needs and no earlier stage has left; nothing is written twice.

    The gallery of a dataset that users search is the one by the model of its own stage. What else is embedded serves
    the comparison: galleries by later models (``reindex``), everything by the first (``frozen``), and queries of the
    new dataset by older models.

    Args:
        run: Location of the run.
        plan: Of the run.
        number: Of the stage that has just finished, from 1.
        backend: Where images are embedded.
    """
    wanted: dict[int, dict[str, list[ImageRow]]] = {model: {} for model in range(1, number + 1)}
    for k in range(1, number + 1):
        tested = [row for row in plan.stages[k - 1].rows() if row.split != "train"]
        wanted[number][plan.stages[k - 1].name] = tested
    newest = wanted[number][plan.stages[number - 1].name]
    for model in range(1, number):
        images = newest if model == 1 else [row for row in newest if row.split == "query"]
        wanted[model][plan.stages[number - 1].name] = images
    for name, spec in map(named, plan.unseen):
        wanted[number][name] = [row for row in read_dataset(spec, any_counts=True) if row.split != "train"]
    for model, datasets in wanted.items():
        _embed(run, plan, model, datasets, backend)


def _embed(run: str, plan: LifelongPlan, model: int, datasets: Mapping[str, list[ImageRow]], backend: Backend) -> None:
    """Embed those datasets of which a model has left no features, all at once: a model is loaded once in a worker."""
    missing = {name: rows for name, rows in datasets.items() if not storage.exists(features_file(run, name, model))}
    if not missing:
        return
    use_gpu = plan.stages[model - 1].config.scale.use_gpu
    rows = [row for part in missing.values() for row in part]
    features = backend.embed(rows, model_folder(run, plan, model), use_gpu=use_gpu)
    start = 0
    for name, part in missing.items():
        write_features(features_file(run, name, model), features.take(np.arange(start, start + len(part))))
        start += len(part)


def match(run: str, plan: LifelongPlan, number: int, backend: Backend) -> None:
    """Score the model of a stage by QAConv too, if it has a matching branch, and note that in ``matching.json``.

    Every dataset so far is extracted anew and searched in its own gallery: maps of different models are not comparable,
    and the gallery that grows with the run holds embeddings alone.
    """
    model, location = model_folder(run, plan, number), storage.join(run, "matching.json")
    found: dict[str, Any] = storage.read_json(location) if storage.exists(location) else {}
    name = plan.stages[number - 1].name
    scoring = BenchmarkScoring()
    if name in found or matcher_of(model, scoring) == "cosine":
        return
    seen = {stage.name: stage.rows() for stage in plan.stages[:number]}
    unseen = {label: read_dataset(spec, any_counts=True) for label, spec in map(named, plan.unseen)}
    tested = {
        features_file(run, label, number): [row for row in rows if row.split != "train"]
        for label, rows in (seen | unseen).items()
    }
    use_gpu = plan.stages[number - 1].config.scale.use_gpu
    embed_missing(tested, model, backend, matcher="qaconv", use_gpu=use_gpu)
    files, others = ({label: features_file(run, label, number) for label in part} for part in (seen, unseen))
    found[name] = score_model(files, others, "qaconv", scoring)
    storage.write_json(location, found)
    each = ", ".join(f"{label} {100 * scores['mAP']:.1f} %" for label, scores in found[name]["datasets"].items())
    console.print(f"stage {number}, {name}: mAP by QAConv, galleries extracted anew: {each}", markup=False)


def stored_gallery(run: str, plan: LifelongPlan, number: int) -> Features:
    """Return the gallery of a stage's dataset by the stage's own model."""
    return read_parquet(features_file(run, plan.stages[number - 1].name, number)).select("gallery")


def measure(run: str, plan: LifelongPlan, *, upto: int | None = None) -> SequenceResult:
    """Score all stages so far under the joint protocol, and write values, tables and a heat map (``results.*``).

    Args:
        run: Location of the run.
        plan: Of the run.
        upto: How many stages count; all finished ones unless given.

    Raises:
        InputError: If no stage is finished.
    """
    finished = [k for k in range(1, len(plan.stages) + 1) if read_done(stage_folder(run, plan, k))]
    number = len(finished) if upto is None else upto
    if not number:
        raise InputError(f"{run} has no finished stage yet; python -m lifelong run goes on with it")
    names = [stage.name for stage in plan.stages[:number]]
    console.print(f"scoring {number} stages: queries of the newest model against galleries of all", markup=False)

    def source(datasets: Sequence[str]) -> Any:
        def read(model: int, dataset: int, split: Split) -> Features | None:
            location = features_file(run, datasets[dataset], model + 1)
            if not storage.exists(location):
                return None
            found = read_parquet(location)
            return found.select(split) if split in found.split else None

        return read

    result = evaluate_stages(names, source(names))
    unseen = [name for name, _ in map(named, plan.unseen)]
    if unseen:
        result = replace(result, unseen=evaluate_unseen(unseen, source(unseen), models=names))
    storage.write_json(storage.join(run, "results.json"), to_json(result))
    storage.write_bytes(storage.join(run, "results.md"), to_markdown(result).encode())
    if number <= MOST_IN_A_CHART:
        storage.write_bytes(storage.join(run, "results.svg"), table_chart(result).encode())
    return result
