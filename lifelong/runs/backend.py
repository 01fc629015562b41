"""Stages in this process: for sweeps and benchmarks, where starting workers would take longer than the training."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from evaluation.datasets.images import read_image
from evaluation.datasets.rows import ImageRow
from evaluation.embedding.label_rows import label_rows
from evaluation.embedding.map_store import map_store
from evaluation.features.parquet import write_features
from evaluation.features.table import Features
from lifelong.training.job import StageJob
from pretrain.models.directory import load_embedder
from pretrain.models.precision import Precision
from pretrain.training.local import run_here
from pretrain.training.record import read_metrics

IMAGES_AT_ONCE = 512
MAPS_AT_ONCE = 64
"""A map takes a hundred times the memory of a feature."""


class Backend(Protocol):
    """Where stages are trained and images embedded."""

    def train(self, job: StageJob) -> dict[str, Any]:
        """Run or resume a stage in its folder; return the last record of metrics."""
        ...

    def embed(self, rows: Sequence[ImageRow], model: str, *, use_gpu: bool, precision: Precision = "auto") -> Features:
        """Embed images with a model directory; features are float32, whatever they were computed in."""
        ...

    def embed_maps(self, rows: Sequence[ImageRow], model: str, out: str, *, use_gpu: bool) -> None:
        """Write a features file of images by a model directory, and their feature maps beside it."""
        ...


class LocalBackend:
    """This process. It takes the steps that Ray Train's workers would take."""

    def train(self, job: StageJob) -> dict[str, Any]:
        """Run or resume a stage."""
        run_here(job, job.folder)
        return read_metrics(job.folder)[-1]

    def embed(self, rows: Sequence[ImageRow], model: str, *, use_gpu: bool, precision: Precision = "auto") -> Features:
        """Embed images with a model directory."""
        embedder = load_embedder(model, precision=precision)
        parts = [
            embedder.embed([read_image(row.path) for row in rows[start : start + IMAGES_AT_ONCE]])
            for start in range(0, len(rows), IMAGES_AT_ONCE)
        ]
        return label_rows(rows, np.concatenate(parts).astype(np.float32), embedder.fingerprint)

    def embed_maps(self, rows: Sequence[ImageRow], model: str, out: str, *, use_gpu: bool) -> None:
        """Write a features file of images by a model directory, and their feature maps beside it."""
        embedder, parts = load_embedder(model), []
        with map_store(out, rows, embedder) as write:
            for start in range(0, len(rows), MAPS_AT_ONCE):
                images = [read_image(row.path) for row in rows[start : start + MAPS_AT_ONCE]]
                feature, maps = embedder.embed_with_maps(images)
                write(np.arange(start, start + len(images)), maps)
                parts.append(feature)
        write_features(out, label_rows(rows, np.concatenate(parts), embedder.fingerprint))
