"""Continual meta metric learning on drawn streets over several seeds: python -m benchmarks.studies.metric_seeds.

Domains (styles of the street) come one after the other; one more style is never trained on. Every method takes the same
number of steps with the same number of images. DMML, DwPP and DwoPP go on from one first stage, so that they differ in
the distillation alone; it is run at equal temperatures for both arms, which the authors' scripts do not do.
"""

import multiprocessing
import os
import shutil
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from typing import Any

import tyro

from benchmarks.studies.lifelong_seeds import domain, draw
from benchmarks.studies.tables import spread
from cluster import storage
from cluster.console import console, print_result
from cluster.values import override
from lifelong.protocols.manifest import make_manifest
from lifelong.protocols.run import MANIFEST, run_benchmark
from lifelong.recipes import find_recipe
from lifelong.runs.backend import LocalBackend
from lifelong.runs.run import open_run
from lifelong.runs.scores import BenchmarkScoring
from lifelong.runs.sequence import run_sequence
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


def main(
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4),
    styles: tuple[int, ...] = (0, 1, 2),
    arms: tuple[str, ...] = tuple(ARMS),
    steps: int = 150,
    out: str = "out/metric-seeds",
    processes: int = 2,
    over: tuple[str, ...] = (),
) -> None:
    """Run every arm on every seed and print the table of means and standard deviations as Markdown.

    Args:
        seeds: Seeds of people, weights and samples.
        styles: Domains, in the order in which they come.
        arms: Which rows of the table.
        steps: Optimiser steps of every stage.
        out: Streets and runs go below it; finished ones are kept.
        processes: Runs at the same time, one thread each.
        over: Changed settings of every arm, NAME=VALUE.
    """
    began = time.perf_counter()
    out = storage.resolve(out)
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        drawn = [(out, seed, style) for seed in seeds for style in (*styles, UNSEEN_STYLE)]
        list(pool.map(draw, *zip(*drawn, strict=True)))
        firsts = sorted({(out, seed, styles, _first_of(arm), steps, over) for seed in seeds for arm in arms})
        list(pool.map(_first, *zip(*firsts, strict=True)))
        jobs = [(out, seed, styles, arm, steps, over) for seed in seeds for arm in arms]
        found = list(pool.map(_run, *zip(*jobs, strict=True)))
    results: dict[str, list[dict[str, Any]]] = {arm: [] for arm in arms}
    for (_, _, _, arm, _, _), result in zip(jobs, found, strict=True):
        results[arm].append(result["summary"])
    text = table(results)
    console.print(text, markup=False)
    final = {"seeds": list(seeds), "styles": list(styles), "steps": steps, "over": list(over), "results": results}
    storage.write_json(storage.join(out, "results.json"), final | {"table": text})
    print_result({"seconds": round(time.perf_counter() - began), "out": storage.join(out, "results.json")})


def _first_of(arm: str) -> str:
    """Return whose first stage an arm goes on from: distillation begins with the second."""
    return "dmml-finetune" if ARMS[arm][0] in ("dwpp", "dwopp") else ARMS[arm][0]


def _plan(out: str, seed: int, styles: tuple[int, ...], arm: str, steps: int, over: tuple[str, ...]) -> LifelongPlan:
    method, settings = ARMS[arm]
    changes = dict(text.split("=", 1) for text in over)
    stages = []
    for number, style in enumerate(styles):
        made = find_recipe(f"{method if number else _first_of(arm)}-tiny")()
        config = override(replace(made, seed=seed, steps=steps), changes | (settings if number else {}))
        stages.append(Stage(name=f"style{style}", dataset=domain(out, seed, style), config=config))
    return LifelongPlan(stages=tuple(stages), unseen=(f"unseen={domain(out, seed, UNSEEN_STYLE)}",))


def _first(out: str, seed: int, styles: tuple[int, ...], arm: str, steps: int, over: tuple[str, ...]) -> None:
    plan = _plan(out, seed, styles, arm, steps, over)
    run_sequence(replace(plan, stages=plan.stages[:1]), f"{out}/first/{arm}/{seed}", LocalBackend(), evaluate=False)


def _run(out: str, seed: int, styles: tuple[int, ...], arm: str, steps: int, over: tuple[str, ...]) -> dict[str, Any]:
    run = f"{out}/runs/{arm.replace(', T = ', '-')}/{seed}"
    plan, scoring = _plan(out, seed, styles, arm, steps, over), BenchmarkScoring()
    manifest = make_manifest(plan, "inter", protocol=scoring.protocol)
    if not os.path.exists(f"{run}/{MANIFEST}"):
        shutil.rmtree(run, ignore_errors=True)
        open_run(f"{out}/first/{_first_of(arm)}/{seed}").copy(run)
        storage.write_json(f"{run}/{MANIFEST}", manifest)
    return run_benchmark(plan, run, LocalBackend(), manifest, scoring)


def table(results: dict[str, list[dict[str, float]]]) -> str:
    """Format the scores after the last stage, mean and standard deviation over the seeds, percent."""
    lines = [f"| method | {' | '.join(COLUMNS)} |", "|---" * (len(COLUMNS) + 1) + "|"]
    for arm, found in results.items():
        cells = [spread([one[name] for one in found]) for name in COLUMNS.values()]
        lines.append(f"| {arm} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    tyro.cli(main)
