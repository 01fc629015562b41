"""``python -m lifelong sweep``: try settings."""

from typing import Annotated, get_args

from rich.table import Table

from cluster import session, storage
from cluster.console import console, print_result
from cluster.options import Flat, Repeated
from lifelong.runs.planning import make_plan
from lifelong.stages.config import StageConfig
from lifelong.sweep import Metric, sweep_stages


def sweep(
    *,
    out: str,
    over: Repeated = (),
    space: str = "",
    samples: int = 1,
    metric: Metric = "mAP",
    stage: Repeated = (),
    start: str = "",
    identities: int = 0,
    any_counts: bool = False,
    config: Annotated[StageConfig, Flat],
) -> None:
    """Try settings on Ray Tune: each trial runs all stages in one process and is scored without re-extraction.

    Args:
        out: Where the trials and sweep.json go: a folder or an s3:// URL. A begun sweep goes on.
        over: A setting and its values: loss.temperature=0.02,0.05,0.1 or loss.temperature=0.02:0.2 (drawn); several
            times. Or by its name: --loss.temperature 'loguniform(0.02,0.2)'.
        space: JSON or TOML file of more settings.
        samples: Trials with drawn values.
        metric: What is best after the last stage: mAP or rank1 with stored galleries, re_extracted_mAP with galleries
            re-extracted, matching_mAP by QAConv in those.
        stage: A dataset that comes in, several times in order.
        start: First weights: a model directory, a file (.safetensors, .pth), torchvision:NAME or timm:TAG; else random.
        identities: Training identities of each stage, the first by number; 0 takes all.
        any_counts: Whether to take copies of benchmarks that are not complete.
        config: How each stage is learned, where --over does not say otherwise.
    """
    made = make_plan(config, stage, start=start, from_run="", unseen=(), identities=identities, any_counts=any_counts)
    try:
        trials = sweep_stages(made, over, storage.resolve(out), samples=samples, metric=metric, space=space)
    finally:
        session.disconnect()
    shown = Table(title=f"the best {metric} first; mAP and Rank-1 after the last stage, without re-extraction")
    for column in ("mAP", "Rank-1", "re-extracted mAP", "by QAConv", "settings"):
        shown.add_column(column)
    for trial in trials:
        metrics = trial.get("metrics", {})
        numbers = [f"{100 * metrics[name]:.1f} %" if name in metrics else "-" for name in get_args(Metric)]
        shown.add_row(*numbers, ", ".join(f"{name} {value}" for name, value in trial["settings"].items()))
    console.print(shown)
    print_result({"out": storage.resolve(out), "trials": trials})
