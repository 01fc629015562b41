"""Does a plan fit the cluster? Asked before anything starts, because Ray 2.60 waits for ever instead of refusing."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cluster.errors import InputError


@dataclass(frozen=True, kw_only=True, slots=True)
class Demand:
    """What one part of a plan holds at the same time as the other parts."""

    what: str
    """Named in the error, such as ``training workers``."""
    count: int
    """How many of them must run at once."""
    cpus: float
    """Logical CPUs of each."""
    gpus: float = 0.0
    """GPUs of each."""
    remedy: str
    """The option that makes this part smaller, such as ``--workers``."""


READER = Demand(what="Ray Data's own file listing", count=1, cpus=1, remedy="a larger cluster")
"""Every read of files holds one CPU that no option shows; leaving no room for it hangs the whole job."""


def check_fits(demands: Iterable[Demand], available: Mapping[str, float]) -> None:
    """Refuse a plan that can never be scheduled.

    Args:
        demands: The parts that run at the same time.
        available: Resources of the whole cluster by name.

    Raises:
        InputError: If CPUs or GPUs do not suffice; names every part and the option to change.
    """
    parts = tuple(demands)
    for name, needed in (
        ("CPU", sum(part.count * part.cpus for part in parts)),
        ("GPU", sum(part.count * part.gpus for part in parts)),
    ):
        have = available.get(name, 0.0)
        if needed > have + 1e-9:
            listing = ", ".join(
                f"{part.count} x {part.cpus if name == 'CPU' else part.gpus:g} for {part.what} ({part.remedy})"
                for part in parts
                if (part.cpus if name == "CPU" else part.gpus) > 0
            )
            raise InputError(
                f"this plan needs {needed:g} {name}s and the cluster has {have:g}: {listing}; it would wait for ever. "
                "Make a part smaller or join a larger cluster (RAY_ADDRESS)"
            )
