"""Three styles of the street as stages, learned by `finetune` and by `lreid-bc`, from the backbone that ISR made."""

import os
import shutil
from dataclasses import replace
from typing import Any

from cluster import storage
from evaluation.compatibility.results import from_json
from lifelong.demo.report import METHODS, describe_stages
from lifelong.recipes import find_recipe
from lifelong.runs.run import open_run
from lifelong.runs.sequence import run_sequence
from lifelong.stages.config import StageConfig
from lifelong.stages.plan import LifelongPlan, Stage
from lifelong.train import RayBackend
from pretrain.config.scale import scaled
from pretrain.demo.chain import Announce, DemoConfig
from pretrain.demo.report import Addition
from pretrain.street.config import StreetConfig
from pretrain.street.write import write_labelled

STYLES = (0, 1, 2)
FIRST = "lreid-bc"
"""Whose first stage both methods share: they differ in what comes after it."""


def domain_of(config: DemoConfig, style: int) -> StreetConfig:
    """A labelled domain of the demo; its people are not those of the street that was filmed."""
    sizes: dict[str, Any] = {"train_identities": 40, "test_identities": 30, "cameras": 6}
    if config.size == "quick":
        sizes = {"train_identities": 8, "test_identities": 4, "cameras": 3}
    return StreetConfig(style=style, seed=config.seed + 1000, identities=1, seconds=1, fps=5, **sizes)


def stage_of(config: DemoConfig, method: str) -> StageConfig:
    """How a stage of the demo is learned."""
    base = replace(find_recipe(f"{method}-tiny")(), seed=config.seed)
    return scaled(replace(base, epochs=1), log_every=1) if config.size == "quick" else base


def run_stages(config: DemoConfig, out: str, announce: Announce) -> Addition:
    """Run the stages of the demo and describe what was found.

    Args:
        config: The demo.
        out: Its folder, with the backbone of ISR in it.
        announce: Called with what comes next.
    """
    announce("drawing three more streets: labelled people of three styles, which come in one after the other")
    for style in STYLES:
        if not os.path.exists(domain := f"{out}/domains/style{style}"):
            write_labelled(domain_of(config, style), domain, processes=2)
    announce("lifelong stage 1: from the backbone of ISR, with labels")
    first = plan_of(config, out, FIRST)
    results: dict[str, dict[str, Any]] = {}
    run_sequence(replace(first, stages=first.stages[:1]), f"{out}/lifelong/first", RayBackend())
    for method in METHODS:
        run = f"{out}/lifelong/{method}"
        announce(f"lifelong stages 2 and 3: {method}; galleries stay as they are")
        if not os.path.exists(f"{run}/plan.json"):
            shutil.rmtree(run, ignore_errors=True)
            open_run(f"{out}/lifelong/first").copy(run)
        results[method] = run_sequence(plan_of(config, out, method), run, RayBackend())
    found = {method: from_json(result) for method, result in results.items()}
    return describe_stages(found, results, f"{out}/lifelong")


def plan_of(config: DemoConfig, out: str, method: str) -> LifelongPlan:
    """The stages of a method."""
    methods = (FIRST, *[method] * (len(STYLES) - 1))
    return LifelongPlan(
        start=storage.join(out, "models", "isr"),
        stages=tuple(
            Stage(name=f"style{style}", dataset=f"{out}/domains/style{style}", config=stage_of(config, name))
            for style, name in zip(STYLES, methods, strict=True)
        ),
    )
