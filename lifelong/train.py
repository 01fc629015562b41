"""A stage on Ray Train, and embedding on Ray Data: what a sequence of stages runs on."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from safetensors.torch import load
from torch import Tensor

from cluster import session, storage
from cluster.resources import check_fits
from cluster.values import fingerprint
from evaluation.datasets.rows import ImageRow
from evaluation.embedding.pipeline import embed_dataset
from evaluation.features.parquet import write_features
from evaluation.features.table import Features
from evaluation.qaconv.map_store import map_store
from lifelong.data.feed import to_batch
from lifelong.data.pipeline import CollateDraws, build_dataset
from lifelong.runs.local import LocalMachine
from lifelong.training.job import StageJob, draws_of, make_learner
from pretrain.models.directory import load_embedder
from pretrain.models.precision import Precision
from pretrain.training.ray_train import demands, restore, run_training, take_steps, worker_device, wrap
from pretrain.training.stream import own_share, stream

FEW = 4096
"""Images; starting a pool of embedding processes costs as much as embedding some thousands with a small network."""


def train_loop(settings: dict[str, Any]) -> None:
    """What every training worker runs: restore, iterate, report."""
    job: StageJob = settings["job"]
    device = worker_device(job.config)
    steps = settings["total_steps"]
    learner = make_learner(job, steps=steps, device=device, wrap=lambda module: wrap(module, device))
    step = restore(learner)
    if step == learner.total_steps:
        return
    share = own_share(step, per_step=settings["per_step"], total_steps=learner.total_steps)
    # To look ahead would be to wait for a graph that is made only when the batch at hand has been learned.
    look_ahead = 0 if job.config.sampler == "graph" else 2
    batches = stream(partial(build_dataset, job), share, CollateDraws(), device, look_ahead=look_ahead)
    take_steps(learner, batches, job.config, step=step, to_batch=to_batch)


class RayMachine:
    """Runs stages on the connected Ray cluster."""

    def train(self, job: StageJob, *, steps: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Run or resume a stage.

        Returns:
            The network's tensors, and the last record of metrics.

        Raises:
            ValueError: If the plan does not fit the cluster.
        """
        session.connect()
        check_fits(demands(job.config), session.total_resources())
        per_step = draws_of(job).per_step
        if per_step < job.config.workers:
            raise ValueError(f"a step of {per_step} identities cannot be shared by {job.config.workers} --workers")
        final = run_training(
            train_loop,
            {"job": job, "total_steps": steps, "per_step": per_step},
            job.config,
            out=job.folder,
            name=f"{job.config.recipe}-{fingerprint(job.config)}",
            total_steps=steps,
        )
        checkpoint = storage.join(job.folder, final.pop("checkpoint"))
        return load(storage.read_bytes(storage.join(checkpoint, "model.safetensors"))), final

    def embed(self, rows: Sequence[ImageRow], model: str, *, use_gpu: bool, precision: Precision = "auto") -> Features:
        """Embed images with a model directory; few of them here, where a pool of processes would only begin."""
        if precision == "float64" or (len(rows) <= FEW and not use_gpu):
            return LocalMachine().embed(rows, model, use_gpu=use_gpu, precision=precision)
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
