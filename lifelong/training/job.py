"""One stage as a job: plain values and locations, so that it can be anywhere.

Files of the stage's folder::

    images.json          locations and labels of the training images
    start.safetensors    the network as the stage begins
    network.safetensors  the network as it ended, heads included
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cluster import storage
from cluster.errors import InputError
from evaluation.datasets.images import decode_image
from lifelong.data import feed
from lifelong.data.feed import Feed, read_images
from lifelong.data.samplers import Sampler, make_draws, steps_of
from lifelong.memory.store import Exemplars, read_memory
from lifelong.models.files import read_network
from lifelong.models.network import LifelongModel, model_of
from lifelong.stages.config import StageConfig
from lifelong.stages.samplers import SAMPLERS
from lifelong.training.batch_view import Bank
from lifelong.training.stage_learner import StageLearner
from pretrain.data.augment import resize
from pretrain.data.sampler import Share
from pretrain.data.source import Load
from pretrain.training.job import Wrap

START = "start.safetensors"
NETWORK = "network.safetensors"


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

    @property
    def per_step(self) -> int:
        """Identities of a step."""
        return make_draws(self.config, read_images(self.folder).label, self.folder).per_step

    @property
    def total_steps(self) -> int:
        """Steps of the stage; an adaptive schedule may end it earlier.

        Raises:
            InputError: If it has less than one batch.
        """
        images = read_images(self.folder)
        return _steps(self.config, make_draws(self.config, images.label, self.folder), len(images.path))

    @property
    def looks_ahead(self) -> bool:
        """Whether samples can be made before their step: some wait for the network of their epoch."""
        return "network" not in SAMPLERS.needs(self.config.sampler)

    def open_samples(self, share: Share) -> Load:
        """Open images and memory, in the process that reads."""
        samples = Feed(self.config, read_images(self.folder), read_memory(self.memory), folder=self.folder)

        def load(positions: NDArray[np.int64]) -> dict[str, Any]:
            return samples(share.draws(positions))

        return load

    def collate(self, columns: Mapping[str, Any]) -> dict[str, Tensor]:
        """Join samples to a batch."""
        return feed.collate(columns)

    def make_learner(self, device: torch.device, wrap: Wrap) -> StageLearner:
        """Make the learner of the stage at its beginning."""
        config = self.config
        model = model_of(read_network(storage.join(self.folder, START)), config)
        teacher = model_of(read_network(self.before), config) if self.before else None
        memory = read_memory(self.memory) if "bank" in config.loss.needs() else None
        bank = _bank(memory, teacher, config, device) if memory is not None and teacher is not None else None
        images = read_images(self.folder)
        draws = make_draws(config, images.label, self.folder)
        before_epoch = None
        if "network" in SAMPLERS.needs(config.sampler):
            look = SAMPLERS.load(config.sampler).before_epoch(config, images.path, images.label, self.folder)
            look(0, model.to(device), device)
            before_epoch = partial(look, device=device)
        return StageLearner(
            config,
            stage=self.stage,
            total_steps=_steps(config, draws, len(images.path)),
            device=device,
            wrapped=wrap(model.to(device)),
            teacher=teacher,
            bank=bank,
            steps_per_epoch=draws.per_epoch / draws.per_step,
            before_epoch=before_epoch,
        )


def _steps(config: StageConfig, draws: Sampler, num_images: int) -> int:
    steps = steps_of(config, draws)
    if not steps:
        raise InputError(
            f"{num_images} training images give {draws.per_epoch} groups of "
            f"{config.images_per_identity} in an epoch, and {config.epochs} epochs less than a batch of "
            f"{config.batch_identities}; lower --batch-identities or raise --epochs"
        )
    return steps


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
