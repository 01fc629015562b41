"""The small pretraining recipes as they are, over seeds: python -m benchmarks.studies.recipes --seeds 0 1 2.

All learn from the same clips with the same encoder for the same number of steps; they differ in what a positive pair is
and in the loss. Streets and clips are those of `benchmarks.studies.reliability`, which are the demo's.
"""

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from typing import Any

import tyro

from benchmarks.studies.reliability import make_clips
from benchmarks.studies.tables import spread
from cluster import storage
from cluster.console import console, print_result
from pretrain.config.run import PretrainConfig
from pretrain.config.scale import scaled
from pretrain.data.clip_table import load_clip_table
from pretrain.recipes import find_recipe
from pretrain.runs import train_here
from pretrain.sweep import labelled_scores

ORACLE = "isr-tiny-oracle"
"""`isr-tiny` with weights from the truth: what the best reliability would win."""
RECIPES = ("isr-tiny", "infonce-tiny", "instance-tiny", "cycas-tiny", ORACLE)


def main(
    seeds: tuple[int, ...] = (0, 1, 2),
    recipes: tuple[str, ...] = RECIPES,
    out: str = "out/reliability",
    processes: int = 2,
) -> None:
    """Run every recipe on every seed, write ``recipes.json`` and print the table.

    Args:
        seeds: Seeds of street, weights and training.
        recipes: Names of recipes, and `isr-tiny-oracle`.
        out: Streets, clips and runs go below it; what is finished is kept.
        processes: Runs at the same time, one thread each.
    """
    began = time.perf_counter()
    out = storage.resolve(out)
    for recipe in recipes:
        _config(recipe, truth="later")  # a wrong name fails here
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(make_clips, [f"{out}/data/{seed}" for seed in seeds], seeds, [""] * len(seeds)))
        jobs = [(out, seed, recipe) for recipe in recipes for seed in seeds]
        found = list(pool.map(_run, *zip(*jobs, strict=True)))
    lines = ["| recipe | mAP | Rank-1 | minutes, one thread |", "|---|---|---|---|"]
    for number, recipe in enumerate(recipes):
        mine = found[number * len(seeds) : (number + 1) * len(seeds)]
        cells = [spread([one[name] for one in mine]) for name in ("mAP", "rank1")]
        minutes = [one["seconds"] / 60 for one in mine if one["seconds"] is not None]
        cells.append(f"{min(minutes):.1f} to {max(minutes):.1f}" if minutes else "-")
        lines.append(f"| `{recipe}` | {' | '.join(cells)} |")
    text = "\n".join(lines)
    console.print(text, markup=False)
    results = [{"recipe": recipe, "seed": seed, **one} for (_, seed, recipe), one in zip(jobs, found, strict=True)]
    storage.write_json(storage.join(out, "recipes.json"), {"results": results, "table": text})
    print_result({"seconds": round(time.perf_counter() - began), "out": storage.join(out, "recipes.json")})


def _config(recipe: str, *, truth: str) -> PretrainConfig:
    if recipe != ORACLE:
        return find_recipe(recipe)()
    made = find_recipe("isr-tiny")()
    return replace(made, truth=truth, loss=replace(made.loss, reliability="oracle"))


def _run(out: str, seed: int, recipe: str) -> dict[str, Any]:
    """Train and score a recipe, or go on with that; only what was trained in one go has a time."""
    config = replace(_config(recipe, truth=f"{out}/data/{seed}/street/truth.csv"), seed=seed)
    config = scaled(config, cpus_per_worker=1)
    run = f"{out}/recipes/{recipe}/{seed}"
    is_new = not storage.exists(f"{run}/config.json")
    began = time.perf_counter()
    learner, _ = train_here(config, load_clip_table(f"{out}/data/{seed}/clips"), run)
    seconds = time.perf_counter() - began
    scores = labelled_scores(f"{out}/data/{seed}/street", learner.module.eval(), config)
    return {**scores, "steps": learner.total_steps, "seconds": round(seconds) if is_new else None}


if __name__ == "__main__":
    tyro.cli(main)
