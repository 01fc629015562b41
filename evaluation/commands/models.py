"""From what a command line calls a model to what builds it; the composition root alone knows who makes models."""

import functools
from collections.abc import Callable

from cluster import storage
from cluster.errors import InputError
from evaluation.embedding.embedder import Embedder
from evaluation.embedding.histogram import HistogramEmbedder


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
    from pretrain.models.directory import load_embedder

    return functools.partial(load_embedder, location)
