"""The command line of evaluation: ``python -m evaluation embed`` and ``python -m evaluation score``."""

import functools
import sys
from collections.abc import Callable
from typing import Annotated

import tyro

from cluster import session, storage
from cluster.console import command, console, print_result, run_cli
from evaluation import scoring
from evaluation.datasets import read_dataset
from evaluation.embedder import Embedder
from evaluation.features import write_features
from evaluation.histogram import HistogramEmbedder
from evaluation.pipeline import embed_dataset


def embed(
    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")],
    dataset: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DATASET")],
    *,
    out: str,
    workers: int | None = None,
    batch_size: int = 64,
    gpus_per_worker: float = 0.0,
) -> None:
    """Embed the images of a dataset and write a features file.

    Args:
        model: A model directory, or `histogram` for the colour histogram that needs no training.
        dataset: market1501:FOLDER, csv:FILE, a folder of Market-1501's layout, or a manifest .csv.
        out: The features file to write, such as features.parquet; replaced if it is there.
        workers: Processes with a model each; as many as the machine or the cluster has room for unless given.
        batch_size: Images that a model sees at once.
        gpus_per_worker: GPUs that each process takes; a fraction lets several share one.
    """
    out = storage.resolve(out)
    if storage.is_folder(out):
        raise ValueError(f"--out {out} is a folder; name a file in it, such as {storage.join(out, 'features.parquet')}")
    rows = read_dataset(dataset)
    make_embedder = embedder_factory(model)
    session.connect()
    features = embed_dataset(
        rows,
        make_embedder,
        num_workers=session.usable_workers() if workers is None else workers,
        batch_size=batch_size,
        gpus_per_worker=gpus_per_worker,
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
    )


def score(features: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FEATURES")]) -> None:
    """Score a features file: how well its queries find their identity in its gallery.

    Args:
        features: A features file (Parquet), from `embed` or another tool.
    """
    result = scoring.score_features(features)
    console.print(scoring.table(result, f"market protocol, {storage.name_of(features)}"))
    print_result(scoring.summarise(result))


def embedder_factory(model: str) -> Callable[[], Embedder]:
    """Return what builds the model that a command line names.

    Raises:
        ValueError: If there is no such model.
    """
    if model == "histogram":
        return HistogramEmbedder
    location = storage.resolve(model)
    if not storage.is_folder(location):
        raise ValueError(f"{model}: no such model; give a model directory or `histogram`")
    from pretrain.models.directory import load_embedder  # the composition root alone knows who makes models

    return functools.partial(load_embedder, location)


COMMANDS = {
    "embed": command(embed, "python -m evaluation embed"),
    "score": command(score, "python -m evaluation score"),
}

if __name__ == "__main__":
    run_cli("python -m evaluation", COMMANDS, sys.argv[1:])
