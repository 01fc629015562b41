"""``python -m evaluation embed``: images to features."""

import contextlib
from typing import Annotated

import tyro

from cluster import session, storage
from cluster.console import console, print_result
from cluster.errors import InputError
from evaluation.commands.models import embedder_factory
from evaluation.datasets.registry import read_dataset
from evaluation.datasets.rows import SPLITS
from evaluation.embedding.map_store import map_store
from evaluation.embedding.pipeline import embed_dataset, with_map_shape
from evaluation.features.files import maps_location
from evaluation.features.parquet import write_features


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
