"""Commands of pretraining whose first argument is a recipe: train and sweep."""

import inspect
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

import tyro
from rich.table import Table

from cluster import session, storage
from cluster.console import command, console, print_result, with_default
from cluster.sweep.search_space import named_spaces
from pretrain.config.run import PretrainConfig
from pretrain.models.initial import resolve_initial
from pretrain.recipes import RECIPES, find_recipe
from pretrain.sweep import SweepConfig, sweep_pretraining, with_best
from pretrain.train import train as train_run

PROGRAM = "python -m pretrain"
Flat = tyro.conf.arg(name="")
"""A nested configuration whose fields are options of the command itself."""


def train(*, clips: str, out: str, config: Annotated[PretrainConfig, Flat]) -> None:
    """Pretrain an encoder on clips. The same command again resumes.

    --settings best.json, directly after the recipe, takes what a sweep found best.

    Args:
        clips: A clips directory that python -m pretrain prepare has made.
        out: The run directory: a folder or an s3:// URL.
        config: The run.
    """
    clips, out = storage.resolve(clips), storage.resolve(out)
    try:
        final = train_run(_located(config), clips, out)
    finally:
        session.disconnect()
    print_result({"out": out, **final})


def sweep(
    *,
    clips: str,
    out: str,
    over: Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="NAME=VALUES")] = (),
    space: str = "",
    judging: Annotated[SweepConfig, Flat] = SweepConfig(),  # noqa: B008 - frozen
    config: Annotated[PretrainConfig, Flat],
) -> None:
    """Try settings on Ray Tune: each trial trains in one process and is judged on held-out clips.

    What is tried: --over loss.beta=0,1,2 --over loss.tau=0.03:0.3, or --loss.tau 'loguniform(0.03,0.3)', or a file. The
    same command again runs what is missing.

    Args:
        clips: A clips directory that python -m pretrain prepare has made.
        out: Where trials, results.md, response.svg and best.json go: a folder or an s3:// URL.
        over: A setting and its values; several times. A,B,C are all tried; LOW:HIGH, loguniform(LOW,HIGH),
            uniform(LOW,HIGH), randint(LOW,HIGH) and choice(A,B,C) are drawn, --samples times.
        space: JSON or TOML file of more settings.
        judging: How trials are judged.
        config: The run, where nothing else is tried.
    """
    clips, out = storage.resolve(clips), storage.resolve(out)
    try:
        trials = sweep_pretraining(_located(config), clips, out, judging, over=over, space=space)
    finally:
        session.disconnect()
    shown = Table(title=f"the best {judging.metric} first; {out}/results.md has them all")
    for column in (judging.metric, "step", "settings"):
        shown.add_column(column)
    for trial in trials[:20]:
        value = trial.get("metrics", {}).get(judging.metric)
        settings = ", ".join(
            f"{name} {setting:.4g}" if isinstance(setting, float) else f"{name} {setting}"
            for name, setting in trial["settings"].items()
        )
        shown.add_row("failed" if value is None else f"{value:.4f}", str(trial.get("steps", "")), settings)
    console.print(shown)
    print_result({"out": out, "trials": trials})


def _located(config: PretrainConfig) -> PretrainConfig:
    """Make the locations in a configuration mean the same in every process."""
    truth = storage.resolve(config.truth) if config.truth else ""
    return replace(config, start=resolve_initial(config.start), truth=truth)


def of_recipe(function: Callable[..., None], name: str) -> Callable[[list[str]], None]:
    """Make a command whose first argument is a recipe, which gives the defaults of all options."""

    def start(argv: list[str]) -> None:
        if not argv or argv[0] in ("-h", "--help"):
            print(
                f"usage: {PROGRAM} {name} RECIPE --clips DIR --out DIR [options]   ({name} RECIPE --help shows them)\n"
            )
            for recipe, make in RECIPES.items():
                print(f"  {recipe:<16}  {inspect.getdoc(make)}")
            sys.exit(0 if argv else 2)
        default, rest = find_recipe(argv[0])(), argv[1:]
        if name == "train" and "--settings" in rest[:-1]:
            place = rest.index("--settings")
            default = with_best(default, rest[place + 1])
            rest = rest[:place] + rest[place + 2 :]
        if name == "sweep":
            rest = named_spaces(rest)
        command(with_default(function, "config", default), f"{PROGRAM} {name} {argv[0]}")(rest)

    start.__doc__ = function.__doc__
    return start
