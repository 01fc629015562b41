"""The small pretraining recipes as they are, over seeds: python -m benchmarks.recipes --seeds 0 1 2.

All learn from the same clips with the same encoder for the same number of steps; they differ in what a positive pair is
and in the loss. Streets and clips are those of `benchmarks.reliability`, which are the demo's.
"""

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from typing import Any

import tyro

from benchmarks.demo_seeds import spread
from benchmarks.reliability import make_clips
from cluster import storage
from cluster.console import console, print_result
from pretrain.recipes import find_recipe
from pretrain.runs.local import train_here
from pretrain.samples import load_clip_table
from pretrain.sweep import labelled_scores

RECIPES = ("isr-tiny", "infonce-tiny", "instance-tiny", "cycas-tiny")


def main(
    seeds: tuple[int, ...] = (0, 1, 2),
    recipes: tuple[str, ...] = RECIPES,
    out: str = "out/reliability",
    processes: int = 2,
) -> None:
    """Run every recipe on every seed, write ``recipes.json`` and print the table.

    Args:
        seeds: Seeds of street, weights and training.
        recipes: Names of recipes.
        out: Streets, clips and runs go below it; what is finished is kept.
        processes: Runs at the same time, one thread each.
    """
    began = time.perf_counter()
    out = storage.resolve(out)
    for recipe in recipes:
        find_recipe(recipe)  # a wrong name fails here
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(make_clips, [f"{out}/data/{seed}" for seed in seeds], seeds, [""] * len(seeds)))
        jobs = [(out, seed, recipe) for recipe in recipes for seed in seeds]
        found = list(pool.map(_run, *zip(*jobs, strict=True)))
    lines = ["| recipe | mAP | Rank-1 | minutes, one thread |", "|---|---|---|---|"]
    for number, recipe in enumerate(recipes):
        mine = found[number * len(seeds) : (number + 1) * len(seeds)]
        cells = [spread([one[name] for one in mine]) for name in ("mAP", "rank1")]
        minutes = f"{min(one['seconds'] for one in mine) / 60:.1f} to {max(one['seconds'] for one in mine) / 60:.1f}"
        lines.append(f"| `{recipe}` | {' | '.join(cells)} | {minutes} |")
    text = "\n".join(lines)
    console.print(text, markup=False)
    results = [{"recipe": recipe, "seed": seed, **one} for (_, seed, recipe), one in zip(jobs, found, strict=True)]
    storage.write_json(storage.join(out, "recipes.json"), {"results": results, "table": text})
    print_result({"seconds": round(time.perf_counter() - began), "out": storage.join(out, "recipes.json")})


def _run(out: str, seed: int, recipe: str) -> dict[str, Any]:
    """Train and score a recipe, or go on with that."""
    config = replace(find_recipe(recipe)(), seed=seed, cpus_per_worker=1)
    run = f"{out}/recipes/{recipe}/{seed}"
    began = time.perf_counter()
    learner, _ = train_here(config, load_clip_table(f"{out}/data/{seed}/clips"), run)
    seconds = time.perf_counter() - began
    scores = labelled_scores(f"{out}/data/{seed}/street", learner.module.eval(), config)
    return {**scores, "steps": learner.total_steps, "seconds": round(seconds)}


if __name__ == "__main__":
    tyro.cli(main)
