"""Who meets whom: which images of a stage each draw holds, by its number alone. Knows nothing of Ray.

A draw is some images of one identity; so many draws in a row make a step (`Sampler.per_step`). One file for each
sampler; their list is `lifelong.stages.samplers.SAMPLERS`.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lifelong.stages.config import StageConfig
from lifelong.stages.samplers import SAMPLERS


class Sampler(Protocol):
    """The draws of a stage, counted from 0.

    A class of the table is called with the `StageConfig`, the labels of the stage's images int64 [N], and the stage's
    folder.
    """

    @property
    def per_epoch(self) -> int:
        """Draws of an epoch."""
        ...

    @property
    def per_step(self) -> int:
        """Draws of an optimiser step over all workers."""
        ...

    def rows(self, draw: int) -> NDArray[np.int64]:
        """Return the images of a draw: int64 [images_per_identity], rows of the stage's list."""
        ...


def make_draws(config: StageConfig, label_N: NDArray[np.int64], folder: str) -> Sampler:
    """Make the draws that a configuration asks for; the folder is the stage's, where graphs of classes are."""
    return SAMPLERS.load(config.sampler)(config, label_N, folder)


def steps_of(config: StageConfig, draws: Sampler) -> int:
    """Return how many steps a stage takes: those that are set, or what its epochs make; 0 if not even one."""
    return config.steps or config.epochs * draws.per_epoch // draws.per_step


def classes_of(label_N: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Return the images of each identity, in the order of their labels."""
    return [np.flatnonzero(label_N == value) for value in np.unique(label_N)]
