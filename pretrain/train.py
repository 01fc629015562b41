"""Training on Ray Train; the samples come from `pretrain.pipeline`, the order of a step from `pretrain.step`."""

import os
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import ray.train
import torch
from ray.data import Dataset
from ray.train.torch import TorchConfig, TorchTrainer, get_device, prepare_model
from ray.train.v2.api.callback import UserCallback

from cluster import session, storage
from cluster.console import console
from cluster.resources import READER, Demand, check_fits
from cluster.values import fingerprint, from_json, to_json
from pretrain.collectives import synchronise_batch_norm
from pretrain.config import PretrainConfig
from pretrain.models.encoder import make_encoder
from pretrain.objective import Batch
from pretrain.pipeline import CollatePairs, build_dataset, load_clip_table
from pretrain.runs.checkpoint import load_checkpoint, save_checkpoint
from pretrain.runs.directory import live_progress, record_folder, refuse_other_run
from pretrain.runs.metrics import FILE, MetricsLog
from pretrain.step import Learner


def train_loop(settings: dict[str, Any]) -> None:
    """What every training worker runs: restore, iterate, report."""
    config = from_json(PretrainConfig, settings["config"])
    context = ray.train.get_context()
    device = get_device()
    assert isinstance(device, torch.device)
    if device.type == "cpu":
        torch.set_num_threads(config.cpus_per_worker)
    encoder = make_encoder(config.model, seed=config.seed)
    if context.get_world_size() > 1:
        is_cpu = device.type == "cpu"
        encoder = synchronise_batch_norm(encoder) if is_cpu else torch.nn.SyncBatchNorm.convert_sync_batchnorm(encoder)
    learner = Learner(config, total_steps=settings["total_steps"], device=device, wrapped=prepare_model(encoder))
    step = 0
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as folder:
            step = load_checkpoint(folder, learner)
    if step == learner.total_steps:
        return
    shard = ray.train.get_dataset_shard("train")
    assert shard is not None, "train() gives every worker a dataset"
    batches = shard.iter_torch_batches(
        batch_size=config.batch_pairs // context.get_world_size(),
        collate_fn=CollatePairs(),
        prefetch_batches=2,
        drop_last=True,
    )
    images, waited, since = 0, 0.0, time.perf_counter()
    for batch, wait in _timed(batches):
        step += 1
        metrics = learner.step(
            Batch(
                images=batch["images"],
                clean=batch["clean"],
                x_counts=batch["x_counts"].tolist(),
                y_counts=batch["y_counts"].tolist(),
                video=batch["video"],
                seconds=batch["seconds"],
            ),
            step,
        )
        images, waited = images + len(batch["images"]), waited + wait
        is_saving = step % config.checkpoint_every == 0 or step == learner.total_steps
        if is_saving or step % config.log_every == 0:
            elapsed = time.perf_counter() - since
            record: dict[str, Any] = {name: float(value) for name, value in metrics.items()}
            record |= {
                "data/wait_seconds": waited,
                "data/wait_share": waited / elapsed,
                "images_per_second": images / elapsed,
            }
            _report({"step": step, **record}, learner if is_saving else None, context.get_world_rank())
            images, waited, since = 0, 0.0, time.perf_counter()
        if step == learner.total_steps:
            break


def _timed(batches: Any) -> Iterator[tuple[dict[str, torch.Tensor], float]]:
    """Yield batches with the seconds that each was waited for."""
    iterator = iter(batches)
    while True:
        start = time.perf_counter()
        batch = next(iterator, None)
        if batch is None:
            return
        yield batch, time.perf_counter() - start


def _report(record: dict[str, Any], learner: Learner | None, rank: int) -> None:
    """Report on every rank, equally often; rank 0 alone brings the files of a checkpoint."""
    if learner is None or rank != 0:
        ray.train.report(record)
        return
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(folder, learner, record["step"])
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


def train(config: PretrainConfig, clips: str, out: str) -> dict[str, Any]:
    """Run or resume a training.

    Args:
        config: The run.
        clips: A clips directory.
        out: The run directory.

    Returns:
        The last record, with `checkpoint`, the location of the last checkpoint.

    Raises:
        ValueError: If the clips cannot be used, the directory belongs to another run, or the plan does not fit.
    """
    table = load_clip_table(clips)
    draws = config.epochs * len(table.video) * config.pairs_per_clip
    total_steps = draws // config.batch_pairs
    if total_steps == 0:
        raise ValueError(
            f"{clips} gives {draws} frame pairs in {config.epochs} epochs, less than a batch of {config.batch_pairs}; "
            "lower --batch-pairs, or raise --epochs or --pairs-per-clip"
        )
    mine = {"config": to_json(config), "clips": clips, "num_clips": len(table.video)}
    refuse_other_run(out, config, mine)
    if (finished := _finished(out)) is not None:
        return finished
    console.print(f"{config}\n{total_steps} steps on {len(table.video)} clips", markup=False)
    session.connect()
    check_fits(_demands(config), session.total_resources())
    # Only a run that can start takes the directory: its workers are part of the configuration.
    storage.write_json(storage.join(out, "config.json"), mine)
    name = f"{config.recipe}-{fingerprint(config)}"
    run = storage.join(out, "ray", name)

    def make_dataset() -> Dataset:
        """Called by the controller at every start of workers: leaves out what the last checkpoint has consumed."""
        session.configure_data()
        first_draw = _checkpointed_step(run) * config.batch_pairs
        return build_dataset(table, config, first_draw=first_draw, draws=total_steps * config.batch_pairs)

    with record_folder(out) as folder:
        trainer = TorchTrainer(
            train_loop,
            train_loop_config={"config": to_json(config), "total_steps": total_steps},
            torch_config=TorchConfig(backend="nccl" if config.use_gpu else "gloo"),
            scaling_config=ray.train.ScalingConfig(
                num_workers=config.workers,
                use_gpu=config.use_gpu,
                resources_per_worker={"CPU": config.cpus_per_worker, **({"GPU": 1} if config.use_gpu else {})},
            ),
            run_config=ray.train.RunConfig(
                name=name,
                storage_path=storage.join(out, "ray"),
                failure_config=ray.train.FailureConfig(max_failures=config.max_failures),
                checkpoint_config=ray.train.CheckpointConfig(num_to_keep=config.keep_checkpoints),
                callbacks=[RecordMetrics(folder)],
                worker_runtime_env={"env_vars": {"RAY_ADDRESS": session.address()}},
            ),
            datasets={"train": make_dataset},
        )
        with live_progress(os.path.join(folder, FILE), total_steps):
            result = trainer.fit()
    assert result.checkpoint is not None, "a finished run has a checkpoint"
    # Relative to the run directory, which may be moved or copied.
    final = {**(result.metrics or {}), "checkpoint": f"ray/{name}/{storage.name_of(result.checkpoint.path)}"}
    storage.write_json(storage.join(out, "done.json"), final)
    return {**final, "checkpoint": storage.join(out, final["checkpoint"])}


def _finished(out: str) -> dict[str, Any] | None:
    """Return the last record of a finished run, None if it has not finished."""
    done = storage.join(out, "done.json")
    if not storage.exists(done):
        return None
    final = storage.read_json(done)
    return {**final, "checkpoint": storage.join(out, final["checkpoint"])}


def _demands(config: PretrainConfig) -> list[Demand]:
    gpus = 1.0 if config.use_gpu else 0.0
    cpus = config.cpus_per_worker
    return [
        Demand(
            what="training workers", count=config.workers, cpus=cpus, gpus=gpus, remedy="--workers, --cpus-per-worker"
        ),
        Demand(what="data workers", count=config.data_workers, cpus=1, remedy="--data-workers"),
        READER,
    ]


def _checkpointed_step(run: str) -> int:
    """Return the step of the last committed checkpoint of a Ray Train run; 0 if there is none."""
    if not storage.exists(storage.join(run, "checkpoint_manager_snapshot.json")):
        return 0
    result = ray.train.Result.from_path(run)
    return int(result.metrics["step"]) if result.checkpoint is not None and result.metrics else 0


def latest_checkpoint(run_directory: str) -> str:
    """Return the location of the newest complete checkpoint below a run directory.

    Raises:
        ValueError: If the directory is no run, or has no checkpoint yet.
    """
    if (finished := _finished(run_directory)) is not None:
        return finished["checkpoint"]
    location = storage.join(run_directory, "config.json")
    if not storage.exists(location):
        raise ValueError(f"{run_directory} is no run directory of python -m pretrain train")
    config = from_json(PretrainConfig, storage.read_json(location).get("config"))
    run = storage.join(run_directory, "ray", f"{config.recipe}-{fingerprint(config)}")
    if not _checkpointed_step(run):
        raise ValueError(f"{run_directory} has no checkpoint yet; let it run longer or lower --checkpoint-every")
    checkpoint = ray.train.Result.from_path(run).checkpoint
    assert checkpoint is not None
    return storage.join(run, storage.name_of(checkpoint.path))
