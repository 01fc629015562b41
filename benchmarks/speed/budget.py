"""What a figure should be."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Budget:
    """A bound, from below or from above."""

    bound: float
    is_least: bool
    """Whether more is better."""

    def __str__(self) -> str:
        return f"{'>=' if self.is_least else '<='} {self.bound:g}"

    def is_met(self, figure: float) -> bool:
        """Whether a figure keeps to it."""
        return figure >= self.bound if self.is_least else figure <= self.bound


def at_least(bound: float) -> Budget:
    """More is better."""
    return Budget(bound, is_least=True)


def at_most(bound: float) -> Budget:
    """Less is better."""
    return Budget(bound, is_least=False)


def to_json(budget: Budget) -> dict[str, float]:
    """Return a budget as it is saved: ``at_least`` or ``at_most``."""
    return {"at_least" if budget.is_least else "at_most": budget.bound}


def from_json(saved: Mapping[str, Any]) -> Budget:
    """Return a saved budget."""
    return at_least(saved["at_least"]) if "at_least" in saved else at_most(saved["at_most"])
