"""A training worker's own samples on Ray Data: who makes them, and how they reach the learner."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import ray
import ray.data
import torch
from numpy.typing import NDArray
from ray.data import ActorPoolStrategy, Dataset
from ray.data.collate_fn import NumpyBatchCollateFn
from torch import Tensor

from cluster import session
from cluster.causes import telling_input_errors
from pretrain.data.sampler import Share
from pretrain.data.source import Source

MOST_BLOCKS = 10_000
"""More cost Ray more bookkeeping than they help."""
SAMPLES_AT_ONCE = 8
"""That a reader makes."""
LOOK_AHEAD = 2
"""Batches that are prepared while the one at hand is learned."""


class ReadSamples:
    """Makes samples in a process of its own."""

    def __init__(self, source: Source, share: Share) -> None:
        torch.set_num_threads(1)
        with telling_input_errors():
            self.load = source.open_samples(share)

    def __call__(self, batch: dict[str, NDArray[np.int64]]) -> dict[str, Any]:
        """Make the samples at some positions, given as ``id``."""
        with telling_input_errors():
            return self.load(batch["id"])


class Collate(NumpyBatchCollateFn):
    """Joins the samples of a batch for a training worker."""

    def __init__(self, source: Source) -> None:
        super().__init__()
        self.source = source

    def __call__(self, batch: dict[str, NDArray[Any]]) -> dict[str, Tensor]:
        """Return what `Source.collate` returns."""
        return self.source.collate(batch)


def build_dataset(source: Source, share: Share, *, readers: int) -> Dataset:
    """Build the lazy graph that gives the samples of one training process's share, in order.

    The readers take no CPUs of their own: the worker holds them, see `pretrain.training.ray_train.demands`.
    """
    # Where samples wait for steps before them, no block may hold those of two steps: it would keep back the first until
    # the others can be made.
    most = MOST_BLOCKS if source.looks_ahead else len(share)
    blocks = max(1, min(len(share) // share.size, most))
    # One task at a time counts faster than anybody reads; Ray would start a process for each of its CPUs.
    return ray.data.range(len(share), concurrency=1, override_num_blocks=blocks).map_batches(
        ReadSamples,
        fn_constructor_kwargs={"source": source, "share": share},
        batch_size=min(SAMPLES_AT_ONCE, share.size),
        compute=ActorPoolStrategy(size=readers),
        num_cpus=0,
        label_selector={"ray.io/node-id": ray.get_runtime_context().get_node_id()},
    )


def stream(source: Source, share: Share, device: torch.device, *, readers: int) -> Iterable[dict[str, Tensor]]:
    """Read this worker's own samples and yield them in batches, step by step.

    Every worker has a dataset of its own. Ray Data's splitting between workers deals samples as they come, so that
    nobody can say which a checkpoint has consumed; it also keeps some back until more have come.

    Args:
        source: Of the samples.
        share: This worker's.
        device: Of the network; for a GPU, batches lie in pinned memory.
        readers: Processes on this worker's machine that make them.
    """
    session.configure_data()
    # Each dataset would take half of all object stores for itself.
    options = ray.data.DataContext.get_current().execution_options
    store = session.total_resources().get("object_store_memory", 0.0)
    options.resource_limits = options.resource_limits.copy(object_store_memory=store / 2 / share.processes)
    return build_dataset(source, share, readers=readers).iter_torch_batches(
        batch_size=share.size,
        collate_fn=Collate(source),
        prefetch_batches=LOOK_AHEAD if source.looks_ahead else 0,
        drop_last=True,
        # Pinned, so that the learner moves what it wants there while the GPU computes.
        device="cpu",
        pin_memory=device.type == "cuda",
    )
