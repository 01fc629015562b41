"""Cosine against QAConv, trained on one drawn street and tested on others: python -m benchmarks.studies.matching_seeds.

Each arm trains one stage on one domain with the same number of steps and images; tested are that domain's own unseen
people and another domain, without and with re-ranking and TLift. Identities at random (groups) or by the graph sampler,
for both. People of the other domain keep company, for TLift lives on that.
"""

import multiprocessing
import os
import statistics
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
from evaluation.datasets.registry import read_dataset
from evaluation.metrics.protocols import find_protocol
from evaluation.scoring.files import ScoringConfig, score_files
from evaluation.scoring.matchers import MatchingConfig
from evaluation.scoring.problem import read_problem
from evaluation.scoring.ranking import RankingConfig
from evaluation.scoring.scores import BootstrapConfig, scores_of
from lifelong.recipes import find_recipe
from lifelong.runs.backend import LocalBackend
from lifelong.runs.run import open_run
from lifelong.runs.sequence import run_sequence
from lifelong.stages.plan import LifelongPlan, Stage

ARMS = {
    "cosine": ("bot-finetune", "groups"),
    "cosine, graph sampler": ("bot-finetune", "graph"),
    "qaconv": ("qaconv", "groups"),
    "qaconv, graph sampler": ("qaconv", "graph"),
    "qaconv, pairwise": ("qaconv-pairwise", "groups"),
    "qaconv, class memory": ("qaconv-memory", "groups"),
}
"""Recipe and sampler by the name of the arm."""
TAU = 5.0
"""Seconds. The authors' 100 is for cameras that film for most of an hour; a drawn street's are done after a minute."""
RANKINGS = {
    "plain": RankingConfig(),
    "re-ranked": RankingConfig(rerank=True),
    "TLift": RankingConfig(tlift=True, tlift_tau=TAU, tlift_sigma=2 * TAU),
    "re-ranked, TLift": RankingConfig(rerank=True, tlift=True, tlift_tau=TAU, tlift_sigma=2 * TAU),
}


def main(
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4),
    source: int = 0,
    targets: tuple[int, ...] = (1,),
    arms: tuple[str, ...] = tuple(ARMS),
    steps: int = 150,
    out: str = "out/matching-seeds",
    processes: int = 2,
    over: tuple[str, ...] = (),
) -> None:
    """Run every arm on every seed and print tables of means and standard deviations as Markdown.

    Args:
        seeds: Seeds of people, weights and samples.
        source: Style of the domain that is trained on.
        targets: Styles that are tested on besides; scores of several are averaged.
        arms: Which rows of the tables.
        steps: Optimiser steps.
        out: Streets and runs go below it; finished ones are kept.
        processes: Runs at the same time, one thread each.
        over: Changed settings of every arm, NAME=VALUE.
    """
    began = time.perf_counter()
    out = storage.resolve(out)
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        drawn = [(out, seed, style, style != source) for seed in seeds for style in (source, *targets)]
        list(pool.map(draw, *zip(*drawn, strict=True)))
        jobs = [(out, seed, source, targets, arm, steps, over) for arm in arms for seed in seeds]
        found = list(pool.map(_run, *zip(*jobs, strict=True)))
    results: dict[str, list[dict[str, Any]]] = {arm: [] for arm in arms}
    for (_, _, _, _, arm, _, _), result in zip(jobs, found, strict=True):
        results[arm].append(result)
    text = "\n\n".join(f"{score} (%)\n\n{table(results, score)}" for score in ("mAP", "rank1"))
    console.print(text, markup=False)
    final = {"seeds": list(seeds), "steps": steps, "over": list(over), "results": results, "table": text}
    storage.write_json(storage.join(out, "results.json"), final)
    print_result({"seconds": round(time.perf_counter() - began), "out": storage.join(out, "results.json")})


def _run(
    out: str, seed: int, source: int, targets: tuple[int, ...], arm: str, steps: int, over: tuple[str, ...]
) -> dict[str, Any]:
    recipe, sampler = ARMS[arm]
    run = f"{out}/runs/{arm.replace(', ', '-').replace(' ', '-')}/{seed}"
    made = replace(find_recipe(f"{recipe}-tiny")(), seed=seed, steps=steps, sampler=sampler)
    config = override(made, dict(text.split("=", 1) for text in over))
    plan = LifelongPlan(stages=(Stage(name=f"style{source}", dataset=domain(out, seed, source), config=config),))
    if os.path.exists(f"{run}/scores.json"):
        return storage.read_json(f"{run}/scores.json")
    backend = LocalBackend()
    run_sequence(plan, run, backend, evaluate=False)
    scores: dict[str, Any] = {}
    for style in (source, *targets):
        location = open_run(run).features(f"style{style}", 1)
        rows = [row for row in read_dataset(domain(out, seed, style)) if row.split != "train"]
        backend.embed_maps(rows, open_run(run).model(1), location, use_gpu=False)
        problem = read_problem([location], find_protocol("market"))
        matching = MatchingConfig(matcher="qaconv" if recipe.startswith("qaconv") else "cosine", exact=True)
        for name, ranking in RANKINGS.items():
            scoring = ScoringConfig(matching=matching, ranking=ranking, bootstrap=BootstrapConfig(resamples=0))
            scores[f"style{style}/{name}"] = scores_of(score_files(problem, [location], scoring)[0])
    found = {
        side: {
            name: {
                score: statistics.mean(scores[f"style{style}/{name}"][score] for style in styles)
                for score in ("mAP", "rank1")
            }
            for name in RANKINGS
        }
        for side, styles in (("same domain", (source,)), ("other domain", targets))
    }
    storage.write_json(f"{run}/scores.json", found)
    return found


def table(results: dict[str, list[dict[str, Any]]], score: str) -> str:
    """Format one score, mean and standard deviation over the seeds, percent."""
    columns = ["same domain", *(f"other domain, {name}" for name in RANKINGS)]
    lines = [f"| trained by | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for arm, found in results.items():
        cells = [spread([one["same domain"]["plain"][score] for one in found])]
        cells += [spread([one["other domain"][name][score] for one in found]) for name in RANKINGS]
        lines.append(f"| {arm} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    tyro.cli(main)
