"""What is measured of a run: scores of all stages together, and by QAConv where a model can match."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from cluster import storage
from cluster.console import console
from cluster.errors import InputError
from evaluation.compatibility.chart import table_chart
from evaluation.compatibility.markdown import to_markdown
from evaluation.compatibility.protocol import Split, evaluate_stages, evaluate_unseen
from evaluation.compatibility.results import to_json
from evaluation.compatibility.sequence import SequenceResult
from evaluation.datasets.rows import ImageRow
from evaluation.features.parquet import read_parquet
from evaluation.features.table import Features
from lifelong.runs.backend import Backend
from lifelong.runs.embed import embed_missing
from lifelong.runs.run import Run, StageFolder
from lifelong.runs.scores import BenchmarkScoring, matcher_of, score_model

MOST_IN_A_CHART = 12
"""Stages; more cannot be read in a heat map, and the tables have them all."""


def match(stage: StageFolder, backend: Backend) -> None:
    """Score the model of a stage by QAConv too, if it has a matching branch, and note that in ``matching.json``.

    Every dataset so far is re-extracted and searched in its own gallery: maps of different models are not comparable,
    and the gallery that grows with the run holds embeddings alone.
    """
    run, location, scoring = stage.run, stage.run.file("matching.json"), BenchmarkScoring()
    found: dict[str, Any] = storage.read_json(location) if storage.exists(location) else {}
    if stage.name in found or matcher_of(stage.model, scoring) == "cosine":
        return
    seen = {one.name: one.rows("query", "gallery") for one in run.stages[: stage.number]}
    tested: Mapping[str, Sequence[ImageRow]] = {**seen, **run.unseen}
    file_of = {name: run.features(name, stage.number) for name in tested}
    files = {file_of[name]: rows for name, rows in tested.items()}
    embed_missing(files, stage.model, backend, use_gpu=stage.config.scale.use_gpu, with_maps=True)
    own, others = ({name: file_of[name] for name in names} for names in (seen, run.unseen))
    found[stage.name] = score_model(own, others, "qaconv", scoring)
    storage.write_json(location, found)
    scores = found[stage.name]["datasets"]
    each = ", ".join(f"{name} {100 * one['mAP']:.1f} %" for name, one in scores.items())
    console.print(f"stage {stage.number}, {stage.name}: mAP by QAConv, galleries re-extracted: {each}", markup=False)


def measure(run: Run, *, upto: int | None = None) -> SequenceResult:
    """Score all stages so far under the joint protocol, and write values, tables and a heat map (``results.*``).

    Args:
        run: With some finished stages.
        upto: How many stages count; all finished ones unless given.

    Raises:
        InputError: If no stage is finished.
    """
    number = len(run.finished) if upto is None else upto
    if not number:
        raise InputError(f"{run.location} has no finished stage yet; python -m lifelong run goes on with it")
    names = [stage.name for stage in run.stages[:number]]
    console.print(f"scoring {number} stages: queries of the newest model against galleries of all", markup=False)

    def source(datasets: Sequence[str]) -> Any:
        def read(model: int, dataset: int, split: Split) -> Features | None:
            location = run.features(datasets[dataset], model + 1)
            if not storage.exists(location):
                return None
            found = read_parquet(location)
            return found.select(split) if split in found.split else None

        return read

    result = evaluate_stages(names, source(names))
    if unseen := list(run.unseen_names):
        result = replace(result, unseen=evaluate_unseen(unseen, source(unseen), models=names))
    storage.write_json(run.file("results.json"), to_json(result))
    storage.write_bytes(run.file("results.md"), to_markdown(result).encode())
    if number <= MOST_IN_A_CHART:
        storage.write_bytes(run.file("results.svg"), table_chart(result).encode())
    return result
