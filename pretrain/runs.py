"""Pretraining, on Ray or in this process: what is checked, what the run directory holds, and the run itself."""

from dataclasses import replace
from typing import Any

from safetensors.torch import save

from cluster import storage
from cluster.console import console
from cluster.errors import InputError
from pretrain.config.run import PretrainConfig
from pretrain.data.clip_table import ClipTable, load_clip_table
from pretrain.data.frame_pairs import check_clips
from pretrain.models.initial import read_initial, resolve_initial
from pretrain.recipes import changes
from pretrain.training.checkpoint import newest, plain
from pretrain.training.isr_job import IsrJob
from pretrain.training.isr_learner import IsrLearner
from pretrain.training.local import run_here
from pretrain.training.loop import Look
from pretrain.training.run_folder import claim_run, finish, finished, read_config

START = "start.safetensors"


def train(config: PretrainConfig, clips: str, out: str) -> dict[str, Any]:
    """Run or resume a training on Ray.

    >>> import pretrain
    >>> config = pretrain.find_recipe("isr-tiny")()
    >>> final = pretrain.train(config, f"{folder}/clips", f"{folder}/run")  # doctest: +SKIP
    >>> final["loss/total"]  # doctest: +SKIP
    1.7

    Args:
        config: The run.
        clips: A clips directory.
        out: The run directory.

    Returns:
        The last record, with `checkpoint`, the location of the last checkpoint.

    Raises:
        InputError: If the clips cannot be used, the directory belongs to another run, or the plan does not fit.
    """
    config, clips, out = located(config), storage.resolve(clips), storage.resolve(out)
    table = load_clip_table(clips)
    job, weights = _job(config, table, out)
    rest = {"clips": clips, "num_clips": len(table)}
    claim_run(out, job.config, writes=False, **rest)
    if (final := finished(out)) is None:
        check_clips(table, job.config.samples)
        console.print(f"{job.total_steps} steps of {config.recipe} on {len(table)} clips", markup=False)
        for change in changes(config):
            console.print(f"  {change}", markup=False)
        # Here: who trains in one process waits for no Ray.
        from cluster import session
        from cluster.resources import check_fits
        from pretrain.training.ray_train import demands, run_on_ray

        session.connect()
        check_fits(demands(config.scale), session.total_resources())
        # Only a run that can start takes the directory.
        claim_run(out, job.config, **rest)
        _write_start(job, weights)
        final = finish(out, run_on_ray(job, out))
    return {**final, "checkpoint": newest(out)}


def located(config: PretrainConfig) -> PretrainConfig:
    """Make the locations in a configuration mean the same in every process."""
    truth = storage.resolve(config.truth) if config.truth else ""
    return replace(config, start=resolve_initial(config.start), truth=truth)


def train_here(
    config: PretrainConfig, table: ClipTable, out: str, *, look: Look | None = None
) -> tuple[IsrLearner, list[dict[str, Any]]]:
    """Run or resume a training in this process.

    Args:
        config: The run; its number of workers is of no account.
        table: The clips.
        out: The run directory.
        look: Called before each checkpoint with the step and the encoder in evaluation mode; what it returns becomes
            part of the record.

    Returns:
        The learner as it ended, and the records that were made by this call.

    Raises:
        InputError: If the clips are too few, or the directory belongs to another run.
    """
    job, weights = _job(config, table, out)
    check_clips(table, job.config.samples)
    claim_run(out, job.config, num_clips=len(table))
    _write_start(job, weights)
    learner, records = run_here(job, out, look=look)
    if records:
        finish(out, records[-1])
    assert isinstance(learner, IsrLearner)
    return learner, records


def _job(config: PretrainConfig, table: ClipTable, out: str) -> tuple[IsrJob, dict[str, Any]]:
    """Return a run, with the architecture of the weights that it begins with, and those weights."""
    tensors, model = read_initial(config.start, config.model, seed=config.seed)
    job = IsrJob(config=replace(config, model=model), table=table, start=storage.join(out, START))
    _ = job.total_steps  # too few clips are refused here
    return job, tensors


def _write_start(job: IsrJob, tensors: dict[str, Any]) -> None:
    if not storage.exists(job.start):
        storage.write_bytes(job.start, save(plain(tensors)))


def latest_checkpoint(run: str) -> str:
    """Return the location of the newest complete checkpoint of a run.

    Raises:
        InputError: If the directory is no run, or has no checkpoint yet.
    """
    read_config(run, PretrainConfig)
    found = newest(run)
    if found is None:
        raise InputError(f"{run} has no checkpoint yet; let it run longer or lower --checkpoint-every")
    return found
