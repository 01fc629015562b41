"""The small pretraining recipes as they are, over seeds.

All learn from the same clips with the same encoder for the same number of steps; they differ in what a positive pair is
and in the loss. Streets and clips are those of `benchmarks.studies.reliability`, which are the demo's.
"""

import time
from dataclasses import replace

from benchmarks.studies.clips import drawn_clips, drawn_name, street_and_clips
from benchmarks.studies.study import Numbers, Place, Results, Study, check_known
from benchmarks.studies.tables import markdown, spread
from cluster import storage
from cluster.values import to_json
from pretrain.config.run import PretrainConfig
from pretrain.config.scale import scaled
from pretrain.data.clip_table import load_clip_table
from pretrain.recipes import find_recipe
from pretrain.runs import train_here
from pretrain.validation.labelled import labelled_scores

ORACLE = "isr-tiny-oracle"
"""`isr-tiny` with weights from the truth: what the best reliability would win."""
RECIPES = ("isr-tiny", "infonce-tiny", "instance-tiny", "cycas-tiny", ORACLE)


def study(seeds: tuple[int, ...] = (0, 1, 2), arms: tuple[str, ...] = RECIPES) -> Study:
    """Make the study.

    Args:
        seeds: Seeds of street, weights and training.
        arms: Names of recipes.
    """
    check_known(arms, RECIPES)
    return Study(
        name="recipes",
        arms={arm: to_json(config_of(arm, seed=0, truth="truth.csv")) for arm in arms},
        seeds=seeds,
        run=_run,
        table=table,
        prepare=({drawn_name(seed): drawn_clips(seed) for seed in seeds},),
    )


def config_of(arm: str, *, seed: int, truth: str) -> PretrainConfig:
    """Return the run of an arm."""
    made = find_recipe("isr-tiny" if arm == ORACLE else arm)()
    if arm == ORACLE:
        made = replace(made, truth=truth, loss=replace(made.loss, reliability="oracle"))
    return scaled(replace(made, truth=truth, seed=seed), cpus_per_worker=1)


def _run(arm: str, seed: int, place: Place) -> Numbers:
    """Train and score a recipe; only what was trained in one go has a time."""
    street, clips = street_and_clips(place, drawn_name(seed))
    config = config_of(arm, seed=seed, truth=f"{street}/truth.csv")
    is_new = not storage.exists(f"{place.folder}/config.json")
    began = time.perf_counter()
    learner, _ = train_here(config, load_clip_table(clips), place.folder)
    seconds = time.perf_counter() - began
    scores = labelled_scores(street, learner.module.eval(), config)
    return {**scores, "steps": learner.total_steps, "seconds": round(seconds) if is_new else None}


def table(results: Results) -> str:
    """Format mean and standard deviation over the seeds, percent, and the shortest and longest time."""
    rows = []
    for arm, by_seed in results.items():
        found = list(by_seed.values())
        minutes = [one["seconds"] / 60 for one in found if one["seconds"] is not None]
        time_cell = f"{min(minutes):.1f} to {max(minutes):.1f}" if minutes else "-"
        rows.append([f"`{arm}`", *(spread([one[name] for one in found]) for name in ("mAP", "rank1")), time_cell])
    return markdown(["recipe", "mAP", "Rank-1", "minutes, one thread"], rows)
