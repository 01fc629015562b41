"""ISR training on Ray Train: samples of `pretrain.data.pipeline`, steps of `pretrain.training.step`."""

from dataclasses import replace
from functools import partial
from typing import Any

from safetensors.torch import load, save

from cluster import session, storage
from cluster.console import console
from cluster.resources import check_fits
from cluster.values import fingerprint, from_json, to_json
from pretrain.config import PretrainConfig
from pretrain.data.feed import to_batch
from pretrain.data.frame_pairs import ClipTable, load_clip_table, total_steps
from pretrain.data.pipeline import CollatePairs, build_dataset
from pretrain.models.encoder import make_encoder
from pretrain.models.initial import read_initial
from pretrain.models.precision import dtype_of
from pretrain.training.checkpoint import plain
from pretrain.training.ray_train import (
    checkpointed_step,
    demands,
    newest_checkpoint,
    restore,
    run_training,
    take_steps,
    worker_device,
    wrap,
)
from pretrain.training.run_folder import identity, refuse_other_run
from pretrain.training.step import Learner
from pretrain.training.stream import own_share, stream


def train_loop(settings: dict[str, Any]) -> None:
    """What every training worker runs: restore, iterate, report."""
    config = from_json(PretrainConfig, settings["config"])
    device = worker_device(config)
    encoder = make_encoder(config.model, seed=config.seed)
    encoder.load_state_dict(load(storage.read_bytes(settings["start"])))
    learner = Learner(
        config,
        total_steps=settings["total_steps"],
        device=device,
        wrapped=wrap(encoder.to(dtype_of(config.precision)), device),
    )
    step = restore(learner)
    if step == learner.total_steps:
        return
    table: ClipTable = settings["table"]
    share = own_share(step, per_step=config.batch_pairs, total_steps=learner.total_steps)
    batches = stream(partial(build_dataset, table, config), share, CollatePairs(), device)
    take_steps(learner, batches, config, step=step, to_batch=partial(to_batch, device=device))


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
    tensors, model = read_initial(config.start, config.model, seed=config.seed)
    config = replace(config, model=model)
    table = load_clip_table(clips)
    steps = total_steps(config, table)
    mine = {"config": to_json(config), "clips": clips, "num_clips": len(table)}
    refuse_other_run(out, config, mine)
    if (finished := _finished(out)) is not None:
        return finished
    console.print(f"{config}\n{steps} steps on {len(table)} clips", markup=False)
    session.connect()
    check_fits(demands(config), session.total_resources())
    # Only a run that can start takes the directory: its workers are part of the configuration.
    storage.write_json(storage.join(out, "config.json"), mine)
    start = storage.join(out, "start.safetensors")
    if not storage.exists(start):
        storage.write_bytes(start, save(plain(tensors)))
    final = run_training(
        train_loop,
        {"config": to_json(config), "total_steps": steps, "table": table, "start": start},
        config,
        out=out,
        name=_name(config),
        total_steps=steps,
    )
    storage.write_json(storage.join(out, "done.json"), final)
    return {**final, "checkpoint": storage.join(out, final["checkpoint"])}


def _name(config: PretrainConfig) -> str:
    return f"{config.recipe}-{fingerprint(identity(config))}"


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
