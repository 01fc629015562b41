"""The methods of `lifelong` on drawn streets over several seeds.

Each seed has its own people in every domain (a domain is a style of the street) and its own weights. All methods of a
seed go on from one first stage, so that they differ in what comes after it; then each runs the other stages. The
trainings are those of ``python -m lifelong run``, in one process without Ray's start-up time.
"""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from benchmarks.studies.labelled_streets import about, domain, draw, street
from benchmarks.studies.study import Numbers, Place, Preparation, Results, Study, changes_of
from benchmarks.studies.tables import markdown, spread
from cluster import storage
from cluster.values import override, to_json
from lifelong.recipes import find_recipe
from lifelong.runs.backend import LocalBackend
from lifelong.runs.run import open_run
from lifelong.runs.sequence import run_sequence
from lifelong.stages.config import StageConfig
from lifelong.stages.plan import LifelongPlan, Stage

METHODS = (
    "finetune",
    "lwf",
    "replay",
    "relation-kd",
    "bct",
    "lreid-bc",
    "lreid-bc-no-compatibility",
    "lreid-bc-no-parts",
    "lreid-bc-average",
    "joint",
)
FIRST = "lreid-bc"
"""Whose first stage all methods share: it has a part head and a memory, which others do not use."""
SCORES = {"stored": "stored", "re-extracted": "re_extracted", "no update": "no_update", "first model": "first_model"}
"""The four headline scores, and what results of a run call them."""


def study(
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4),
    styles: tuple[int, ...] = (0, 1, 2),
    arms: tuple[str, ...] = METHODS,
    over: tuple[str, ...] = (),
) -> Study:
    """Make the study.

    Args:
        seeds: Seeds of people, weights and samples.
        styles: Domains, in the order in which they come.
        arms: Methods of the recipes, without -tiny.
        over: Changed settings of every method, NAME=VALUE.
    """
    changes = changes_of(over)
    first = to_json(config_of(FIRST, 0, changes))
    drawn = draw(street(style, seed) for seed in seeds for style in styles)
    firsts = {
        first_name(seed): Preparation(
            {"config": first, **about(styles[:1]), "seed": seed}, partial(_first, seed, styles, changes)
        )
        for seed in seeds
    }
    return Study(
        name="lifelong-seeds",
        arms={arm: {"first": first, "others": to_json(config_of(arm, 0, changes))} for arm in arms},
        seeds=seeds,
        run=partial(_run, styles, changes),
        table=table,
        options={**about(styles), "over": list(over)},
        prepare=(drawn, firsts),
    )


def config_of(method: str, seed: int, changes: Mapping[str, str]) -> StageConfig:
    """Return how a stage is learned."""
    return override(replace(find_recipe(f"{method}-tiny")(), seed=seed), changes)


def first_name(seed: int) -> str:
    """Return under which name the first stage is prepared."""
    return f"first-{FIRST}-{seed}"


def plan_of(place: Place, seed: int, styles: tuple[int, ...], method: str, changes: Mapping[str, str]) -> LifelongPlan:
    """Return the whole run of a method."""
    methods = (FIRST, *[method] * (len(styles) - 1))
    return LifelongPlan(
        stages=tuple(
            Stage(
                name=f"style{style}",
                dataset=domain(place, street(style, seed)),
                config=config_of(name, seed, changes),
            )
            for style, name in zip(styles, methods, strict=True)
        )
    )


def _first(seed: int, styles: tuple[int, ...], changes: Mapping[str, str], place: Place) -> None:
    plan = plan_of(place, seed, styles, FIRST, changes)
    run_sequence(replace(plan, stages=plan.stages[:1]), place.folder, LocalBackend())


def _run(styles: tuple[int, ...], changes: Mapping[str, str], arm: str, seed: int, place: Place) -> Numbers:
    go_on_from(place.prepared(first_name(seed)), place.folder)
    return numbers_of(run_sequence(plan_of(place, seed, styles, arm, changes), place.folder, LocalBackend()))


def go_on_from(first: str, run: str) -> None:
    """Copy a first stage, unless that is done: a copy that was cut short has no plan."""
    if not storage.exists(f"{run}/plan.json"):
        shutil.rmtree(run, ignore_errors=True)
        open_run(first).copy(run)


def numbers_of(result: Mapping[str, Any]) -> Numbers:
    """Take what is kept out of a run's results: scores after the last stage, fractions of 1."""
    last, measures = result["stages"][-1], result["measures"]
    return {
        "joint": {name: last[key] for name, key in SCORES.items()},
        "macro": {name: last["macro"][key] for name, key in SCORES.items()},
        "table_mAP": result["table"]["mAP"],
        "average_compatibility": measures["average_compatibility"],
        "forgetting": measures["forgetting"],
    }


def table(results: Results) -> str:
    """Format the scores after the last stage, mean and standard deviation over the seeds, percent."""
    columns = ("stored mAP", "stored Rank-1", *(f"{name} mAP" for name in SCORES if name != "stored"))
    rows = []
    for arm, by_seed in results.items():
        found = list(by_seed.values())
        cells = [
            [one["joint"]["stored"]["mAP"] for one in found],
            [one["joint"]["stored"]["rank1"] for one in found],
            *([one["joint"][name]["mAP"] for one in found] for name in SCORES if name != "stored"),
            [one["macro"]["stored"]["mAP"] for one in found],
            [one["average_compatibility"]["strict"] for one in found],
            [one["forgetting"]["avalanche"] for one in found],
        ]
        rows.append([f"`{arm}`", *map(spread, cells)])
    return markdown(["method", *columns, "stored macro mAP", "AC", "forgetting"], rows)
