"""The commands of the benchmarks: intra, inter, compare."""

from collections.abc import Sequence
from typing import Annotated, Literal

import tyro
from rich.table import Table

from cluster import session, storage
from cluster.console import console, print_result
from cluster.options import Flat, Repeated
from lifelong.protocols.compare import compare as compare_runs
from lifelong.protocols.manifest import Kind, make_manifest
from lifelong.protocols.plans import IDENTITIES
from lifelong.protocols.plans import inter as inter_plan
from lifelong.protocols.plans import intra as intra_plan
from lifelong.protocols.report import heading, notes_on
from lifelong.protocols.run import run_benchmark
from lifelong.runs.scores import BenchmarkScoring
from lifelong.stages.config import StageConfig
from lifelong.stages.plan import LifelongPlan
from lifelong.train import RayBackend

Runs = Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN...")]
USUAL = BenchmarkScoring()


def intra(
    *,
    dataset: str,
    out: str,
    tasks: int = 10,
    rule: Literal["ascending", "shuffled"] | None = None,
    split_seed: int = 0,
    start: str = "",
    any_counts: bool = False,
    scoring: Annotated[BenchmarkScoring, Flat] = USUAL,
    config: Annotated[StageConfig, Flat],
) -> None:
    """Learn one dataset in tasks of new identities, and score every task's model on the whole test set.

    The same command again goes on where it was.

    Args:
        dataset: NAME:FOLDER of a benchmark, csv:FILE, or a folder laid out like Market-1501.
        out: The run directory: a folder or an s3:// URL.
        tasks: Into how many its training identities are cut.
        rule: ascending by number is the published rule of Market-1501, and its default; shuffled is ours, for datasets
            whose published splits are not available.
        split_seed: Of shuffled.
        start: First weights: a model directory, a file (.safetensors, .pth), torchvision:NAME or timm:TAG; else random.
        any_counts: Whether to take a copy of a benchmark that is not complete.
        scoring: How models are scored.
        config: How each task is learned.
    """
    options = {"rule": rule, "seed": split_seed, "start": _resolved(start), "any_counts": any_counts}
    plan = intra_plan(dataset, tasks, config, **options)
    _run(plan, "intra", out, scoring)


def inter(
    *,
    out: str,
    order: Literal[0, 1, 2] = 0,
    root: str = "",
    domain: Repeated = (),
    unseen: Repeated = (),
    identities: int = IDENTITIES,
    start: str = "",
    any_counts: bool = False,
    scoring: Annotated[BenchmarkScoring, Flat] = USUAL,
    config: Annotated[StageConfig, Flat],
) -> None:
    """Learn one domain after the other, and score every task's model on all domains so far and on unseen ones.

    The same command again goes on where it was.

    Args:
        out: The run directory: a folder or an s3:// URL.
        order: 1 is market1501, cuhk-sysu, dukemtmc, msmt17, cuhk03; 2 is dukemtmc, msmt17, market1501, cuhk-sysu,
            cuhk03; 0 is that of --domain.
        root: Folder with the datasets of the order, and with those that are never trained on.
        domain: LABEL=SPEC, several times: the domains in order, or, with --order, in place of those of its labels.
        unseen: LABEL=SPEC of a dataset never trained on, several times: one more, or in place of that of its label.
        identities: Training identities of each domain, the first by number; 0 takes all.
        start: First weights: a model directory, a file (.safetensors, .pth), torchvision:NAME or timm:TAG; else random.
        any_counts: Whether to take copies of benchmarks that are not complete.
        scoring: How models are scored.
        config: How each domain is learned.
    """
    options = {"root": storage.resolve(root) if root else "", "identities": identities, "start": _resolved(start)}
    given = {"domains": domain, "unseen": unseen, "any_counts": any_counts}
    plan, missing = inter_plan(config, order=order, **options, **given)
    _run(plan, "inter", out, scoring, missing=missing)


def compare(runs: Runs) -> None:
    """Print one table of finished runs of one benchmark; runs of one recipe and settings are seeds of it.

    Args:
        runs: Run directories.
    """
    methods = compare_runs([storage.resolve(run) for run in runs])
    recipes = [method["recipe"] for method in methods]
    shown = Table(title="percent; mean ± standard deviation over seeds", title_justify="left")
    shown.add_column("recipe")
    for method in methods:
        is_alone = recipes.count(method["recipe"]) == 1
        name = method["recipe"] if is_alone else f"{method['recipe']} ({method['settings']})"
        shown.add_column(name, no_wrap=True, justify="right")
    shown.add_row("seeds", *(", ".join(map(str, method["seeds"])) for method in methods))
    for key in methods[0]["mean"]:
        values = (_with_deviation(method["mean"][key], method["deviation"][key]) for method in methods)
        shown.add_row(heading(key), *values)
    console.print(shown, markup=False)
    print_result({"methods": methods})


def _run(plan: LifelongPlan, kind: Kind, out: str, scoring: BenchmarkScoring, *, missing: Sequence[str] = ()) -> None:
    where = storage.resolve(out)
    manifest = make_manifest(plan, kind, protocol=scoring.protocol, missing=missing)
    for note in notes_on(manifest):
        console.print(note, markup=False)
    try:
        result = run_benchmark(plan, where, RayBackend(), manifest, scoring)
    finally:
        session.disconnect()
    console.print(f"results: {storage.join(where, 'benchmark.md')}", markup=False)
    print_result({"out": where, "manifest": result["manifest"], "missing": list(missing), **result["summary"]})


def _resolved(start: str) -> str:
    return storage.resolve(start) if start else ""


def _with_deviation(mean: float, deviation: float | None) -> str:
    return f"{100 * mean:.1f}" + ("" if deviation is None else f" ± {100 * deviation:.1f}")
