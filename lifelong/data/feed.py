"""From labelled images to training samples: who meets whom, and what is replayed. Knows nothing of Ray.

A stage is one long list of draws, numbered from 0. A draw is a few images of one identity and, from the second stage
on, a few of remembered ones. It depends on the seed and its number alone: any process makes the same sample, and a
resumed stage goes on where it was.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cluster import storage
from cluster.errors import InputError
from evaluation.datasets.images import decode_image, read_image
from lifelong.data.samplers import make_draws
from lifelong.memory.store import Exemplars
from lifelong.stages.config import StageConfig
from pretrain.data.augment import augment

COLUMNS = ("images", "label", "is_replay")


@dataclass(frozen=True, slots=True, eq=False)
class TrainingImages:
    """The labelled images of a stage."""

    path: list[str]
    """Locations."""
    label: NDArray[np.int64]
    """[N], rows of the classifier."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Images of this process."""

    images: Tensor
    """uint8 [B, 3, H, W], augmented."""
    label: Tensor
    """int64 [B], row of the classifier."""
    is_replay: Tensor
    """bool [B], whether an image comes from the memory."""


class Feed:
    """Makes the samples of a stage."""

    def __init__(
        self, config: StageConfig, images: TrainingImages, memory: Exemplars | None, *, folder: str = ""
    ) -> None:
        self.config = config
        self.images = images
        self.memory = memory if config.replay_identities else None
        self.draws = make_draws(config, images.label, folder)
        if self.memory is not None:
            _, first, count = np.unique(self.memory.label, return_index=True, return_counts=True)
            assert (np.diff(first) > 0).all(), "a memory is grouped by identity"
            self._remembered = [np.arange(start, start + n) for start, n in zip(first, count, strict=True)]
            stage = self.memory.stage[first]
            self._of_stage = [np.flatnonzero(stage == number) for number in np.unique(stage)]

    def __call__(self, draws: NDArray[np.int64]) -> dict[str, Any]:
        """Make the samples of some draws: the draw int64 [N], and the columns of `sample`, one entry a draw."""
        samples = [self.sample(draw) for draw in draws.tolist()]
        return {"draw": draws} | {name: np.stack([sample[name] for sample in samples]) for name in COLUMNS}

    def sample(self, draw: int) -> dict[str, Any]:
        """Make a sample: ``images`` uint8 [n, 3, H, W], ``label`` int64 [n], ``is_replay`` bool [n]."""
        config = self.config
        rng = np.random.default_rng((config.seed, draw, 0x5A3E))
        rows = self.draws.rows(draw)
        pixels = [read_image(self.images.path[row]) for row in rows]
        label = self.images.label[rows]
        if self.memory is not None:
            replayed = self._replay(rng)
            pixels += [_decoded(self.memory, row) for row in replayed.tolist()]
            label = np.concatenate([label, self.memory.label[replayed]])
        is_replay = np.arange(len(label)) >= len(rows)
        images = augment(pixels, config.augment, config.model.height, config.model.width, rng)
        return {"images": images.numpy(), "label": label, "is_replay": is_replay}

    def _replay(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw remembered identities, every earlier stage as likely, and images of each."""
        chosen: list[NDArray[np.int64]] = []
        for _ in range(self.config.replay_identities):
            stage = self._of_stage[rng.integers(len(self._of_stage))]
            rows = self._remembered[rng.choice(stage)]
            few = len(rows) < self.config.replay_images
            chosen.append(rng.choice(rows, self.config.replay_images, replace=few))
        return np.concatenate(chosen)


def _decoded(memory: Exemplars, row: int) -> NDArray[np.uint8]:
    image = decode_image(cast("bytes", memory.image[row]))
    if image is None:
        raise InputError(f"the memory's copy of {memory.path[row]} is no image; restore the memory")
    return image


def collate(columns: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Join the samples of a batch: images uint8 [B, 3, H, W], label int64 [B] and is_replay bool [B]."""
    return {name: torch.from_numpy(np.concatenate(list(columns[name]))) for name in COLUMNS}


def write_images(folder: str, images: TrainingImages) -> None:
    """Write the list of a stage's training images."""
    storage.write_json(storage.join(folder, "images.json"), {"path": images.path, "label": images.label.tolist()})


def read_images(folder: str) -> TrainingImages:
    """Read the list of a stage's training images."""
    found = storage.read_json(storage.join(folder, "images.json"))
    return TrainingImages(found["path"], np.array(found["label"], np.int64))
