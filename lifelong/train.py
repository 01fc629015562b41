"""A stage on Ray Train, and embedding on Ray Data: what a sequence of stages runs on."""

from collections.abc import Sequence
from typing import Any

from cluster import session
from cluster.errors import InputError
from cluster.resources import check_fits
from evaluation.datasets.rows import ImageRow
from evaluation.embedding.map_store import map_store
from evaluation.embedding.pipeline import embed_dataset
from evaluation.features.parquet import write_features
from evaluation.features.table import Features
from lifelong.runs.backend import LocalBackend
from lifelong.training.job import StageJob
from pretrain.models.directory import load_embedder
from pretrain.models.precision import Precision
from pretrain.training.ray_train import demands, run_on_ray

FEW = 4096
"""Images; starting a pool of embedding processes costs as much as embedding some thousands with a small network."""


class RayBackend:
    """Runs stages on the connected Ray cluster."""

    def train(self, job: StageJob) -> dict[str, Any]:
        """Run or resume a stage in its folder.

        Returns:
            The last record of metrics.

        Raises:
            InputError: If the plan does not fit the cluster.
        """
        session.connect()
        check_fits(demands(job.config.scale), session.total_resources())
        per_step, workers = job.per_step, job.config.scale.workers
        if per_step < workers:
            raise InputError(f"a step of {per_step} identities cannot be shared by {workers} --workers")
        return run_on_ray(job, job.folder)

    def embed(self, rows: Sequence[ImageRow], model: str, *, use_gpu: bool, precision: Precision = "auto") -> Features:
        """Embed images with a model directory; few of them here, where a pool of processes would only begin."""
        if precision == "float64" or (len(rows) <= FEW and not use_gpu):
            return LocalBackend().embed(rows, model, use_gpu=use_gpu, precision=precision)
        session.connect()
        return embed_dataset(
            rows,
            lambda: load_embedder(model),
            num_workers=session.usable_workers(),
            batch_size=64,
            gpus_per_worker=1.0 if use_gpu else 0.0,
        )

    def embed_maps(self, rows: Sequence[ImageRow], model: str, out: str, *, use_gpu: bool) -> None:
        """Write a features file of images by a model directory, and their feature maps beside it."""
        session.connect()
        with map_store(out, rows, load_embedder(model)) as write:
            features = embed_dataset(
                rows,
                lambda: load_embedder(model),
                num_workers=session.usable_workers(),
                batch_size=64,
                gpus_per_worker=1.0 if use_gpu else 0.0,
                write_maps=write,
            )
        write_features(out, features)
