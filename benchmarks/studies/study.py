"""A study as a value: arms x seeds, what they share, what each of them measures, and the table of it all."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cluster import storage
from cluster.errors import InputError

Numbers = Mapping[str, Any]
"""What one arm gives with one seed: numbers, or groups of them, as JSON values."""
Results = Mapping[str, Mapping[str, Numbers]]
"""By arm and seed, in the order of the study; JSON has strings for keys, so seeds are strings here."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a piece of work goes."""

    folder: str
    """Its own, absolute. What is there is its own, from an earlier try."""
    shared: str
    """Where prepared things are."""

    def prepared(self, name: str) -> str:
        """Return the folder of something that was prepared."""
        return storage.join(self.shared, name, "files")


@dataclass(frozen=True, slots=True)
class Preparation:
    """Something that several arms need: a drawn street, clips, a first stage. It is made once."""

    settings: Mapping[str, Any]
    """All that it depends on, as JSON values."""
    make: Callable[[Place], None]
    """Fills its folder, or goes on with that; a function of a module, since other processes run it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Study:
    """Arms x seeds."""

    name: str
    """Of its folder and of its results."""
    arms: Mapping[str, Mapping[str, Any]]
    """By name all that an arm's numbers depend on, but the seed and what was prepared, as JSON values."""
    seeds: tuple[int, ...]
    run: Callable[[str, int, Place], Numbers]
    """Measures an arm with a seed, or goes on with that; a function of a module, or a `functools.partial` of one."""
    table: Callable[[Results], str]
    """Formats results as Markdown; with one result at least, and perhaps not all of them."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What all arms share and a reader must know, as JSON values: steps, epochs, domains."""
    prepare: tuple[Mapping[str, Preparation], ...] = ()
    """Rounds of preparations by name; those of a round are made at the same time, and may use earlier rounds."""
    pictures: Callable[[Results, str], None] | None = None
    """Draws results into a folder."""
    is_parallel: bool = True
    """Whether a run keeps to one core. Those on Ray do not: they run one after the other, with all threads."""

    def __post_init__(self) -> None:
        for name, value in (("arms", self.arms), ("seeds", self.seeds)):
            if not value:
                raise InputError(f"{name} must not be empty")


def check_known(arms: Iterable[str], known: Iterable[str]) -> None:
    """Refuse names that are no arms.

    Raises:
        InputError: If there is one.
    """
    names = list(known)
    if unknown := [arm for arm in arms if arm not in names]:
        raise InputError(f"there is no arm {unknown[0]!r}; there are {', '.join(map(repr, names))}")


def changes_of(over: Iterable[str]) -> dict[str, str]:
    """Read changed settings, NAME=VALUE.

    Raises:
        InputError: If one has no ``=``.
    """
    parts = [text.partition("=") for text in over]
    if wrong := [name for name, sign, _ in parts if not sign]:
        raise InputError(f"--over must be NAME=VALUE, got {wrong[0]!r}")
    return {name: value for name, _, value in parts}
