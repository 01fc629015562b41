"""From what was named on the command line to a plan, and what a plan would do."""

from dataclasses import replace
from typing import Any

import numpy as np

from cluster.errors import InputError
from evaluation.features.apart import apart
from lifelong.data.samplers import make_draws, steps_of
from lifelong.runs.run import open_run
from lifelong.stages.config import StageConfig
from lifelong.stages.plan import LifelongPlan, make_stages
from pretrain.models.initial import model_config_of, resolve_initial


def make_plan(
    config: StageConfig,
    stage: tuple[str, ...],
    *,
    start: str,
    from_run: str,
    unseen: tuple[str, ...],
    identities: int,
    any_counts: bool,
) -> LifelongPlan:
    """Make the plan that the options name.

    Args:
        config: How each new stage is learned.
        stage: Specs of the new stages.
        start: Where the first weights are; empty for random ones. A model directory says its own architecture.
        from_run: A run to which the stages are added; empty for a new one.
        unseen: Specs of datasets that are only tested on.
        identities: Training identities of each new stage; 0 takes all.
        any_counts: Whether incomplete copies of benchmarks will do.

    Raises:
        InputError: If no stage is named, names are not unique, or what continues a run contradicts it.
    """
    if not stage:
        raise InputError("name at least one stage: --stage market1501:DIR --stage csv:FILE (see evaluation.datasets)")
    if from_run:
        old = open_run(from_run).plan
        if start or unseen:
            raise InputError("a run that goes on keeps its --start and its --unseen; leave them out with --from")
        config = replace(config, model=old.stages[0].config.model)
        new = make_stages(stage, config, identities=identities, any_counts=any_counts)
        return replace(old, stages=(*old.stages, *new))
    start = resolve_initial(start)
    if start:
        config = replace(config, model=model_config_of(start, config.model))
    stages = make_stages(stage, config, identities=identities, any_counts=any_counts)
    return LifelongPlan(start=start, stages=stages, unseen=unseen)


def describe(plan: LifelongPlan) -> list[dict[str, Any]]:
    """Return what each stage of a plan would do, in words and counts.

    Raises:
        InputError: If a dataset cannot be read.
    """
    described: list[dict[str, Any]] = []
    so_far = np.zeros(0, np.int64)
    for number, stage in enumerate(plan.stages):
        rows, config = stage.rows(), stage.config
        train = [row for row in rows if row.split == "train" and row.identity > 0]
        own = apart(np.array([row.identity for row in train], np.int64), number)
        so_far = np.concatenate([so_far, own])
        draws = make_draws(config, so_far if config.joint else own, "")
        described.append(
            {
                "stage": stage.name,
                "method": config.recipe,
                "identities": len({row.identity for row in train}),
                "images": len(train),
                "steps": steps_of(config, draws),
                "query": sum(row.split == "query" for row in rows),
                "gallery": sum(row.split == "gallery" for row in rows),
                "terms": ", ".join(f"{name} {weight:g}" for name, weight in config.loss.weights().items()),
            }
        )
    return described
