"""Who meets whom: which images of a stage each draw holds, by its number alone. Knows nothing of Ray.

A draw is some images of one identity; so many draws in a row make a step (`Draws.step_draws`).
"""

import time
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cluster import storage
from lifelong.data.sampling import cursor_images, episode_images, episode_order
from lifelong.stages.config import StageConfig
from pretrain.data.sampler import epoch_order

PATIENCE_SECONDS = 1800
"""How long a draw waits for the graph of its epoch, which the training process makes."""
_ORDER, _IMAGES = 0x6209, 0x1A6E


class Draws(Protocol):
    """The draws of a stage, counted from 0."""

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


def make_draws(config: StageConfig, label_N: NDArray[np.int64], folder: str) -> Draws:
    """Make the draws that a configuration asks for; the folder is the stage's, where graphs of classes are."""
    if config.sampler == "groups":
        return Groups(config, label_N)
    classes = [np.flatnonzero(label_N == value) for value in np.unique(label_N)]
    return Episodes(config, classes) if config.sampler == "episodes" else Neighbours(config, classes, folder)


def groups_of(label_N: NDArray[np.int64], size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Cut the images of every identity into groups of a size, at random.

    The definition, as a loop::

        for identity in sorted(set(label)):
            images = shuffled images of the identity
            while len(images) % size: images.append(a random one of them)
            groups += images cut into pieces of `size`

    So each image is in at least one group, and an identity with few images still fills one.

    Returns:
        int64 [G, size], rows of images.
    """
    groups: list[NDArray[np.int64]] = []
    order = np.argsort(label_N, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(label_N[order])) + 1):
        shuffled = rng.permutation(rows)
        missing = -len(rows) % size
        # Others first: an image is in a group twice only where its identity has too few.
        extra = shuffled[np.arange(missing) % len(rows)]
        groups.append(np.concatenate([shuffled, extra]).reshape(-1, size))
    return np.concatenate(groups)


class Groups:
    """Identities at random; every image once in an epoch. Any draws make a batch."""

    def __init__(self, config: StageConfig, label_N: NDArray[np.int64]) -> None:
        self.config = config
        self.label_N = label_N
        _, counts = np.unique(label_N, return_counts=True)
        self.per_epoch = int((-(-counts // config.images_per_identity)).sum())
        self.per_step = config.batch_identities
        self._epoch, self._groups = -1, np.zeros((0, 0), np.int64)

    def rows(self, draw: int) -> NDArray[np.int64]:
        """Return the images of a draw."""
        epoch, place = divmod(draw, self.per_epoch)
        if epoch != self._epoch:
            rng = np.random.default_rng((self.config.seed, epoch, _ORDER))
            groups = groups_of(self.label_N, self.config.images_per_identity, rng)
            # Neighbours in the order become a batch: groups of one identity are spread over the epoch.
            label = self.label_N[groups[:, 0]]
            self._groups = groups[epoch_order(label, seed=self.config.seed, epoch=epoch, pairs_per_clip=1)]
            self._epoch = epoch
        return self._groups[place]


class Episodes:
    """Identities at random, all of a step different; every identity in an epoch (Chen et al., DMML, ICCV 2019)."""

    def __init__(self, config: StageConfig, classes: list[NDArray[np.int64]]) -> None:
        self.config = config
        self.classes = classes
        self.per_step = min(config.batch_identities, len(classes))
        self.per_epoch = -(-len(classes) // self.per_step) * self.per_step
        self._epoch, self._order = -1, np.zeros(0, np.int64)

    def rows(self, draw: int) -> NDArray[np.int64]:
        """Return the images of a draw: supports first, then queries."""
        config = self.config
        epoch, place = divmod(draw, self.per_epoch)
        if epoch != self._epoch:
            rng = np.random.default_rng((config.seed, epoch, _ORDER))
            self._order, self._epoch = episode_order(len(self.classes), self.per_step, rng), epoch
        rng = np.random.default_rng((config.seed, draw, _IMAGES))
        rows = self.classes[self._order[place]]
        return episode_images(rows, config.images_per_identity, config.loss.episode.queries, rng)


class Neighbours:
    """Every identity with those that look most like it: a step for each, in an order that is made in every epoch.

    The order is a file, written by the training process before the epoch begins (`lifelong.data.graph`).
    """

    def __init__(self, config: StageConfig, classes: list[NDArray[np.int64]], folder: str) -> None:
        self.config = config
        self.classes = classes
        self.folder = folder
        self.per_step = min(config.batch_identities, len(classes))
        self.per_epoch = len(classes) * self.per_step
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


def occurrences(order_M: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count how often each entry stood in a list before: [3, 1, 3, 3] gives [0, 0, 1, 2]."""
    by_value = np.argsort(order_M, kind="stable")
    starts = np.flatnonzero(np.diff(order_M[by_value], prepend=-1))
    place = np.arange(len(order_M)) - np.repeat(starts, np.diff(starts, append=len(order_M)))
    found = np.empty(len(order_M), np.int64)
    found[by_value] = place
    return found


def order_file(folder: str, epoch: int) -> str:
    """Return where the order of the identities of an epoch is."""
    return storage.join(folder, "graphs", f"epoch-{epoch:05d}.json")


def wait_for_order(folder: str, epoch: int) -> NDArray[np.int64]:
    """Read the order of an epoch as soon as it is there.

    Raises:
        TimeoutError: If it does not come.
    """
    location, began = order_file(folder, epoch), time.monotonic()
    while not storage.exists(location):
        if time.monotonic() - began > PATIENCE_SECONDS:
            raise TimeoutError(f"{location} was not written within {PATIENCE_SECONDS} s; did the training stop?")
        time.sleep(0.1)
    return np.array(storage.read_json(location), np.int64)
