"""Episodes: every identity once in an epoch."""

import numpy as np
from numpy.typing import NDArray

from lifelong.data.samplers import classes_of
from lifelong.data.sampling import episode_images, episode_order
from lifelong.stages.config import StageConfig

_ORDER, _IMAGES = 0x6209, 0x1A6E


class EpisodeSampler:
    """Identities at random, all of a step different; every identity in an epoch (Chen et al., DMML, ICCV 2019)."""

    def __init__(self, config: StageConfig, label_N: NDArray[np.int64], folder: str) -> None:
        self.config = config
        self.classes = classes_of(label_N)
        self.per_step = min(config.batch_identities, len(self.classes))
        self.per_epoch = -(-len(self.classes) // self.per_step) * self.per_step
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
