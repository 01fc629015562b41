"""Every identity with those that look most like it (Liao and Shao, CVPR 2022)."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from lifelong.data.graph import ClassGraph
from lifelong.data.orders import wait_for_order
from lifelong.data.samplers import classes_of
from lifelong.data.sampling import cursor_images
from lifelong.models.network import LifelongModel
from lifelong.stages.config import StageConfig

_IMAGES = 0x1A6E


class GraphSampler:
    """Every identity with those that look most like it: a step for each, in an order that is made in every epoch.

    The order is a file, written by the training process before the epoch begins (`lifelong.data.graph`).
    """

    def __init__(self, config: StageConfig, label_N: NDArray[np.int64], folder: str) -> None:
        self.config = config
        self.classes = classes_of(label_N)
        self.folder = folder
        self.per_step = min(config.batch_identities, len(self.classes))
        self.per_epoch = len(self.classes) * self.per_step
        self._epoch, self._order, self._occurrence = -1, np.zeros(0, np.int64), np.zeros(0, np.int64)

    def rows(self, draw: int) -> NDArray[np.int64]:
        """Return the images of a draw; waits until the epoch's order is known."""
        epoch, place = divmod(draw, self.per_epoch)
        if epoch != self._epoch:
            self._order, self._epoch = wait_for_order(self.folder, epoch), epoch
            self._occurrence = occurrences(self._order)
        number = int(self._order[place])
        seed = (self.config.seed, epoch, number, _IMAGES)
        count = self.config.images_per_identity
        return cursor_images(self.classes[number], int(self._occurrence[place]), count, seed)

    @staticmethod
    def before_epoch(
        config: StageConfig, path: list[str], label_N: NDArray[np.int64], folder: str
    ) -> Callable[[int, LifelongModel, torch.device], None]:
        """Return what the training process calls before each epoch, with its number from 0, network and device."""
        return ClassGraph(config, path, label_N, folder).write


def occurrences(order_M: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count how often each entry stood in a list before: [3, 1, 3, 3] gives [0, 0, 1, 2]."""
    by_value = np.argsort(order_M, kind="stable")
    starts = np.flatnonzero(np.diff(order_M[by_value], prepend=-1))
    place = np.arange(len(order_M)) - np.repeat(starts, np.diff(starts, append=len(order_M)))
    found = np.empty(len(order_M), np.int64)
    found[by_value] = place
    return found
