"""A training on Ray Train: the loop of a worker, and how a run is started on the connected cluster."""

import os
from typing import Any

import ray.train
import torch
from ray.train.torch import TorchConfig, TorchTrainer, get_device, prepare_model
from ray.train.v2.api.callback import UserCallback
from torch import nn

from cluster import session, storage
from cluster.causes import input_error_in
from cluster.memory import keeping_memory
from cluster.resources import READER, Demand
from cluster.values import fingerprint
from pretrain.config.scale import ScaleConfig, identity
from pretrain.data.sampler import Share
from pretrain.data.stream import stream
from pretrain.distributed.batch_norm import synchronise_batch_norm
from pretrain.training.checkpoint import folder_of, newest, publish, restore, saved_records
from pretrain.training.job import Job
from pretrain.training.learner import Learner
from pretrain.training.loop import take_steps
from pretrain.training.record import FILE, MetricsLog, read_metrics_file
from pretrain.training.run_folder import live_progress, record_folder

AGAIN = "again"
"""Of a report: records that the checkpoint which is gone on from has kept, and that may be missing."""


def demands(scale: ScaleConfig) -> list[Demand]:
    """Return what a training holds at once, at the least, for `cluster.resources.check_fits`."""
    gpus = 1.0 if scale.use_gpu else 0.0
    remedy = "--workers, --cpus-per-worker, --data-workers"
    count = scale.min_workers or scale.workers
    return [
        Demand(what="training workers", count=count, cpus=_cpus_with_readers(scale), gpus=gpus, remedy=remedy),
        READER,
    ]


def _cpus_with_readers(scale: ScaleConfig) -> int:
    """CPUs that a training worker holds: its own, and one for each process that reads for it.

    Held together, they cannot starve each other, and whoever counts machines for an elastic run counts them too.
    """
    return scale.cpus_per_worker + scale.data_workers


def train_loop(settings: dict[str, Any]) -> None:
    """What every training worker runs: restore, iterate, report."""
    job: Job = settings["job"]
    out: str = settings["out"]
    scale: ScaleConfig = job.config.scale
    device = _device(scale)
    learner = job.make_learner(device, lambda module: wrap(module, device))
    step = restore(out, learner)
    if step:
        # A worker that died may have saved what Ray had not yet asked it for. Reported by all, as every report.
        ray.train.report({AGAIN: saved_records(folder_of(out, step))})
    if step >= learner.total_steps:
        return
    context = ray.train.get_context()
    share = Share(
        rank=context.get_world_rank(),
        processes=context.get_world_size(),
        per_step=job.per_step,
        first_step=step,
        total_steps=learner.total_steps,
    )
    batches = stream(job, share, device, readers=scale.data_workers)
    take_steps(learner, batches, scale, RayReporter(out, share.rank, keep=scale.keep_checkpoints), step=step)


def _device(scale: ScaleConfig) -> torch.device:
    """Return this worker's device, and give a CPU worker its threads."""
    device = get_device()
    assert isinstance(device, torch.device)
    if device.type == "cpu":
        torch.set_num_threads(scale.cpus_per_worker)
    return device


def wrap(module: nn.Module, device: torch.device) -> nn.Module:
    """Put a network on the device, with batch norm over all workers and gradients averaged over them."""
    if ray.train.get_context().get_world_size() > 1:
        is_cpu = device.type == "cpu"
        module = synchronise_batch_norm(module) if is_cpu else nn.SyncBatchNorm.convert_sync_batchnorm(module)
    # Statistics of norms are the same everywhere, as they are of all workers' images: nothing to send at each step.
    return prepare_model(module, parallel_strategy_kwargs={"broadcast_buffers": False})


class RayReporter:
    """Reports through Ray on every worker; the first writes the checkpoints.

    They are ours and not Ray's: one layout and one rule of resuming for every training, and a run that can be exported,
    copied or resumed without Ray's notes of it.
    """

    def __init__(self, out: str, rank: int, *, keep: int) -> None:
        self.out, self.rank, self.keep = out, rank, keep
        self._records: list[dict[str, Any]] = []

    def report(self, record: dict[str, Any], learner: Learner | None) -> None:
        """Pass a record on, and write a checkpoint after it."""
        ray.train.report(record)
        self._records.append(record)
        if learner is not None:
            if self.rank == 0:
                publish(self.out, learner, record["step"], records=self._records, keep=self.keep)
            self._records = []


class RecordMetrics(UserCallback):
    """Writes every report of rank 0 into the run's record; runs in Ray Train's controller, on the driver's node."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.log: MetricsLog | None = None

    def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Any) -> None:
        """Append the record."""
        self.log = self.log or MetricsLog(self.folder)
        if AGAIN in metrics[0]:
            self.log.write_missing(metrics[0][AGAIN])
        else:
            self.log.write(metrics[0])

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        """End the run at once if a worker cannot use its input: the next worker could not either.

        What is raised here ends Ray Train's controller; a worker's exception would be tried again.
        """
        for error in worker_exceptions.values():
            if found := input_error_in(error):
                raise found


def _fit(trainer: TorchTrainer) -> None:
    try:
        trainer.fit()
    except ray.train.TrainingFailedError as error:
        if found := input_error_in(error):
            raise found from error
        raise


def run_on_ray(job: Job, out: str) -> dict[str, Any]:
    """Run or resume a training on the connected cluster.

    Args:
        job: The training.
        out: The run directory, which every machine sees.

    Returns:
        The last record.

    Raises:
        InputError: If a worker cannot use its input; as it says there, in one line.
    """
    scale: ScaleConfig = job.config.scale
    own = storage.join(out, "ray")
    with record_folder(out) as folder:
        if newest(out) == folder_of(out, job.total_steps):  # all but the run's last mark was written
            return read_metrics_file(os.path.join(folder, FILE))[-1]
        trainer = TorchTrainer(
            train_loop,
            train_loop_config={"job": job, "out": out},
            torch_config=TorchConfig(backend="nccl" if scale.use_gpu else "gloo"),
            scaling_config=ray.train.ScalingConfig(
                num_workers=(scale.min_workers, scale.workers) if scale.min_workers else scale.workers,
                use_gpu=scale.use_gpu,
                resources_per_worker={"CPU": _cpus_with_readers(scale), **({"GPU": 1} if scale.use_gpu else {})},
            ),
            run_config=ray.train.RunConfig(
                name=f"{job.config.recipe}-{fingerprint(identity(job.config))}",
                storage_path=own,
                failure_config=ray.train.FailureConfig(max_failures=scale.max_failures),
                callbacks=[RecordMetrics(folder)],
                worker_runtime_env={
                    "env_vars": {"RAY_ADDRESS": session.address(), **({} if scale.use_gpu else keeping_memory())}
                },
            ),
        )
        with live_progress(os.path.join(folder, FILE), job.total_steps):
            _fit(trainer)
        last = read_metrics_file(os.path.join(folder, FILE))[-1]
    storage.remove(own)
    return last
