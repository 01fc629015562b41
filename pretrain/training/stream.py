"""A training worker's own samples: which they are, who makes them, and how they reach the learner."""

from collections.abc import Callable, Iterable
from typing import Any

import ray
import ray.data
import ray.train
import torch
from ray.data import ActorPoolStrategy, Dataset
from ray.data.collate_fn import NumpyBatchCollateFn
from torch import Tensor

from cluster import session
from pretrain.data.sampler import Share


def own_share(step: int, *, per_step: int, total_steps: int) -> Share:
    """Return this worker's share of the samples of the steps after `step`."""
    context = ray.train.get_context()
    return Share(
        rank=context.get_world_rank(),
        processes=context.get_world_size(),
        per_step=per_step,
        first_step=step,
        total_steps=total_steps,
    )


def read_beside(size: int) -> dict[str, Any]:
    """Return the options of `map_batches` for a pool of readers on this training worker's machine.

    They take no CPUs of their own: the worker holds them, see `_cpus_with_readers`.
    """
    here = {"ray.io/node-id": ray.get_runtime_context().get_node_id()}
    return {"compute": ActorPoolStrategy(size=size), "num_cpus": 0, "label_selector": here}


def stream(
    make_dataset: Callable[[Share], Dataset],
    share: Share,
    collate: NumpyBatchCollateFn,
    device: torch.device,
    *,
    look_ahead: int = 2,
) -> Iterable[dict[str, Tensor]]:
    """Run a dataset of this worker's own samples and yield them in batches, step by step.

    Every worker has a dataset of its own. Ray Data's splitting between workers deals samples as they come, so that
    nobody can say which a checkpoint has consumed; it also keeps some back until more have come.

    Args:
        make_dataset: Builds the lazy dataset.
        share: This worker's samples.
        collate: Joins the rows of a batch.
        device: Of the encoder; for a GPU, batches lie in pinned memory.
        look_ahead: Batches that are prepared while the one at hand is learned.
    """
    session.configure_data()
    # Each dataset would take half of all object stores for itself.
    options = ray.data.DataContext.get_current().execution_options
    store = session.total_resources().get("object_store_memory", 0.0)
    options.resource_limits = options.resource_limits.copy(object_store_memory=store / 2 / share.processes)
    return make_dataset(share).iter_torch_batches(
        batch_size=share.size,
        collate_fn=collate,
        prefetch_batches=look_ahead,
        drop_last=True,
        # Pinned, so that the learner moves what it wants there while the GPU computes.
        device="cpu",
        pin_memory=device.type == "cuda",
    )
