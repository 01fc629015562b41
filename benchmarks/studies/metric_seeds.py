"""Continual meta metric learning on drawn streets over several seeds.

Domains (styles of the street) come one after the other; one more style is never trained on. Every method takes the same
number of steps with the same number of images. DMML, DwPP and DwoPP go on from one first stage, so that they differ in
the distillation alone; it is run at equal temperatures for both arms, which the authors' scripts do not do.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

from benchmarks.studies.labelled_streets import about, domain, draw, street
from benchmarks.studies.lifelong_seeds import go_on_from
from benchmarks.studies.study import Numbers, Place, Preparation, Results, Study, changes_of, check_known
from benchmarks.studies.tables import markdown, spread
from cluster import storage
from cluster.values import override, to_json
from lifelong.protocols.manifest import make_manifest
from lifelong.protocols.run import MANIFEST, run_benchmark
from lifelong.recipes import find_recipe
from lifelong.runs.backend import LocalBackend
from lifelong.runs.scores import BenchmarkScoring
from lifelong.runs.sequence import run_sequence
from lifelong.stages.config import StageConfig
from lifelong.stages.plan import LifelongPlan, Stage

ARMS = {
    "bot-finetune": ("bot-finetune", {}),
    "dmml-finetune": ("dmml-finetune", {}),
    **{
        f"{method}, T = {temperature}": (method, {"loss.episode.temperature": str(temperature)})
        for temperature in (1, 10)
        for method in ("dwpp", "dwopp")
    },
    "joint": ("joint", {}),
}
"""Method and its changed settings by the name of the arm."""
UNSEEN_STYLE = 3
COLUMNS = {
    "seen mAP": "seen/mAP",
    "seen Rank-1": "seen/rank1",
    "forgetting mAP": "forgetting/mAP",
    "unseen mAP": "unseen-averaged/mAP",
    "unseen Rank-1": "unseen-averaged/rank1",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Shared:
    """What all arms share."""

    styles: tuple[int, ...]
    steps: int
    changes: Mapping[str, str]


def study(
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4),
    styles: tuple[int, ...] = (0, 1, 2),
    arms: tuple[str, ...] = tuple(ARMS),
    steps: int = 150,
    over: tuple[str, ...] = (),
) -> Study:
    """Make the study.

    Args:
        seeds: Seeds of people, weights and samples.
        styles: Domains, in the order in which they come.
        arms: Which rows of the table.
        steps: Optimiser steps of every stage.
        over: Changed settings of every arm, NAME=VALUE.
    """
    check_known(arms, ARMS)
    shared = Shared(styles=styles, steps=steps, changes=changes_of(over))
    firsts = {arm: to_json(config_of(shared, arm, seed=0, is_first=True)) for arm in arms}
    drawn = draw(street(style, seed) for seed in seeds for style in (*styles, UNSEEN_STYLE))
    first_stages = {
        first_name(arm, seed): Preparation(
            {"config": firsts[arm], **about(styles[:1]), "seed": seed}, partial(_first, shared, first_of(arm), seed)
        )
        for seed in seeds
        for arm in arms
    }
    return Study(
        name="metric-seeds",
        arms={arm: {"first": firsts[arm], "others": to_json(config_of(shared, arm, seed=0))} for arm in arms},
        seeds=seeds,
        run=partial(_run, shared),
        table=table,
        options={**about(styles), "unseen": UNSEEN_STYLE, "steps": steps, "over": list(over)},
        prepare=(drawn, first_stages),
    )


def first_of(arm: str) -> str:
    """Return whose first stage an arm goes on from: distillation begins with the second."""
    return "dmml-finetune" if ARMS[arm][0] in ("dwpp", "dwopp") else ARMS[arm][0]


def first_name(arm: str, seed: int) -> str:
    """Return under which name an arm's first stage is prepared."""
    return f"first-{first_of(arm)}-{seed}"


def config_of(shared: Shared, arm: str, *, seed: int, is_first: bool = False) -> StageConfig:
    """Return how a stage is learned."""
    method, settings = (first_of(arm), {}) if is_first else ARMS[arm]
    made = replace(find_recipe(f"{method}-tiny")(), seed=seed, steps=shared.steps)
    return override(made, {**shared.changes, **settings})


def plan_of(shared: Shared, arm: str, seed: int, place: Place) -> LifelongPlan:
    """Return the whole run of an arm."""
    stages = tuple(
        Stage(
            name=f"style{style}",
            dataset=domain(place, street(style, seed)),
            config=config_of(shared, arm, seed=seed, is_first=number == 0),
        )
        for number, style in enumerate(shared.styles)
    )
    return LifelongPlan(stages=stages, unseen=(f"unseen={domain(place, street(UNSEEN_STYLE, seed))}",))


def _first(shared: Shared, arm: str, seed: int, place: Place) -> None:
    plan = plan_of(shared, arm, seed, place)
    run_sequence(replace(plan, stages=plan.stages[:1]), place.folder, LocalBackend(), evaluate=False)


def _run(shared: Shared, arm: str, seed: int, place: Place) -> Numbers:
    plan, scoring = plan_of(shared, arm, seed, place), BenchmarkScoring()
    manifest = make_manifest(plan, "inter", protocol=scoring.protocol)
    if not storage.exists(f"{place.folder}/{MANIFEST}"):
        go_on_from(place.prepared(first_name(arm, seed)), place.folder)
        storage.write_json(f"{place.folder}/{MANIFEST}", manifest)
    return run_benchmark(plan, place.folder, LocalBackend(), manifest, scoring)["summary"]


def table(results: Results) -> str:
    """Format the scores after the last stage, mean and standard deviation over the seeds, percent."""
    rows = [
        [arm, *(spread([one[name] for one in by_seed.values()]) for name in COLUMNS.values())]
        for arm, by_seed in results.items()
    ]
    return markdown(["method", *COLUMNS], rows)
