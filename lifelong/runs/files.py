"""Where a run keeps what. Everything is found from the run's location, so that a run may be moved.

::

    RUN/plan.json                          the stages, in order; grows, and nothing in it changes
    RUN/start/                             the first weights, a model directory
    RUN/stages/01-NAME/model/              what the stage learned, a model directory
                       memory.parquet      images that later stages replay, features frozen for ever
                       network.safetensors the network with its heads, where the next stage begins
                       metrics.jsonl, tensorboard/, ray/, images.json, start.safetensors
                       done.json           written last: fingerprints, hashes, counts
    RUN/features/NAME/by-01.parquet        queries and gallery of a dataset by the model of a stage
    RUN/gallery/                           what is searched: every dataset's gallery, by the model of its own stage
    RUN/matching.json                      scores by QAConv, of models that have a matching branch
    RUN/results.json, results.md, results.svg   what is measured of all of it: values, tables, heat map
"""

from dataclasses import replace
from typing import Any

from cluster import storage
from cluster.errors import InputError
from lifelong.stages.plan import LifelongPlan, plan_from_json, plan_to_json


def stage_folder(run: str, plan: LifelongPlan, stage: int) -> str:
    """Return the folder of a stage, counted from 1."""
    return storage.join(run, "stages", f"{stage:02d}-{plan.stages[stage - 1].name}")


def model_folder(run: str, plan: LifelongPlan, stage: int) -> str:
    """Return the model directory of a stage; that of stage 0 holds the first weights."""
    return storage.join(stage_folder(run, plan, stage), "model") if stage else storage.join(run, "start")


def features_file(run: str, dataset: str, stage: int) -> str:
    """Return the features file of a dataset by the model of a stage, counted from 1."""
    return storage.join(run, "features", dataset, f"by-{stage:02d}.parquet")


def read_done(folder: str) -> dict[str, Any] | None:
    """Return what a finished stage left; None if it is not finished."""
    location = storage.join(folder, "done.json")
    return storage.read_json(location) if storage.exists(location) else None


def read_plan(run: str) -> LifelongPlan:
    """Read the plan of a run.

    Raises:
        InputError: If there is none.
    """
    location = storage.join(run, "plan.json")
    if not storage.exists(location):
        raise InputError(f"{run} is no run of python -m lifelong run (no plan.json); check the path")
    return plan_from_json(storage.read_json(location))


def copy_run(source: str, target: str) -> None:
    """Copy the finished stages of a run, to try something else after them; checkpoints stay behind.

    Raises:
        InputError: If the target holds anything, or the source is no run.
    """
    plan = read_plan(source)
    if storage.list_files(target):
        raise InputError(f"{target} is not empty; give another --out to copy {source} to")
    finished = [k for k in range(1, len(plan.stages) + 1) if read_done(stage_folder(source, plan, k))]
    folders = {stage_folder(source, plan, k) for k in finished}
    unfinished = {stage_folder(source, plan, k) for k in range(1, len(plan.stages) + 1)} - folders
    skipped = tuple(f"{folder}/" for folder in unfinished) + tuple(f"{folder}/checkpoints/" for folder in folders)
    # The plan comes last: without it, the copy is not a run yet.
    files = [file for file in storage.list_files(source) if not file.startswith(skipped)]
    for file in sorted(files, key=lambda name: storage.name_of(name) == "plan.json"):
        relative = file.removeprefix(source.rstrip("/") + "/")
        if relative == "plan.json":
            kept = replace(plan, stages=plan.stages[: len(finished)])
            storage.write_json(storage.join(target, relative), plan_to_json(kept))
        else:
            storage.write_bytes(storage.join(target, relative), storage.read_bytes(file))
