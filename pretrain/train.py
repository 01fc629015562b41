"""ISR training on Ray Train; the samples come from `pretrain.pipeline`, the order of a step from `pretrain.step`."""

from typing import Any

import ray.train
from torch import Tensor

from cluster import session, storage
from cluster.console import console
from cluster.resources import check_fits
from cluster.values import fingerprint, from_json, to_json
from pretrain.config import PretrainConfig
from pretrain.models.encoder import make_encoder
from pretrain.objective import Batch
from pretrain.pipeline import CollatePairs, build_dataset, load_clip_table
from pretrain.runs.directory import refuse_other_run
from pretrain.runs.train import (
    checkpointed_step,
    demands,
    newest_checkpoint,
    restore,
    run_training,
    take_steps,
    worker_device,
    wrap,
)
from pretrain.step import Learner


def train_loop(settings: dict[str, Any]) -> None:
    """What every training worker runs: restore, iterate, report."""
    config = from_json(PretrainConfig, settings["config"])
    device = worker_device(config)
    encoder = wrap(make_encoder(config.model, seed=config.seed), device)
    learner = Learner(config, total_steps=settings["total_steps"], device=device, wrapped=encoder)
    step = restore(learner)
    if step == learner.total_steps:
        return
    shard = ray.train.get_dataset_shard("train")
    assert shard is not None, "train() gives every worker a dataset"
    batches = shard.iter_torch_batches(
        batch_size=config.batch_pairs // ray.train.get_context().get_world_size(),
        collate_fn=CollatePairs(),
        prefetch_batches=2,
        drop_last=True,
    )
    take_steps(learner, batches, config, step=step, to_batch=_to_batch)


def _to_batch(columns: dict[str, Tensor]) -> Batch:
    return Batch(
        images=columns["images"],
        clean=columns["clean"],
        x_counts=columns["x_counts"].tolist(),
        y_counts=columns["y_counts"].tolist(),
        video=columns["video"],
        seconds=columns["seconds"],
    )


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
    check_fits(demands(config), session.total_resources())
    # Only a run that can start takes the directory: its workers are part of the configuration.
    storage.write_json(storage.join(out, "config.json"), mine)
    final = run_training(
        train_loop,
        {"config": to_json(config), "total_steps": total_steps},
        config,
        out=out,
        name=_name(config),
        total_steps=total_steps,
        make_dataset=lambda step: build_dataset(
            table, config, first_draw=step * config.batch_pairs, draws=total_steps * config.batch_pairs
        ),
    )
    storage.write_json(storage.join(out, "done.json"), final)
    return {**final, "checkpoint": storage.join(out, final["checkpoint"])}


def _name(config: PretrainConfig) -> str:
    return f"{config.recipe}-{fingerprint(config)}"


def _finished(out: str) -> dict[str, Any] | None:
    """Return the last record of a finished run, None if it has not finished."""
    done = storage.join(out, "done.json")
    if not storage.exists(done):
        return None
    final = storage.read_json(done)
    return {**final, "checkpoint": storage.join(out, final["checkpoint"])}


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
    run = storage.join(run_directory, "ray", _name(config))
    if not checkpointed_step(run):
        raise ValueError(f"{run_directory} has no checkpoint yet; let it run longer or lower --checkpoint-every")
    return newest_checkpoint(run)
