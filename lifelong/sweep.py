"""Sweeps over settings of lifelong stages: each trial is a whole run in one process."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from cluster import session, storage
from cluster.errors import InputError
from cluster.sweep.report import write_sweep
from cluster.sweep.search_space import draw_trials, read_space
from cluster.sweep.trials import claim_sweep
from cluster.sweep.tune import sweep
from cluster.values import override
from lifelong.runs.backend import LocalBackend
from lifelong.runs.sequence import run_sequence
from lifelong.stages.plan import LifelongPlan, plan_from_json, plan_to_json

Metric = Literal["mAP", "rank1", "re_extracted_mAP", "matching_mAP"]
"""After the last stage: with stored galleries, with galleries re-extracted, and by QAConv in those."""


def with_settings(plan: LifelongPlan, settings: dict[str, Any]) -> LifelongPlan:
    """Return a plan whose stages have some settings changed.

    Raises:
        InputError: If there is no such setting, or its value cannot work.
    """
    return replace(plan, stages=tuple(replace(stage, config=override(stage.config, settings)) for stage in plan.stages))


def run_trial(plan: dict[str, Any], location: str, settings: dict[str, Any]) -> dict[str, float]:
    """Run the stages with some settings in this process, and return their scores; a begun run goes on."""
    made = with_settings(plan_from_json(plan), settings)
    last = run_sequence(made, location, LocalBackend())["stages"][-1]
    found = {**last["stored"], "re_extracted_mAP": last["re_extracted"]["mAP"]}
    if made.stages[-1].config.loss.matching.is_used:
        matching = storage.read_json(storage.join(location, "matching.json"))[made.stages[-1].name]
        found["matching_mAP"] = float(np.mean([dataset["mAP"] for dataset in matching["datasets"].values()]))
    return found


def sweep_stages(
    plan: LifelongPlan, over: Sequence[str], out: str, *, samples: int, metric: Metric = "mAP", space: str = ""
) -> list[dict[str, Any]]:
    """Run a sweep, and write what it found, see `cluster.sweep.report.write_sweep`.

    Args:
        plan: The stages.
        over: What is tried, see `cluster.sweep.search_space.read_space`; names are those of `StageConfig`, such as
            ``loss.temperature``.
        out: Where trials and results go.
        samples: Trials with drawn values.
        metric: By which trials are ordered.
        space: A file of more of what is tried.

    Returns:
        Settings, metrics and folder of each trial, the best first.

    Raises:
        InputError: If a setting is unknown or refused, or ``out`` holds another sweep.
    """
    config = plan.stages[0].config
    axes = read_space(over, space)
    trials = draw_trials(axes, samples=samples, seed=config.seed)
    for settings in trials:
        made = with_settings(plan, dict(settings))  # a wrong name or value is found before anything runs
        if metric == "matching_mAP" and not made.stages[-1].config.loss.matching.is_used:
            raise InputError(f"--metric matching_mAP needs a weight of loss.matching, and {settings} has none")
    mine = {"plan": plan_to_json(plan), "over": list(over), "samples": samples, "metric": metric}
    if space:
        mine["space"] = storage.resolve(space)
    claim_sweep(out, mine, writes=False)
    session.connect()
    claim_sweep(out, mine, writes=True)  # only what can start takes the folder
    values = plan_to_json(plan)
    found = sweep(
        lambda settings, reporter: run_trial(values, reporter.folder, settings),
        trials,
        out,
        metric=metric,
        cpus=config.scale.cpus_per_worker,
        gpus=1 if config.scale.use_gpu else 0,
    )
    write_sweep(out, found, metric=metric, over=axes)
    return found
