"""The loop of every training: pretraining or a lifelong stage, on Ray Train or in one process. Knows nothing of Ray."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from pretrain.config.scale import ScaleConfig
from pretrain.distributed import collectives
from pretrain.training.learner import Learner
from pretrain.training.record import record_of

Look = Callable[[int, Any], Mapping[str, float]]
"""Judges the network, in evaluation mode, after a step; what it returns becomes part of the record."""


class Reporter(Protocol):
    """Takes what a run says of itself."""

    def report(self, record: dict[str, Any], learner: Learner | None) -> None:
        """Keep a record; with a learner, write a checkpoint after it too. Called on every process, equally often."""
        ...


def take_steps(
    learner: Learner,
    batches: Iterable[dict[str, Tensor]],
    scale: ScaleConfig,
    reporter: Reporter,
    *,
    step: int,
    look: Look | None = None,
) -> None:
    """Take the remaining steps of a run, reporting metrics and checkpoints.

    A record's images per second are those of all processes, its waiting for samples is rank 0's.

    Args:
        learner: What learns; an adaptive schedule may end it early.
        batches: This process's, as the collate function made them, with ``images``.
        scale: How often to report.
        reporter: Where to.
        step: The step that was done last.
        look: Called before each checkpoint.
    """
    images, waited, since = 0, 0.0, time.perf_counter()
    for columns, wait in timed(batches):
        step += 1
        metrics = learner.step(learner.to_batch(columns), step)
        images, waited = images + len(columns["images"]), waited + wait
        is_saving = step % scale.checkpoint_every == 0 or step == learner.total_steps
        if is_saving or step % scale.log_every == 0:
            elapsed = time.perf_counter() - since
            of_all = collectives.sum_over_ranks(torch.tensor(float(images), device=learner.device)).item()
            speed = {
                "data/wait_seconds": waited,
                "data/wait_share": waited / elapsed,
                "images_per_second": of_all / elapsed,
            }
            seen = look(step, learner.module.eval()) if is_saving and look else {}
            reporter.report(record_of(step, {**metrics, **speed, **seen}), learner if is_saving else None)
            images, waited, since = 0, 0.0, time.perf_counter()
        if step == learner.total_steps:
            break


def timed(batches: Iterable[dict[str, Tensor]]) -> Iterator[tuple[dict[str, Tensor], float]]:
    """Yield batches with the seconds that each was waited for."""
    iterator = iter(batches)
    while True:
        start = time.perf_counter()
        batch = next(iterator, None)
        if batch is None:
            return
        yield batch, time.perf_counter() - start
