"""Command line of lifelong stages: ``python -m lifelong COMMAND --help``."""

import sys
from typing import Annotated, get_args

import tyro
from rich.table import Table

from cluster import session, storage
from cluster.console import command, console, print_result, run_cli
from cluster.errors import InputError
from evaluation.compatibility.markdown import to_markdown
from evaluation.compatibility.results import to_json
from lifelong.gallery.commands import COMMANDS as GALLERY
from lifelong.protocols.commands import COMMANDS as BENCHMARK
from lifelong.recipe_command import PROGRAM, of_recipe
from lifelong.runs.measure import measure
from lifelong.runs.planning import describe, make_plan
from lifelong.runs.promotion import promote as promote_stage
from lifelong.runs.run import open_run
from lifelong.runs.sequence import run_sequence
from lifelong.stages.config import StageConfig
from lifelong.sweep import Metric, sweep_stages
from lifelong.train import RayBackend

Flat = tyro.conf.arg(name="")
"""A nested configuration whose fields are options of the command itself."""
Specs = Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="SPEC")]
"""An option that may be given several times."""


def plan(
    *,
    stage: Specs = (),
    start: str = "",
    from_run: Annotated[str, tyro.conf.arg(name="from", metavar="RUN")] = "",
    unseen: Specs = (),
    identities: int = 0,
    any_counts: bool = False,
    config: Annotated[StageConfig, Flat],
) -> None:
    """Print what a run would do, and train nothing.

    Args:
        stage: A dataset that comes in, several times in order: NAME:FOLDER, csv:FILE, a folder, or LABEL=SPEC.
        start: First weights: a model directory, a file (.safetensors, .pth), torchvision:NAME or timm:TAG; else random.
        from_run: A run that goes on: the stages are added to it.
        unseen: A dataset that is tested on and never trained on; several times.
        identities: Training identities of each stage, the first by number; 0 takes all.
        any_counts: Whether to take copies of benchmarks that are not complete.
        config: How each stage is learned.
    """
    options = {"start": start, "from_run": from_run, "unseen": unseen}
    made = make_plan(config, stage, identities=identities, any_counts=any_counts, **options)
    described = describe(made)
    shown = Table(title=f"{len(made.stages)} stages, starting from {made.start or 'random weights'}")
    for column in described[0]:
        shown.add_column(column)
    for entry in described:
        shown.add_row(*(f"{value:,}" if isinstance(value, int) else value for value in entry.values()))
    console.print(shown)
    for name in made.unseen:
        console.print(f"never trained on, only tested: {name}", markup=False)
    print_result({"stages": described, "unseen": list(made.unseen)})


def run(
    *,
    out: str = "",
    stage: Specs = (),
    start: str = "",
    from_run: Annotated[str, tyro.conf.arg(name="from", metavar="RUN")] = "",
    unseen: Specs = (),
    identities: int = 0,
    any_counts: bool = False,
    config: Annotated[StageConfig, Flat],
) -> None:
    """Run the stages on Ray Train, or resume them. The same command again goes on where it was.

    Args:
        out: The run directory: a folder or an s3:// URL.
        stage: A dataset that comes in, several times in order: NAME:FOLDER, csv:FILE, a folder, or LABEL=SPEC.
        start: First weights: a model directory, a file (.safetensors, .pth), torchvision:NAME or timm:TAG; else random.
        from_run: A run that goes on: the stages are added to it, or, with --out, to a copy of its finished stages.
        unseen: A dataset that is tested on and never trained on; several times.
        identities: Training identities of each stage, the first by number; 0 takes all.
        any_counts: Whether to take copies of benchmarks that are not complete.
        config: How each stage is learned.
    """
    if not out and not from_run:
        raise InputError("give --out DIR for a new run, or --from RUN to add stages to one")
    where = storage.resolve(out or from_run)
    if out and from_run and not storage.exists(storage.join(where, "plan.json")):
        open_run(storage.resolve(from_run)).copy(where)
    from_run = where if from_run else ""
    options = {"start": start, "from_run": from_run, "unseen": unseen}
    made = make_plan(config, stage, identities=identities, any_counts=any_counts, **options)
    try:
        result = run_sequence(made, where, RayBackend())
    finally:
        session.disconnect()
    console.print(f"results: {storage.join(where, 'results.md')}", markup=False)
    print_result({"out": where, "stages": result["stages"], "measures": result["measures"]})


def results(run: Annotated[str, tyro.conf.Positional]) -> None:
    """Score the finished stages of a run again, and print the tables.

    Args:
        run: A run directory.
    """
    run = storage.resolve(run)
    scores = measure(open_run(run))
    console.print(to_markdown(scores), markup=False)
    print_result(to_json(scores))


def promote(
    run: Annotated[str, tyro.conf.Positional],
    *,
    stage: int = 0,
    max_forgetting: float = 0.05,
    tolerance: float = 0.0,
    gallery: str = "",
) -> None:
    """Judge whether the model of a stage may be released: its queries work against the old galleries, and it remembers.

    Args:
        run: A run directory.
        stage: Number of the stage, from 1; 0 is the newest.
        max_forgetting: How much mAP it may lose on an earlier dataset, re-extracted, in fractions of 1.
        tolerance: How much worse than the old model its queries may do against an old gallery, in fractions of 1.
        gallery: A gallery that is to accept the model's queries and features, if it passes.
    """
    verdict = promote_stage(
        storage.resolve(run),
        stage=stage,
        max_forgetting=max_forgetting,
        tolerance=tolerance,
        gallery=storage.resolve(gallery) if gallery else "",
    )
    print_result(verdict)


def sweep(
    *,
    out: str,
    over: Specs = (),
    space: str = "",
    samples: int = 1,
    metric: Metric = "mAP",
    stage: Specs = (),
    start: str = "",
    identities: int = 0,
    any_counts: bool = False,
    config: Annotated[StageConfig, Flat],
) -> None:
    """Try settings on Ray Tune: each trial runs all stages in one process and is scored without re-extraction.

    Args:
        out: Where the trials and sweep.json go: a folder or an s3:// URL. A begun sweep goes on.
        over: A setting and its values: loss.tau=0.02,0.05,0.1 or loss.tau=0.02:0.2 (drawn); several times. Or by its
            name: --loss.tau 'loguniform(0.02,0.2)'.
        space: JSON or TOML file of more settings.
        samples: Trials with drawn values.
        metric: What is best after the last stage: mAP or rank1 with stored galleries, reindex_mAP with galleries
            extracted anew, matching_mAP by QAConv in those.
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


def gallery(argv: list[str]) -> None:
    """Keep features for years: create, declare, add, search, delete, compact, verify, stats."""
    run_cli(f"{PROGRAM} gallery", GALLERY, argv)


def benchmark(argv: list[str]) -> None:
    """Continual re-identification as papers measure it: intra, inter, compare."""
    run_cli(f"{PROGRAM} benchmark", BENCHMARK, argv)


COMMANDS = {
    "plan": of_recipe(plan, "plan"),
    "run": of_recipe(run, "run"),
    "results": command(results, f"{PROGRAM} results"),
    "promote": command(promote, f"{PROGRAM} promote"),
    "gallery": gallery,
    "benchmark": benchmark,
    "sweep": of_recipe(sweep, "sweep"),
}

if __name__ == "__main__":
    run_cli(PROGRAM, COMMANDS, sys.argv[1:])
