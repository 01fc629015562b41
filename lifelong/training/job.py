"""What a training process needs to know of a stage: plain values and locations, so that it can be anywhere.

Files of the stage's folder::

    images.json          locations and labels of the training images
    start.safetensors    the network as the stage begins
    network.safetensors  the network as it ended, heads included
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from cluster import storage
from evaluation.embedding.images import decode_image
from lifelong.data.feed import Feed, TrainingImages
from lifelong.data.graph import ClassGraph
from lifelong.data.samplers import Draws, make_draws
from lifelong.memory.store import Exemplars, read_memory
from lifelong.models.network import LifelongModel, model_of
from lifelong.stages.config import StageConfig
from lifelong.training.objective import Bank
from lifelong.training.step import StageLearner
from pretrain.data.augment import resize
from pretrain.training.checkpoint import plain


@dataclass(frozen=True, kw_only=True, slots=True)
class StageJob:
    """One stage for a training process."""

    config: StageConfig
    stage: int
    """From 1."""
    folder: str
    """Of the stage."""
    before: str
    """The last stage's ``network.safetensors``; empty in the first stage."""
    memory: tuple[tuple[str, str], ...]
    """Location and SHA-256 of every earlier stage's memory."""


def write_images(folder: str, images: TrainingImages) -> None:
    """Write the list of a stage's training images."""
    storage.write_json(storage.join(folder, "images.json"), {"path": images.path, "label": images.label.tolist()})


def read_images(folder: str) -> TrainingImages:
    """Read the list of a stage's training images."""
    found = storage.read_json(storage.join(folder, "images.json"))
    return TrainingImages(found["path"], np.array(found["label"], np.int64))


def write_network(location: str, tensors: dict[str, Tensor]) -> None:
    """Write a network's tensors, whole or not at all."""
    storage.write_bytes(location, save(plain(tensors)))


def read_network(location: str) -> dict[str, Tensor]:
    """Read a network's tensors."""
    return load(storage.read_bytes(location))


def open_memory(job: StageJob) -> Exemplars | None:
    """Read what earlier stages keep, and check that it is what they wrote; None in the first stage."""
    return read_memory(job.memory)


def open_feed(job: StageJob) -> Feed:
    """Open the samples of a stage."""
    return Feed(job.config, read_images(job.folder), open_memory(job), folder=job.folder)


def draws_of(job: StageJob) -> Draws:
    """Return who meets whom in a stage."""
    return make_draws(job.config, read_images(job.folder).label, job.folder)


def total_steps(feed: Feed) -> int:
    """Return how many steps a stage takes.

    Raises:
        ValueError: If it has less than one batch.
    """
    config, draws = feed.config, feed.draws
    steps = config.steps or config.epochs * draws.per_epoch // draws.per_step
    if not steps:
        raise ValueError(
            f"{len(feed.images.path)} training images give {draws.per_epoch} groups of "
            f"{config.images_per_identity} in an epoch, and {config.epochs} epochs less than a batch of "
            f"{config.batch_identities}; lower --batch-identities or raise --epochs"
        )
    return steps


def make_learner(
    job: StageJob, *, steps: int, device: torch.device, wrap: Callable[[nn.Module], nn.Module]
) -> StageLearner:
    """Make the learner of a stage at its beginning.

    Args:
        job: The stage.
        steps: Of the whole stage.
        device: Where it learns.
        wrap: Puts the network on the device, and into whatever makes it learn beside others.
    """
    model = model_of(read_network(storage.join(job.folder, "start.safetensors")), job.config)
    teacher = model_of(read_network(job.before), job.config) if job.before else None
    memory = open_memory(job) if job.config.loss.compatibility else None
    bank = _bank(memory, teacher, job.config, device) if memory is not None and teacher is not None else None
    images = read_images(job.folder)
    draws = make_draws(job.config, images.label, job.folder)
    before_epoch = None
    if job.config.sampler == "graph":
        graph = ClassGraph(job.config, images.path, images.label, job.folder)
        graph.write(0, model.to(device), device)
        before_epoch = partial(graph.write, device=device)
    return StageLearner(
        job.config,
        stage=job.stage,
        total_steps=steps,
        device=device,
        wrapped=wrap(model.to(device)),
        teacher=teacher,
        bank=bank,
        steps_per_epoch=draws.per_epoch / draws.per_step,
        before_epoch=before_epoch,
    )


@torch.no_grad()
def _bank(memory: Exemplars, teacher: LifelongModel, config: StageConfig, device: torch.device) -> Bank:
    feature = torch.from_numpy(memory.feature.copy())
    if config.loss.targets == "teacher":
        pixels = [decode_image(image) for image in memory.image]
        assert all(image is not None for image in pixels), "the memory's hash was checked, and it held images"
        images = resize([image for image in pixels if image is not None], config.model.height, config.model.width)
        encoder = teacher.encoder.to(device).eval()
        feature = torch.cat([encoder(part.to(device)).cpu() for part in images.split(128)])
    return Bank(
        feature,
        torch.from_numpy(memory.label.copy()),
        torch.from_numpy(memory.stage.copy()),
    )
