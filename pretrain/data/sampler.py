"""Which clip comes when, and which draws of a run are one training process's.

A run is one long list of draws, and every step takes the next `per_step` of them, whoever makes them. So the steps of
a run are the same for one process and for many, and a run that goes on with another number of processes goes on with
the very draw that comes next: nothing is left out, nothing is seen twice.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cluster.errors import InputError


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """One process's draws of the steps that remain."""

    rank: int
    """Number of the process, from 0."""
    processes: int
    """How many share a step."""
    per_step: int
    """Draws of a step, over all processes."""
    first_step: int
    """Steps that were done before."""
    total_steps: int
    """Steps of the whole run."""

    def __post_init__(self) -> None:
        """Refuse what leaves a process without work.

        Raises:
            InputError: If there are more processes than draws in a step.
        """
        if not 0 <= self.rank < self.processes <= self.per_step:
            raise InputError(
                f"{self.processes} training processes cannot share the {self.per_step} samples of a step; "
                "raise the batch size or lower --workers"
            )
        assert 0 <= self.first_step <= self.total_steps

    @property
    def start(self) -> int:
        """Where this process's draws begin within those of a step."""
        return self.rank * self.per_step // self.processes

    @property
    def size(self) -> int:
        """Draws of this process in a step; those of two processes differ by one at most."""
        return (self.rank + 1) * self.per_step // self.processes - self.start

    def __len__(self) -> int:
        """Return the number of this process's draws in all remaining steps."""
        return (self.total_steps - self.first_step) * self.size

    def draws(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return which draws of the run are at some positions, from 0, of this process's own list.

        The definition, as a loop::

            own = []
            for step in range(first_step, total_steps):
                for k in range(start, start + size):
                    own.append(step * per_step + k)
            return own[positions]
        """
        return (self.first_step + positions // self.size) * self.per_step + self.start + positions % self.size


def epoch_order(video_of_clip: NDArray[np.int64], *, seed: int, epoch: int, pairs_per_clip: int) -> NDArray[np.int64]:
    """Order the clips of one epoch at random, with each video spread evenly over it.

    So neighbours in the order, which become a batch, come from different videos as far as there are enough.

    Args:
        video_of_clip: [C] number of the video of each clip.
        seed: Seed of the run.
        epoch: From 0.
        pairs_per_clip: How often each clip appears.

    Returns:
        int64 [C * pairs_per_clip] positions of clips.
    """
    rng = np.random.default_rng((seed, epoch, 0x0EDE))
    clips = np.tile(np.arange(len(video_of_clip)), pairs_per_clip)
    shuffled = rng.permutation(clips)
    place = np.empty(len(shuffled))
    video = video_of_clip[shuffled]
    for number in np.unique(video):
        members = np.flatnonzero(video == number)
        place[members] = (np.arange(len(members)) + rng.random(len(members))) / len(members)
    return shuffled[np.argsort(place, kind="stable")]
