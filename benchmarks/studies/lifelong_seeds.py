"""The methods of `lifelong` on drawn streets over several seeds: python -m benchmarks.studies.lifelong_seeds.

Each seed has its own people in every domain (a domain is a style of the street) and its own weights. All methods of a
seed go on from one first stage, so that they differ in what comes after it; then each runs the other stages. The
trainings are those of ``python -m lifelong run``, in this machine's processes without Ray's start-up time.
"""

import multiprocessing
import os
import shutil
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from typing import Any

import tyro

from benchmarks.studies.tables import spread
from cluster import storage
from cluster.console import console, print_result
from cluster.values import override
from lifelong.recipes import find_recipe
from lifelong.runs.backend import LocalBackend
from lifelong.runs.run import open_run
from lifelong.runs.sequence import run_sequence
from lifelong.stages.plan import LifelongPlan, Stage
from pretrain.street.config import StreetConfig
from pretrain.street.write import write_labelled

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


def street(style: int, seed: int) -> StreetConfig:
    """A labelled domain."""
    return StreetConfig(
        style=style, seed=seed, identities=1, seconds=1, cameras=6, train_identities=60, test_identities=40, fps=5
    )


def main(
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4),
    styles: tuple[int, ...] = (0, 1, 2),
    methods: tuple[str, ...] = METHODS,
    out: str = "out/lifelong-seeds",
    processes: int = 2,
    over: tuple[str, ...] = (),
) -> None:
    """Run every method on every seed and print the table of means and standard deviations as Markdown.

    Args:
        seeds: Seeds of people, weights and samples.
        styles: Domains, in the order in which they come.
        methods: Of the recipes, without -tiny.
        out: Streets and runs go below it; finished ones are kept.
        processes: Runs at the same time, one thread each.
        over: Changed settings of every method, NAME=VALUE.
    """
    began = time.perf_counter()
    out = storage.resolve(out)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        list(pool.map(draw, *zip(*[(out, seed, style) for seed in seeds for style in styles], strict=True)))
        list(pool.map(_first, *zip(*[(out, seed, styles, over) for seed in seeds], strict=True)))
        jobs = [(out, seed, styles, method, over) for seed in seeds for method in methods]
        found = list(pool.map(_run, *zip(*jobs, strict=True)))
    results: dict[str, list[dict[str, Any]]] = {method: [] for method in methods}
    for (_, _, _, method, _), result in zip(jobs, found, strict=True):
        results[method].append(result)
    text = table(results)
    console.print(text, markup=False)
    final = {"seeds": list(seeds), "styles": list(styles), "over": list(over), "results": results, "table": text}
    storage.write_json(storage.join(out, "results.json"), final)
    print_result({"seconds": round(time.perf_counter() - began), "out": storage.join(out, "results.json")})


def domain(out: str, seed: int, style: int) -> str:
    """Return the folder of a drawn domain."""
    return f"{out}/streets/{seed}-{style}"


def draw(out: str, seed: int, style: int, keep_company: bool = False) -> None:
    """Draw a domain, unless it is there."""
    folder = domain(out, seed, style)
    if not os.path.exists(folder):
        write_labelled(replace(street(style, seed), keep_company=keep_company), folder)


def _plan(out: str, seed: int, styles: tuple[int, ...], method: str, over: tuple[str, ...]) -> LifelongPlan:
    changes = dict(text.split("=", 1) for text in over)
    configs = [find_recipe(f"{name}-tiny")() for name in (FIRST, *[method] * (len(styles) - 1))]
    return LifelongPlan(
        stages=tuple(
            Stage(
                name=f"style{style}",
                dataset=domain(out, seed, style),
                config=override(replace(config, seed=seed), changes),
            )
            for style, config in zip(styles, configs, strict=True)
        )
    )


def _first(out: str, seed: int, styles: tuple[int, ...], over: tuple[str, ...]) -> None:
    plan = _plan(out, seed, styles, FIRST, over)
    run_sequence(replace(plan, stages=plan.stages[:1]), f"{out}/first/{seed}", LocalBackend())


def _run(out: str, seed: int, styles: tuple[int, ...], method: str, over: tuple[str, ...]) -> dict[str, Any]:
    run = f"{out}/runs/{method}/{seed}"
    if not os.path.exists(f"{run}/plan.json"):
        shutil.rmtree(run, ignore_errors=True)
        open_run(f"{out}/first/{seed}").copy(run)
    return run_sequence(_plan(out, seed, styles, method, over), run, LocalBackend())


def table(results: dict[str, list[dict[str, Any]]]) -> str:
    """Format the scores after the last stage, mean and standard deviation over the seeds, percent."""
    lines = [
        "| method | mAP | Rank-1 | macro mAP | re-extracted mAP | no update mAP | frozen mAP | AC | forgetting |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for method, found in results.items():
        last = [result["stages"][-1] for result in found]
        cells = [
            [stage["bc"]["mAP"] for stage in last],
            [stage["bc"]["rank1"] for stage in last],
            [stage["macro"]["bc"]["mAP"] for stage in last],
            [stage["reindex"]["mAP"] for stage in last],
            [stage["old"]["mAP"] for stage in last],
            [stage["frozen"]["mAP"] for stage in last],
            [result["measures"]["average_compatibility"]["strict"] for result in found],
            [result["measures"]["forgetting"]["avalanche"] for result in found],
        ]
        lines.append(f"| {method} | " + " | ".join(map(spread, cells)) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    tyro.cli(main)
