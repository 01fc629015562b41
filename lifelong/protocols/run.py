"""A benchmark from its plan to its results: trains, scores the model of every task, and goes on where it was.

Beside what a run leaves (`lifelong.runs.run`)::

    RUN/manifest.json                   what is trained and tested; written before training, and never changed
    RUN/features/NAME/by-01.parquet     queries and gallery of a dataset by the model of a task; .maps for QAConv
    RUN/scores/by-01.json               scores of the model of a task
    RUN/benchmark.json, benchmark.md, benchmark.svg
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from cluster import storage
from cluster.claims import claim
from cluster.console import console
from cluster.errors import InputError
from cluster.values import fingerprint, to_json
from evaluation.compatibility.measures import forgetting
from evaluation.datasets.registry import read_dataset
from evaluation.datasets.rows import ImageRow
from lifelong.protocols.manifest import Kind, first_difference, tested_stages
from lifelong.protocols.report import HEADINGS, chart, to_markdown
from lifelong.runs.backend import Backend
from lifelong.runs.embed import embed_missing
from lifelong.runs.run import Run, StageFolder
from lifelong.runs.scores import SCORES, BenchmarkScoring, matcher_of, score_model
from lifelong.runs.sequence import run_sequence
from lifelong.stages.plan import LifelongPlan, named, plan_to_json

MANIFEST, RESULTS = "manifest.json", "benchmark.json"


def run_benchmark(
    plan: LifelongPlan, out: str, backend: Backend, manifest: Mapping[str, Any], scoring: BenchmarkScoring
) -> dict[str, Any]:
    """Run or resume a benchmark.

    Args:
        plan: Its tasks.
        out: Location of the run.
        backend: Where tasks are trained and images embedded.
        manifest: Of the plan, see `make_manifest`.
        scoring: How models are scored; its protocol is the manifest's.

    Returns:
        The content of ``benchmark.json``.

    Raises:
        InputError: If the location holds something else, or a run of another manifest or other settings.
    """
    if scoring.protocol != manifest["protocol"]:
        raise InputError(f"the manifest is of protocol {manifest['protocol']}, not {scoring.protocol}; make it anew")
    _claim(plan, out, manifest)
    run_sequence(plan, out, backend, evaluate=False)
    run = Run(out, plan)
    tasks = [_score_task(stage, backend, manifest, scoring) for stage in run.stages]
    config = plan.stages[0].config
    result = {
        "benchmark": manifest["benchmark"],
        "manifest": manifest["sha256"],
        "recipe": config.recipe,
        "seed": config.seed,
        "config_fingerprint": fingerprint(config),
        "settings": _settings(run, scoring),
        "summary": summary_of(tasks, manifest["benchmark"]),
        "tasks": tasks,
    }
    storage.write_json(storage.join(out, RESULTS), result)
    storage.write_bytes(storage.join(out, "benchmark.md"), to_markdown(result, manifest).encode())
    storage.write_bytes(storage.join(out, "benchmark.svg"), chart(result).encode())
    return result


def _claim(plan: LifelongPlan, out: str, manifest: Mapping[str, Any]) -> None:
    """Write what is trained and tested before anything is, or check that it is what the run was begun with."""
    claim(out, dict(manifest), file=MANIFEST, what="benchmark", compare=_changes)
    planned = storage.join(out, "plan.json")
    if not storage.exists(planned):
        storage.write_json(planned, plan_to_json(plan))  # by it, run_sequence knows the folder as its own


def _changes(theirs: Mapping[str, Any], mine: Mapping[str, Any]) -> list[str]:
    difference = first_difference(theirs, mine)
    return [f"the data, {difference}"] if difference else []


def _settings(run: Run, scoring: BenchmarkScoring) -> str:
    """Name all that tells methods apart, the seed left out: runs that share it are seeds of one method."""
    plan, start = run.plan, "random"
    if plan.start:  # a safetensors file lacks the embedding layer, which the seed draws: its name stands for it
        start = storage.name_of(plan.start)
        if not start.endswith(".safetensors"):
            start = storage.read_json(storage.join(run.model(0), "config.json"))["fingerprint"]
    return f"config {fingerprint(replace(plan.stages[0].config, seed=0))}, start {start}, matcher {scoring.matcher}"


def _score_task(
    stage: StageFolder, backend: Backend, manifest: Mapping[str, Any], scoring: BenchmarkScoring
) -> dict[str, Any]:
    """Embed what the model of a task is tested on, and score it; what an earlier call left is not made again."""
    run, number = stage.run, stage.number
    matcher = matcher_of(stage.model, scoring)
    made_with = {
        "model_fingerprint": stage.fingerprint,
        "manifest": manifest["sha256"],
        "scoring": to_json(scoring) | {"matcher": matcher},
    }
    location = run.file(f"scores/by-{number:02d}.json")
    if storage.exists(location):
        found: dict[str, Any] = storage.read_json(location)
        if all(found.get(name) == value for name, value in made_with.items()):
            return found["scores"]
    seen, unseen = datasets_after(run.plan, manifest["benchmark"], number)
    file_of = {name: run.features(name, number) for name in seen | unseen}
    rows = {file_of[name]: _tested_rows(spec, stage.stage.any_counts) for name, spec in (seen | unseen).items()}
    use_gpu = stage.config.scale.use_gpu
    embed_missing(rows, stage.model, backend, use_gpu=use_gpu, with_maps=matcher == "qaconv")
    files, other_files = ({name: file_of[name] for name in names} for names in (seen, unseen))
    scores: dict[str, Any] = {"name": stage.name} | score_model(files, other_files, matcher, scoring)
    storage.write_json(location, made_with | {"scores": scores})
    shown = ", ".join(f"{HEADINGS[score]} {100 * scores['seen'][score]:.1f} %" for score in SCORES)
    console.print(f"after {stage.name}: {shown}, by {matcher}", markup=False)
    return scores


def datasets_after(plan: LifelongPlan, kind: Kind, number: int) -> tuple[dict[str, str], dict[str, str]]:
    """Return what the model of a task is tested on, name to spec: datasets that were trained on, and unseen ones."""
    tested = list(tested_stages(plan, kind).items())
    seen = {name: stage.dataset for name, stage in tested[:number]}
    return seen, dict(map(named, plan.unseen))


def _tested_rows(spec: str, any_counts: bool) -> list[ImageRow]:
    return [row for row in read_dataset(spec, any_counts=any_counts) if row.split != "train"]


def summary_of(tasks: list[dict[str, Any]], kind: str) -> dict[str, float]:
    """Return the numbers by which runs are compared, fractions of 1.

    ``intra``: the last value of the curve and its mean over tasks. Forgetting has no meaning there: the test set is of
    people that no task shows. ``inter``: after the last task, the mean over domains; by how much a domain is worse then
    than right after it was learned, mean over all but the last; and both kinds of unseen.
    """
    last = tasks[-1]
    found: dict[str, float] = {}
    for name in SCORES:
        found[f"{'last' if kind == 'intra' else 'seen'}/{name}"] = last["seen"][name]
        if kind == "intra":
            found[f"mean/{name}"] = float(np.mean([task["seen"][name] for task in tasks]))
            continue
        domains = list(last["datasets"])
        table = np.full((len(tasks), len(domains)), np.nan)
        for row, task in enumerate(tasks):
            table[row, : len(task["datasets"])] = [scores[name] for scores in task["datasets"].values()]
        found[f"forgetting/{name}"] = forgetting(table, definition="avalanche")
        if "unseen" in last:
            found |= {f"unseen-{how}/{name}": last["unseen"][how][name] for how in ("averaged", "merged")}
    return found
