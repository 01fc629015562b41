"""Training samples of a stage on Ray Data: numbers of draws in, augmented images with labels out.

Rows: draw int64; images uint8 [n, 3, H, W]; label int64 [n]; is_replay bool [n].
"""

from typing import Any

import numpy as np
import ray.data
import torch
from numpy.typing import NDArray
from ray.data import Dataset
from ray.data.collate_fn import NumpyBatchCollateFn

from lifelong.data.feed import collate
from lifelong.training.job import StageJob, open_feed
from pretrain.data.sampler import Share
from pretrain.training.stream import read_beside

COLUMNS = ("images", "label", "is_replay")
MOST_BLOCKS = 10_000
"""More cost Ray more bookkeeping than they help."""
BATCH = 8
"""Draws that an actor makes at once."""


class LoadDraws:
    """Turns positions of a process's draws into samples: reads, decodes and augments images."""

    def __init__(self, job: StageJob, share: Share) -> None:
        torch.set_num_threads(1)
        self.feed = open_feed(job)
        self.share = share

    def __call__(self, batch: dict[str, NDArray[np.int64]]) -> dict[str, Any]:
        """Make the samples at some positions, given as ``id``."""
        draws = self.share.draws(batch["id"])
        samples = [self.feed.sample(draw) for draw in draws.tolist()]
        return {"draw": draws} | {name: np.stack([sample[name] for sample in samples]) for name in COLUMNS}


class CollateDraws(NumpyBatchCollateFn):
    """Joins the samples of a batch for a training worker."""

    def __call__(self, batch: dict[str, NDArray[Any]]) -> dict[str, torch.Tensor]:
        """Return images uint8 [B, 3, H, W], label int64 [B] and is_replay bool [B]."""
        return collate({name: list(batch[name]) for name in COLUMNS})


def build_dataset(job: StageJob, share: Share) -> Dataset:
    """Build the lazy graph that gives the samples of one training process's share, in order."""
    # No block may hold draws of two epochs of a graph: it would keep back the last draws of one until the graph of the
    # next is known, which waits for them.
    most = len(share) if job.config.sampler == "graph" else MOST_BLOCKS
    blocks = max(1, min(len(share) // share.size, most))
    return ray.data.range(len(share), override_num_blocks=blocks).map_batches(
        LoadDraws,
        fn_constructor_kwargs={"job": job, "share": share},
        batch_size=min(BATCH, share.size),
        **read_beside(job.config.data_workers),
    )
