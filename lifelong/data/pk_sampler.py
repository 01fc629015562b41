"""P identities with K images each, identities at random."""

import numpy as np
from numpy.typing import NDArray

from lifelong.stages.config import StageConfig
from pretrain.data.sampler import epoch_order

_ORDER = 0x6209


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


class PKSampler:
    """Identities at random; every image once in an epoch. Any draws make a batch."""

    def __init__(self, config: StageConfig, label_N: NDArray[np.int64], folder: str) -> None:
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
