"""Stages in this process: for sweeps and benchmarks, where starting workers would take longer than the training."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from evaluation.datasets.rows import ImageRow
from evaluation.embedding.images import read_image
from evaluation.embedding.pipeline import label_rows
from evaluation.features.parquet import write_features
from evaluation.features.table import Features
from evaluation.qaconv.map_store import map_store
from lifelong.data.feed import batches
from lifelong.training.job import StageJob, make_learner, open_feed
from pretrain.models.directory import load_embedder
from pretrain.models.precision import Precision

IMAGES_AT_ONCE = 512
MAPS_AT_ONCE = 64
"""A map takes a hundred times the memory of a feature."""


class Machine(Protocol):
    """Where stages are trained and images embedded."""

    def train(self, job: StageJob, *, steps: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Run a stage; return the network's tensors and the last record of metrics."""
        ...

    def embed(self, rows: Sequence[ImageRow], model: str, *, use_gpu: bool, precision: Precision = "auto") -> Features:
        """Embed images with a model directory; features are float32, whatever they were computed in."""
        ...

    def embed_maps(self, rows: Sequence[ImageRow], model: str, out: str, *, use_gpu: bool) -> None:
        """Write a features file of images by a model directory, and their feature maps beside it."""
        ...


class LocalMachine:
    """This process. It takes the steps that Ray Train's workers would take, and keeps no checkpoints."""

    def train(self, job: StageJob, *, steps: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Run a stage from its beginning."""
        torch.set_num_threads(job.config.cpus_per_worker)
        device = torch.device("cuda" if job.config.use_gpu else "cpu")
        learner = make_learner(job, steps=steps, device=device, wrap=lambda module: module)
        metrics: dict[str, Tensor] = {}
        step = 0
        for step, batch in enumerate(batches(open_feed(job), first_step=1, total_steps=steps), 1):
            metrics = learner.step(batch, step)
            if step == learner.total_steps:  # an adaptive schedule may end before the last batch
                break
        record = {"step": step} | {name: float(value) for name, value in metrics.items()}
        return learner.module.state_dict(), record

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
