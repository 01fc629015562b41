"""Training samples of a stage on Ray Data: numbers of draws in, augmented images with labels out.

Rows: draw int64; images uint8 [n, 3, H, W]; label int64 [n]; is_replay bool [n].
"""

from typing import Any

import numpy as np
import ray.data
import torch
from numpy.typing import NDArray
from ray.data import ActorPoolStrategy, Dataset
from ray.data.collate_fn import NumpyBatchCollateFn

from lifelong.training.feed import collate
from lifelong.training.job import StageJob, draws_of, open_feed

COLUMNS = ("images", "label", "is_replay")
MOST_BLOCKS = 10_000
"""More cost Ray more bookkeeping than they help."""
BATCH = 8
"""Draws that an actor makes at once."""


class LoadDraws:
    """Turns numbers of draws into samples: reads, decodes and augments images of the stage and of its memory."""

    def __init__(self, job: StageJob, first_draw: int) -> None:
        torch.set_num_threads(1)
        self.feed = open_feed(job)
        self.first_draw = first_draw

    def __call__(self, batch: dict[str, NDArray[np.int64]]) -> dict[str, Any]:
        """Make the samples of a batch of draws."""
        draws = batch["id"] + self.first_draw
        samples = [self.feed.sample(draw) for draw in draws.tolist()]
        return {"draw": draws} | {name: np.stack([sample[name] for sample in samples]) for name in COLUMNS}


class CollateDraws(NumpyBatchCollateFn):
    """Joins the samples of a batch for a training worker."""

    def __call__(self, batch: dict[str, NDArray[Any]]) -> dict[str, torch.Tensor]:
        """Return images uint8 [B, 3, H, W], label int64 [B] and is_replay bool [B]."""
        return collate({name: list(batch[name]) for name in COLUMNS})


def build_dataset(job: StageJob, *, first_draw: int, draws: int) -> Dataset:
    """Build the lazy graph that gives the samples of draws ``first_draw .. draws``, in order."""
    remaining = draws - first_draw
    size = draws_of(job).per_step
    # No block may hold draws of two epochs of a graph: it would keep back the last draws of one until the graph of the
    # next is known, which waits for them.
    most = remaining if job.config.sampler == "graph" else MOST_BLOCKS
    blocks = max(1, min(remaining // size, most))
    return ray.data.range(remaining, override_num_blocks=blocks).map_batches(
        LoadDraws,
        fn_constructor_kwargs={"job": job, "first_draw": first_draw},
        batch_size=min(BATCH, size),
        compute=ActorPoolStrategy(size=job.config.data_workers),
        num_cpus=1,
    )
