"""From labelled images to training samples: who meets whom, and what is replayed. Knows nothing of Ray.

A stage is one long list of draws, numbered from 0. A draw is a few images of one identity and, from the second stage
on, a few of remembered ones. It depends on the seed and its number alone: any process makes the same sample, and a
resumed stage goes on where it was.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from evaluation.embedding.images import decode_image, read_image
from lifelong.data.samplers import make_draws
from lifelong.memory.store import Exemplars
from lifelong.stages.config import StageConfig
from lifelong.training.step import Batch
from pretrain.data.augment import augment


@dataclass(frozen=True, slots=True, eq=False)
class TrainingImages:
    """The labelled images of a stage."""

    path: list[str]
    """Locations."""
    label: NDArray[np.int64]
    """[N], rows of the classifier."""


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
        raise ValueError(f"the memory's copy of {memory.path[row]} is no image; restore the memory")
    return image


def collate(samples: dict[str, list[NDArray[Any]]]) -> dict[str, torch.Tensor]:
    """Join the samples of a batch."""
    return {name: torch.from_numpy(np.concatenate(parts)) for name, parts in samples.items()}


def to_batch(columns: dict[str, torch.Tensor]) -> Batch:
    """Make of a batch's columns what the learner takes."""
    return Batch(images=columns["images"], label=columns["label"], is_replay=columns["is_replay"])


def batches(feed: Feed, *, first_step: int, total_steps: int) -> Iterator[Batch]:
    """Yield the batches of steps ``first_step .. total_steps``, counted from 1, in one process."""
    size = feed.draws.per_step
    for step in range(first_step, total_steps + 1):
        samples = [feed.sample(draw) for draw in range((step - 1) * size, step * size)]
        yield to_batch(collate({name: [sample[name] for sample in samples] for name in samples[0]}))
