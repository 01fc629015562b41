"""Ray Train around any learner: the loop of a worker, the record, the checkpoints, and how a run is started."""

import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import ray.train
import torch
from ray.train.torch import TorchConfig, TorchTrainer, get_device, prepare_model
from ray.train.v2.api.callback import UserCallback
from torch import Tensor, nn

from cluster import session, storage
from cluster.memory import keeping_memory
from cluster.resources import READER, Demand
from pretrain.distributed import collectives
from pretrain.distributed.batch_norm import synchronise_batch_norm
from pretrain.training import checkpoint
from pretrain.training.record import FILE, MetricsLog, record_of
from pretrain.training.run_folder import live_progress, record_folder


class Plan(Protocol):
    """What a configuration says of processes and of what is kept; see `pretrain.config.PretrainConfig`."""

    @property
    def workers(self) -> int: ...  # noqa: D102 - documented where it is configured, as all below
    @property
    def min_workers(self) -> int: ...  # noqa: D102
    @property
    def cpus_per_worker(self) -> int: ...  # noqa: D102
    @property
    def data_workers(self) -> int: ...  # noqa: D102
    @property
    def use_gpu(self) -> bool: ...  # noqa: D102
    @property
    def max_failures(self) -> int: ...  # noqa: D102
    @property
    def keep_checkpoints(self) -> int: ...  # noqa: D102
    @property
    def checkpoint_every(self) -> int: ...  # noqa: D102
    @property
    def log_every(self) -> int: ...  # noqa: D102


class Learner(checkpoint.Learner, Protocol):
    """What a worker drives."""

    def step(self, batch: Any, step: int) -> dict[str, Tensor]:
        """Do one optimiser step and return detached metrics."""
        ...


def demands(plan: Plan) -> list[Demand]:
    """Return what a training holds at once, at the least, for `cluster.resources.check_fits`."""
    gpus = 1.0 if plan.use_gpu else 0.0
    remedy = "--workers, --cpus-per-worker, --data-workers"
    count = plan.min_workers or plan.workers
    return [
        Demand(what="training workers", count=count, cpus=_cpus_with_readers(plan), gpus=gpus, remedy=remedy),
        READER,
    ]


def _cpus_with_readers(plan: Plan) -> int:
    """CPUs that a training worker holds: its own, and one for each process that reads for it.

    Held together, they cannot starve each other, and whoever counts machines for an elastic run counts them too.
    """
    return plan.cpus_per_worker + plan.data_workers


def worker_device(plan: Plan) -> torch.device:
    """Return this worker's device, and give a CPU worker its threads."""
    device = get_device()
    assert isinstance(device, torch.device)
    if device.type == "cpu":
        torch.set_num_threads(plan.cpus_per_worker)
    return device


def wrap(module: nn.Module, device: torch.device) -> nn.Module:
    """Put a network on the device, with batch norm over all workers and gradients averaged over them."""
    if ray.train.get_context().get_world_size() > 1:
        is_cpu = device.type == "cpu"
        module = synchronise_batch_norm(module) if is_cpu else nn.SyncBatchNorm.convert_sync_batchnorm(module)
    # Statistics of norms are the same everywhere, as they are of all workers' images: nothing to send at each step.
    return prepare_model(module, parallel_strategy_kwargs={"broadcast_buffers": False})


def restore(learner: Learner) -> int:
    """Load the checkpoint that this run goes on from, if there is one, and return its step; else 0."""
    found = ray.train.get_checkpoint()
    if found is None:
        return 0
    with found.as_directory() as folder:
        return checkpoint.load_checkpoint(folder, learner)


def take_steps(
    learner: Learner,
    batches: Iterable[dict[str, Tensor]],
    plan: Plan,
    *,
    step: int,
    to_batch: Callable[[dict[str, Tensor]], Any],
) -> None:
    """Take the remaining steps of a run, reporting metrics and checkpoints.

    A record's images per second are those of all workers, its waiting for samples is rank 0's.

    Args:
        learner: What learns.
        batches: This worker's, as the collate function made them, with ``images``.
        plan: How often to report.
        step: The step that was done last.
        to_batch: Makes of them what the learner's step takes.
    """
    images, waited, since = 0, 0.0, time.perf_counter()
    for batch, wait in timed(batches):
        step += 1
        metrics = learner.step(to_batch(batch), step)
        images, waited = images + len(batch["images"]), waited + wait
        is_saving = step % plan.checkpoint_every == 0 or step == learner.total_steps
        if is_saving or step % plan.log_every == 0:
            elapsed = time.perf_counter() - since
            speed = {
                "data/wait_seconds": waited,
                "data/wait_share": waited / elapsed,
                "images_per_second": _over_workers(images) / elapsed,
            }
            _report(record_of(step, {**metrics, **speed}), learner if is_saving else None)
            images, waited, since = 0, 0.0, time.perf_counter()
        if step == learner.total_steps:
            break


def _over_workers(count: int) -> float:
    device = get_device()
    assert isinstance(device, torch.device)
    return collectives.sum_over_ranks(torch.tensor(float(count), device=device)).item()


def timed(batches: Iterable[dict[str, Tensor]]) -> Iterator[tuple[dict[str, Tensor], float]]:
    """Yield batches with the seconds that each was waited for."""
    iterator = iter(batches)
    while True:
        start = time.perf_counter()
        batch = next(iterator, None)
        if batch is None:
            return
        yield batch, time.perf_counter() - start


def _report(record: dict[str, Any], learner: Learner | None) -> None:
    """Report on every rank, equally often; rank 0 alone brings the files of a checkpoint."""
    if learner is None or ray.train.get_context().get_world_rank() != 0:
        ray.train.report(record)
        return
    with tempfile.TemporaryDirectory() as folder:
        checkpoint.save_checkpoint(folder, learner, record["step"])
        ray.train.report(record, checkpoint=ray.train.Checkpoint.from_directory(folder))


class RecordMetrics(UserCallback):
    """Writes every report of rank 0 into the run's record; runs in Ray Train's controller, on the driver's node."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.log: MetricsLog | None = None

    def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Any) -> None:
        """Append the record."""
        self.log = self.log or MetricsLog(self.folder)
        self.log.write(metrics[0])


def run_training(
    loop: Callable[[dict[str, Any]], None],
    settings: dict[str, Any],
    plan: Plan,
    *,
    out: str,
    name: str,
    total_steps: int,
) -> dict[str, Any]:
    """Run or resume a training on the connected cluster.

    Args:
        loop: What every worker runs, with the settings.
        settings: Plain values.
        plan: Processes and checkpoints.
        out: The run directory; Ray Train's own is ``out/ray/name``, the record is ``out/metrics.jsonl``.
        name: Carries the hash of the configuration: Ray resumes whatever has that name.
        total_steps: For the progress line.

    Returns:
        The last record, with `checkpoint`, the last checkpoint relative to ``out``, which may be moved or copied.
    """
    with record_folder(out) as folder:
        trainer = TorchTrainer(
            loop,
            train_loop_config=settings,
            torch_config=TorchConfig(backend="nccl" if plan.use_gpu else "gloo"),
            scaling_config=ray.train.ScalingConfig(
                num_workers=(plan.min_workers, plan.workers) if plan.min_workers else plan.workers,
                use_gpu=plan.use_gpu,
                resources_per_worker={"CPU": _cpus_with_readers(plan), **({"GPU": 1} if plan.use_gpu else {})},
            ),
            run_config=ray.train.RunConfig(
                name=name,
                storage_path=storage.join(out, "ray"),
                failure_config=ray.train.FailureConfig(max_failures=plan.max_failures),
                checkpoint_config=ray.train.CheckpointConfig(num_to_keep=plan.keep_checkpoints),
                callbacks=[RecordMetrics(folder)],
                worker_runtime_env={
                    "env_vars": {"RAY_ADDRESS": session.address(), **({} if plan.use_gpu else keeping_memory())}
                },
            ),
        )
        with live_progress(os.path.join(folder, FILE), total_steps):
            result = trainer.fit()
    assert result.checkpoint is not None, "a finished run has a checkpoint"
    return {**(result.metrics or {}), "checkpoint": f"ray/{name}/{storage.name_of(result.checkpoint.path)}"}


def checkpointed_step(run: str) -> int:
    """Return the step of the last committed checkpoint of a Ray Train run; 0 if there is none."""
    if not storage.exists(storage.join(run, "checkpoint_manager_snapshot.json")):
        return 0
    result = ray.train.Result.from_path(run)
    return int(result.metrics["step"]) if result.checkpoint is not None and result.metrics else 0


def newest_checkpoint(run: str) -> str:
    """Return the location of the last committed checkpoint of a Ray Train run, which must have one."""
    found = ray.train.Result.from_path(run).checkpoint
    assert found is not None
    return storage.join(run, storage.name_of(found.path))
