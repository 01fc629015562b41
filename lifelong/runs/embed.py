"""What is embedded of a run: every dataset by the models that the protocol asks for, and nothing twice."""

from collections.abc import Mapping, Sequence

import numpy as np

from cluster import storage
from evaluation.datasets.rows import ImageRow
from evaluation.features.files import maps_location
from evaluation.features.parquet import write_features
from lifelong.runs.backend import Backend
from lifelong.runs.run import StageFolder


def embed(stage: StageFolder, backend: Backend) -> None:
    """Embed what the evaluation after a stage needs and no earlier stage has left.

    The gallery of a dataset that users search is the one by the model of its own stage. What else is embedded serves
    the comparison: galleries by later models (``re_extracted``), everything by the first (``first_model``), and
    queries of the new dataset by older models.

    Args:
        stage: It has just been trained, as all before it.
        backend: Where images are embedded.
    """
    run, newest = stage.run, stage.number
    wanted: dict[int, dict[str, list[ImageRow]]] = {}
    for model in range(1, newest):
        splits = ("query", "gallery") if model == 1 else ("query",)
        wanted[model] = {stage.name: stage.rows(*splits)}
    wanted[newest] = {one.name: one.rows("query", "gallery") for one in run.stages[:newest]} | dict(run.unseen)
    for model, datasets in wanted.items():
        files = {run.features(name, model): rows for name, rows in datasets.items()}
        embed_missing(files, run.model(model), backend, use_gpu=run.stage(model).config.scale.use_gpu)


def embed_missing(
    files: Mapping[str, Sequence[ImageRow]], model: str, backend: Backend, *, use_gpu: bool, with_maps: bool = False
) -> None:
    """Write the features files that are missing, with feature maps beside them if asked.

    Args:
        files: The images of each, by its location.
        model: A model directory.
        backend: Where images are embedded.
        use_gpu: Whether embedding takes a GPU.
        with_maps: Whether QAConv will compare them.
    """
    if with_maps:
        for location, rows in files.items():
            if not storage.exists(location) or not storage.exists(maps_location(location)):
                backend.embed_maps(rows, model, location, use_gpu=use_gpu)
        return
    missing = {location: rows for location, rows in files.items() if not storage.exists(location)}
    if not missing:
        return
    # All at once: a model is loaded once in a worker.
    features = backend.embed([row for rows in missing.values() for row in rows], model, use_gpu=use_gpu)
    start = 0
    for location, rows in missing.items():
        write_features(location, features.take(np.arange(start, start + len(rows))))
        start += len(rows)
