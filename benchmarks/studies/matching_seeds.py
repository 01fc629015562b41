"""Cosine against QAConv, trained on one drawn street and tested on others.

Each arm trains one stage on one domain with the same number of steps and images; tested are that domain's own unseen
people and another domain, without and with re-ranking and TLift. Identities at random (groups) or by the graph sampler,
for both. People of the other domain keep company, for TLift lives on that.
"""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

from benchmarks.studies.labelled_streets import about, domain, draw, street
from benchmarks.studies.study import Numbers, Place, Results, Study, changes_of, check_known
from benchmarks.studies.tables import markdown, spread
from cluster.values import override, to_json
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
from lifelong.stages.config import StageConfig
from lifelong.stages.plan import LifelongPlan, Stage
from pretrain.street.config import StreetConfig

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Shared:
    """What all arms share."""

    source: int
    targets: tuple[int, ...]
    steps: int
    changes: Mapping[str, str]

    def street(self, style: int, seed: int) -> StreetConfig:
        """Return a domain."""
        return street(style, seed, keep_company=style != self.source)


def study(
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4),
    source: int = 0,
    targets: tuple[int, ...] = (1,),
    arms: tuple[str, ...] = tuple(ARMS),
    steps: int = 150,
    over: tuple[str, ...] = (),
) -> Study:
    """Make the study.

    Args:
        seeds: Seeds of people, weights and samples.
        source: Style of the domain that is trained on.
        targets: Styles that are tested on besides; scores of several are averaged.
        arms: Which rows of the tables.
        steps: Optimiser steps.
        over: Changed settings of every arm, NAME=VALUE.
    """
    check_known(arms, ARMS)
    shared = Shared(source=source, targets=targets, steps=steps, changes=changes_of(over))
    return Study(
        name="matching-seeds",
        arms={arm: to_json(config_of(shared, arm, 0)) for arm in arms},
        seeds=seeds,
        run=partial(_run, shared),
        table=table,
        options={**about((source, *targets)), "source": source, "steps": steps, "over": list(over)},
        prepare=(draw(shared.street(style, seed) for seed in seeds for style in (source, *targets)),),
    )


def config_of(shared: Shared, arm: str, seed: int) -> StageConfig:
    """Return how an arm learns."""
    recipe, sampler = ARMS[arm]
    made = replace(find_recipe(f"{recipe}-tiny")(), seed=seed, steps=shared.steps, sampler=sampler)
    return override(made, shared.changes)


def _run(shared: Shared, arm: str, seed: int, place: Place) -> Numbers:
    run, backend = place.folder, LocalBackend()
    own = domain(place, shared.street(shared.source, seed))
    stage = Stage(name=f"style{shared.source}", dataset=own, config=config_of(shared, arm, seed))
    plan = LifelongPlan(stages=(stage,))
    run_sequence(plan, run, backend, evaluate=False)
    found: dict[int, dict[str, dict[str, float]]] = {}
    for style in (shared.source, *shared.targets):
        location = open_run(run).features(f"style{style}", 1)
        rows = [row for row in read_dataset(domain(place, shared.street(style, seed))) if row.split != "train"]
        backend.embed_maps(rows, open_run(run).model(1), location, use_gpu=False)
        found[style] = scores_by_ranking(location, is_qaconv=ARMS[arm][0].startswith("qaconv"))
    sides = {"same domain": (shared.source,), "other domain": shared.targets}
    return {side: mean_of([found[style] for style in styles]) for side, styles in sides.items()}


def scores_by_ranking(location: str, *, is_qaconv: bool) -> dict[str, dict[str, float]]:
    """Score a features file with each of `RANKINGS`."""
    problem = read_problem([location], find_protocol("market"))
    matching = MatchingConfig(matcher="qaconv" if is_qaconv else "cosine", exact=True)
    found = {}
    for name, ranking in RANKINGS.items():
        scoring = ScoringConfig(matching=matching, ranking=ranking, bootstrap=BootstrapConfig(resamples=0))
        found[name] = scores_of(score_files(problem, [location], scoring)[0])
    return found


def mean_of(found: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Return the mean over domains, of mAP and Rank-1 by ranking."""
    return {
        name: {score: statistics.mean(one[name][score] for one in found) for score in ("mAP", "rank1")}
        for name in RANKINGS
    }


def table(results: Results) -> str:
    """Format mAP and Rank-1, a table each."""
    titles = {"mAP": "mAP (%)", "rank1": "Rank-1 (%)"}
    return "\n\n".join(f"{title}\n\n{table_of(results, score)}" for score, title in titles.items())


def table_of(results: Results, score: str) -> str:
    """Format one score, mean and standard deviation over the seeds, percent."""
    rows = []
    for arm, by_seed in results.items():
        found = list(by_seed.values())
        cells = [spread([one["same domain"]["plain"][score] for one in found])]
        cells += [spread([one["other domain"][name][score] for one in found]) for name in RANKINGS]
        rows.append([arm, *cells])
    return markdown(["trained by", "same domain", *(f"other domain, {name}" for name in RANKINGS)], rows)
