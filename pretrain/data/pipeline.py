"""Training samples on Ray Data: a training process's own draws, made by a pool of readers, in order."""

from typing import Any

import ray.data
import torch
from numpy.typing import NDArray
from ray.data import Dataset
from ray.data.collate_fn import NumpyBatchCollateFn

from cluster.values import to_json
from pretrain.config import PretrainConfig
from pretrain.data.frame_pairs import ClipTable, LoadSamples, collate
from pretrain.data.sampler import Share
from pretrain.training.stream import read_beside

MOST_BLOCKS = 10_000
"""More cost Ray more bookkeeping than they help."""


class ReadSamples(LoadSamples):
    """Makes samples in a process of its own."""

    def __init__(self, table: ClipTable, config: dict[str, Any], share: Share) -> None:
        torch.set_num_threads(1)
        super().__init__(table, config, share)


class CollatePairs(NumpyBatchCollateFn):
    """Joins the samples of a batch for a training worker."""

    def __call__(self, batch: dict[str, NDArray[Any]]) -> dict[str, torch.Tensor]:
        """Return what `pretrain.data.feed.to_batch` takes."""
        return collate(batch)


def build_dataset(table: ClipTable, config: PretrainConfig, share: Share) -> Dataset:
    """Build the lazy graph that gives the samples of one training process's share, in order."""
    blocks = max(1, min(len(share) // share.size, MOST_BLOCKS))
    return ray.data.range(len(share), override_num_blocks=blocks).map_batches(
        ReadSamples,
        fn_constructor_kwargs={"table": table, "config": to_json(config), "share": share},
        batch_size=min(8, share.size),
        **read_beside(config.data_workers),
    )
