"""What a run changes: a network and its optimiser. A kind of learner says what a step is; all else is here."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from cluster.errors import DivergedError
from pretrain.distributed import collectives

State = dict[str, Any]


class Learner(ABC):
    """Holds a network, its optimiser, and how far a run is."""

    def __init__(
        self,
        config: Any,
        *,
        total_steps: int,
        device: torch.device,
        wrapped: nn.Module,
        optimizer: torch.optim.Optimizer,
    ) -> None:
        """Set up a run.

        Args:
            config: The run, a frozen dataclass with a `scale`.
            total_steps: Of the whole run; drives the schedules.
            device: Where the network lives.
            wrapped: The network, or `DistributedDataParallel` around it.
            optimizer: Of its parameters.
        """
        self.config = config
        self.total_steps = total_steps
        self.device = device
        self.wrapped = wrapped
        self.optimizer = optimizer

    @property
    def module(self) -> nn.Module:
        """The network without any wrapper."""
        return getattr(self.wrapped, "module", self.wrapped)

    @abstractmethod
    def to_batch(self, columns: dict[str, Tensor]) -> Any:
        """Make of a batch's columns what `step` takes."""

    @abstractmethod
    def step(self, batch: Any, step: int) -> dict[str, Tensor]:
        """Do one optimiser step.

        Args:
            batch: Samples of this process.
            step: Number of the step, from 1.

        Returns:
            Metrics by name, detached scalars, equal on all processes.

        Raises:
            DivergedError: On every process, before the update, if a number is not finite on any of them.
        """

    def progress(self) -> dict[str, float]:
        """Return what a schedule has found out so far; nothing where it follows from the step."""
        return {}

    def go_on(self, progress: dict[str, float]) -> None:
        """Take up what `progress` returned."""
        assert not progress, "of another kind of learner"

    def state_dict(self) -> State:
        """Return all that a run needs to go on: ``model``, ``optimizer`` by parameter, ``progress``."""
        moments = {
            f"{name}/{key}": value
            for name, parameter in self.module.named_parameters()
            for key, value in self.optimizer.state.get(parameter, {}).items()
            if isinstance(value, Tensor)
        }
        return {"model": self.module.state_dict(), "optimizer": moments, "progress": self.progress()}

    def load_state_dict(self, state: State) -> None:
        """Go on from what `state_dict` returned."""
        self.module.load_state_dict(state["model"])
        is_fused = self.optimizer.defaults.get("fused")  # counts its steps on the device
        for name, parameter in self.module.named_parameters():
            entries = {
                key.rpartition("/")[2]: value for key, value in state["optimizer"].items() if key.startswith(f"{name}/")
            }
            self.optimizer.state[parameter] = {
                key: value if key == "step" and not is_fused else _like(parameter, value)
                for key, value in entries.items()
            }
        self.go_on(state["progress"])


def _like(parameter: Tensor, value: Tensor) -> Tensor:
    """Bring a moment to the device and the memory layout of its parameter: fused optimisers want both alike."""
    if value.shape != parameter.shape:
        return value.to(parameter.device)
    return torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def require_finite(step: int, remedy: str, **sums: Tensor) -> None:
    """Stop all processes together: one that stopped alone would leave the others waiting in a collective.

    Raises:
        DivergedError: On every process, if a sum is not finite on any of them.
    """
    bad = (~torch.isfinite(torch.stack(list(sums.values())))).any().float()
    if collectives.sum_over_ranks(bad).item() > 0:
        values = ", ".join(f"{name.replace('_', ' ')} {value.item()}" for name, value in sums.items())
        raise DivergedError(
            f"step {step}, rank {collectives.rank()}: {values} (not finite on some rank); "
            f"stopped before the update. {remedy}"
        )
