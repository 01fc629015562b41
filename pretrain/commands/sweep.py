"""``python -m pretrain sweep RECIPE``: try settings."""

from typing import Annotated

import tyro
from rich.table import Table

from cluster import session, storage
from cluster.console import console, print_result
from cluster.options import Flat
from pretrain.config.run import PretrainConfig
from pretrain.runs import located
from pretrain.sweep import SweepConfig, sweep_pretraining


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

    What is tried: --over loss.beta=0,1,2 --over loss.temperature=0.03:0.3, or --loss.temperature
    'loguniform(0.03,0.3)', or a file. The same command again runs what is missing.

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
        trials = sweep_pretraining(located(config), clips, out, judging, over=over, space=space)
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
