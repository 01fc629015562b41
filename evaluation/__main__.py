"""The command line of evaluation; its commands are listed at the bottom. Benchmarks: `evaluation.datasets`."""

import contextlib
import functools
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated

import tyro

from cluster import session, storage
from cluster.console import command, console, print_result, run_cli
from cluster.errors import InputError
from evaluation.compatibility.update import explain_update, score_update, summarise_update, update_table
from evaluation.datasets.registry import read_dataset
from evaluation.datasets.rows import SPLITS
from evaluation.embedding.embedder import Embedder
from evaluation.embedding.histogram import HistogramEmbedder
from evaluation.embedding.map_store import map_store
from evaluation.embedding.pipeline import embed_dataset, with_map_shape
from evaluation.explain import ExplainConfig, explain_files
from evaluation.features.files import maps_location, read_features
from evaluation.features.parquet import write_features
from evaluation.metrics.bootstrap import paired_differences
from evaluation.metrics.protocols import find_protocol
from evaluation.report.evaluation_report import ReportConfig, report_rankings
from evaluation.scoring.comparison import align, comparison_table
from evaluation.scoring.files import ScoringConfig, score_files
from evaluation.scoring.problem import read_problem
from evaluation.scoring.scores import BootstrapConfig, intervals_of, summarise, table

Locations = Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FEATURES...")]
Scoring = Annotated[ScoringConfig, tyro.conf.OmitArgPrefixes]
Report = Annotated[ReportConfig, tyro.conf.OmitArgPrefixes]
Bootstrap = Annotated[BootstrapConfig, tyro.conf.OmitArgPrefixes]
DEFAULT, AS_SHOWN, USUAL = ScoringConfig(), ReportConfig(), BootstrapConfig()


def embed(
    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")],
    dataset: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DATASET")],
    *,
    out: str,
    maps: bool = False,
    any_counts: bool = False,
    splits: tuple[str, ...] = ("query", "gallery"),
    workers: int | None = None,
    batch_size: int = 64,
    gpus_per_worker: float = 0.0,
) -> None:
    """Embed the images of a dataset and write a features file.

    Args:
        model: A model directory, or `histogram` for the colour histogram that needs no training.
        dataset: NAME:FOLDER of a benchmark (see `python -m evaluation.datasets list`), csv:FILE, or a folder laid out
            like Market-1501.
        out: The features file to write, such as features.parquet; replaced if it is there.
        maps: Whether to write feature maps too, for QAConv, into features.maps beside it.
        any_counts: Whether to take a copy of a benchmark that is not complete.
        splits: Parts of the dataset to embed; scoring needs query and gallery alone.
        workers: Processes with a model each; as many as the machine or the cluster has room for unless given.
        batch_size: Images that a model sees at once.
        gpus_per_worker: GPUs that each process takes; a fraction lets several share one.
    """
    out = storage.resolve(out)
    if storage.is_folder(out):
        raise InputError(f"--out {out} is a folder; name a file in it, such as {storage.join(out, 'features.parquet')}")
    unknown = sorted(set(splits) - set(SPLITS))
    if unknown or not splits:
        raise InputError(f"--splits must be some of {', '.join(SPLITS)}, got {', '.join(unknown) or 'none'}")
    rows = [row for row in read_dataset(dataset, any_counts=any_counts) if row.split in splits]
    make_embedder = embedder_factory(model)
    with contextlib.ExitStack() as stack:
        write_maps = None
        if maps:
            write_maps = stack.enter_context(map_store(out, rows, with_map_shape(make_embedder())))
        session.connect()
        features = embed_dataset(
            rows,
            make_embedder,
            num_workers=session.usable_workers() if workers is None else workers,
            batch_size=batch_size,
            gpus_per_worker=gpus_per_worker,
            write_maps=write_maps,
        )
        write_features(out, features)
    console.print(f"{len(features):,} images embedded into {out}\nnext: python -m evaluation score {out}")
    print_result(
        {
            "num_images": len(features),
            "embedding_size": features.feature.shape[1],
            "model_fingerprint": features.model_fingerprint[0],
            "out": out,
        }
        | ({"maps": maps_location(out)} if maps else {})
    )


def score(
    features: Locations,
    *,
    scoring: Scoring = DEFAULT,
) -> None:
    """Score a features file: how well its queries find their identity in its gallery.

    Args:
        features: A features file (Parquet or NPZ), from `embed` or another toolbox; several for `--protocol joint`.
        scoring: How.
    """
    problem = read_problem(features, find_protocol(scoring.protocol))
    result, facts = score_files(problem, features, scoring)
    intervals = intervals_of(result, scoring.bootstrap)
    names = ", ".join(storage.name_of(location) for location in features)
    console.print(table(result, f"{scoring.protocol} protocol, {names}", intervals))
    print_result(summarise(result, intervals) | facts)


def compare(
    a: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="A")],
    b: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="B")],
    *,
    scoring: Scoring = DEFAULT,
) -> None:
    """Say whether one features file is better than another of the same images: A - B, paired by query.

    Args:
        a: A features file.
        b: Another one; the same images, identities and cameras, in any order.
        scoring: How, both alike.
    """
    if not scoring.bootstrap.resamples:
        raise InputError("a comparison needs --resamples >= 1; 1000 is usual")
    protocol = find_protocol(scoring.protocol)
    first = read_problem([a], protocol)
    problems = {a: first, b: align(read_problem([b], protocol), first)}
    better, baseline = (score_files(problem, [name], scoring)[0] for name, problem in problems.items())
    resampling = {"num_resamples": scoring.bootstrap.resamples, "seed": scoring.bootstrap.seed}
    differences = paired_differences(better, baseline, **resampling)
    title = f"{storage.name_of(a)} - {storage.name_of(b)}, {protocol.name} protocol, {better.num_queries:,} queries"
    console.print(comparison_table(differences, title=title))
    summary = {name: asdict(found) for name, found in differences.items()}
    print_result({"differences": summary, "a": summarise(better), "b": summarise(baseline)})


def compatibility(
    old: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="OLD")],
    new: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NEW")],
    *,
    protocol: str = "market",
    bootstrap: Bootstrap = USUAL,
) -> None:
    """Say before a release whether a new model's queries work against the gallery that the old model stored.

    Args:
        old: A features file of queries and gallery by the old model.
        new: One of the same queries by the new model; with the same gallery too, it says what extracting that anew
            would give.
        protocol: The rules; see `score`.
        bootstrap: How sure one may be.
    """
    result = score_update(read_features(old), read_features(new), find_protocol(protocol), bootstrap)
    title = (
        f"{storage.name_of(old)} to {storage.name_of(new)}, {protocol} protocol, {result.old_old.num_queries:,} queries"
    )
    console.print(update_table(result, title))
    console.print(explain_update(result))
    print_result(summarise_update(result))


def report(
    features: Locations,
    *,
    out: str,
    names: tuple[str, ...] = (),
    scoring: Scoring = DEFAULT,
    show: Report = AS_SHOWN,
) -> None:
    """Write a one-file HTML report of features files of the same images: scores, curves, distances, rank lists.

    Args:
        features: Features files, the first of which the others are compared with.
        out: The HTML file to write.
        names: What to call them, one name each; their file names unless given.
        scoring: How, all alike.
        show: What the report shows.
    """
    labels = names or tuple(storage.name_of(location).rpartition(".")[0] for location in features)
    if len(set(labels)) != len(features):
        raise InputError(f"{len(features)} files need as many different names, got {', '.join(labels)}; give --names")
    files = dict(zip(labels, features, strict=True))
    methods = report_rankings(files, storage.resolve(out), scoring, show)
    console.print(f"open {storage.resolve(out)}")
    scores = {method.name: summarise(method.result, method.intervals) for method in methods}
    print_result({"out": storage.resolve(out), "scores": scores})


def explain(comparison: Annotated[ExplainConfig, tyro.conf.OmitArgPrefixes]) -> None:
    """Draw which locations of two images QAConv matches, and what each adds to their score.

    Args:
        comparison: How two images are compared, and what is shown of it.
    """
    print_result(explain_files(comparison, embedder_factory(comparison.model)))


def embedder_factory(model: str) -> Callable[[], Embedder]:
    """Return what builds the model that a command line names.

    Raises:
        InputError: If there is no such model.
    """
    if model == "histogram":
        return HistogramEmbedder
    location = storage.resolve(model)
    if not storage.is_folder(location):
        raise InputError(f"{model}: no such model; give a model directory or `histogram`")
    from pretrain.models.directory import load_embedder  # the composition root alone knows who makes models

    return functools.partial(load_embedder, location)


COMMANDS = {
    "embed": command(embed, "python -m evaluation embed"),
    "score": command(score, "python -m evaluation score"),
    "compare": command(compare, "python -m evaluation compare"),
    "compatibility": command(compatibility, "python -m evaluation compatibility"),
    "report": command(report, "python -m evaluation report"),
    "explain": command(explain, "python -m evaluation explain"),
}

if __name__ == "__main__":
    run_cli("python -m evaluation", COMMANDS, sys.argv[1:])
