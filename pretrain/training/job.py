"""A training as a value that travels: what is learned, from which samples, in how many steps."""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import nn

from pretrain.data.source import Source
from pretrain.training.learner import Learner

Wrap = Callable[[nn.Module], nn.Module]


class Job(Source, Protocol):
    """What `take_steps` needs, for any process anywhere: pretraining or a stage."""

    @property
    def config(self) -> Any:
        """A frozen dataclass with a `scale` and a `recipe`."""
        ...

    @property
    def per_step(self) -> int:
        """Draws of a step over all processes."""
        ...

    @property
    def total_steps(self) -> int:
        """Steps of the whole run."""
        ...

    def make_learner(self, device: torch.device, wrap: Wrap) -> Learner:
        """Make the learner at its beginning.

        Args:
            device: Where it learns.
            wrap: Puts the network on the device, and into whatever makes it learn beside others.
        """
        ...
