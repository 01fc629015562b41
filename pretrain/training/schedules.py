"""Numbers that change with the step, counted from 1, or with the epoch."""

import math


def warmup_cosine(step: int, *, total_steps: int, warmup_fraction: float) -> float:
    """Share of the peak learning rate: a linear rise, then half a cosine to zero after the last step.

    Args:
        step: Number of the optimiser step, from 1 to `total_steps`.
        total_steps: Steps of the whole run.
        warmup_fraction: Share of steps with a rising rate, in [0, 1).

    Returns:
        In (0, 1].
    """
    warmup = round(total_steps * warmup_fraction)
    if step <= warmup:
        return step / warmup
    return 0.5 * (1.0 + math.cos(math.pi * (step - warmup - 1) / max(1, total_steps - warmup)))


def beta_after_warmup(step: int, *, beta: float, warmup_steps: int) -> float:
    """Exponent of the reliability: 0 for the first `warmup_steps` steps, then `beta`."""
    return 0.0 if step <= warmup_steps else beta


def late_decay(epoch: int, *, total_epochs: int, floor: float = 0.005) -> float:
    """Share of the peak learning rate: constant in the first half, then an exponential fall, as in DMML and DwoPP.

    The definition: ``floor ** max(0, (epoch + 2 - total / 2) / (total + 1 - total / 2))``. So the fall begins after
    epoch ``total / 2 - 2``, and the last epoch has the floor.

    Args:
        epoch: From 0 to `total_epochs` - 1.
        total_epochs: Epochs of the whole run, >= 2.
        floor: Share in the last epoch, in (0, 1].

    Returns:
        From 1 down to the floor.

    Raises:
        ValueError: If an argument is out of range.
    """
    if total_epochs < 2 or not 0 <= epoch < total_epochs or not 0 < floor <= 1:
        raise ValueError(
            f"a late decay needs >= 2 epochs, an epoch of them counted from 0, and a floor in (0, 1], got {epoch} of "
            f"{total_epochs} and {floor}"
        )
    half = total_epochs / 2
    return floor ** max(0.0, (epoch + 2 - half) / (total_epochs + 1 - half))


class AdaptiveSchedule:
    """A rate that falls once, when the loss has, and a run that ends soon after (QAConv; Liao & Shao, CVPR 2022).

    The definition, as a loop::

        factor, last_epoch, epoch = 1, max_epochs, 0
        while epoch < last_epoch:
            epoch += 1
            loss[epoch] = mean loss of the epoch, at the rate peak * factor
            if epoch > 2 and factor == 1 and loss[epoch] < drop * loss[2]:
                factor, last_epoch = 0.1, min(max_epochs, epoch + epoch // 2)
    """

    def __init__(self, max_epochs: int, drop: float = 0.7) -> None:
        """Start before the first epoch.

        Args:
            max_epochs: Epochs at most, >= 1.
            drop: Share of the second epoch's loss that lets the rate fall, in (0, 1).

        Raises:
            ValueError: If an argument is out of range.
        """
        if max_epochs < 1 or not 0 < drop < 1:
            raise ValueError(f"max_epochs must be >= 1 and drop in (0, 1), got {max_epochs} and {drop}")
        self.max_epochs = max_epochs
        self.drop = drop
        self._epoch = 0
        self._base_loss = 0.0
        self._drop_epoch = 0

    @property
    def factor(self) -> float:
        """Share of the peak learning rate in the next epoch."""
        return 0.1 if self._drop_epoch else 1.0

    @property
    def last_epoch(self) -> int:
        """Epoch, counted from 1, after which the run ends, as far as is known."""
        return min(self.max_epochs, self._drop_epoch + self._drop_epoch // 2) if self._drop_epoch else self.max_epochs

    def end_epoch(self, mean_loss: float) -> None:
        """Take the mean loss of the epoch that has ended.

        Raises:
            ValueError: If it is not finite.
        """
        if not math.isfinite(mean_loss):
            raise ValueError(f"the mean loss of epoch {self._epoch + 1} is {mean_loss}; go back to the last checkpoint")
        self._epoch += 1
        if self._epoch == 2:
            self._base_loss = mean_loss
        elif self._epoch > 2 and not self._drop_epoch and mean_loss < self.drop * self._base_loss:
            self._drop_epoch = self._epoch

    @property
    def state(self) -> dict[str, float]:
        """What a checkpoint keeps: epochs that have ended, the second one's loss and the one of the fall; 0 before."""
        return {"epoch": self._epoch, "base_loss": self._base_loss, "drop_epoch": self._drop_epoch}

    def restore(self, state: dict[str, float]) -> None:
        """Go on from a `state`.

        Raises:
            ValueError: If it is of something else.
        """
        if state.keys() != self.state.keys():
            raise ValueError(f"a schedule's state has {', '.join(self.state)}, got {', '.join(state) or 'nothing'}")
        self._epoch, self._base_loss = int(state["epoch"]), state["base_loss"]
        self._drop_epoch = int(state["drop_epoch"])
