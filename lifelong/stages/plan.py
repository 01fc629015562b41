"""Stages as data: which dataset comes when, how it is learned, and what a whole run is."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from cluster import storage
from cluster.errors import InputError
from cluster.values import differences, from_json, require, to_json
from cluster.versions import check_version
from evaluation.datasets.registry import read_dataset
from evaluation.datasets.rows import ImageRow
from lifelong.stages.config import StageConfig
from lifelong.stages.splits import parse_part, take_part
from pretrain.config.scale import identity

VERSION = 1
"""Of a plan as JSON."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One dataset that comes in, and how it is learned."""

    name: str
    """Names its files and its rows in tables; unique in a run."""
    dataset: str
    """A spec of `evaluation.datasets.registry`, such as ``market1501:/data/Market-1501`` or ``csv:images.csv``."""
    identities: int = 0
    """How many of its training identities are used, the first by number; 0 uses all."""
    part: str = ""
    """Which part of those: ``3/10`` is the third of ten by number, ``3/10@7`` of ten shuffled with seed 7; empty is
    all. What is tested stays whole. See `lifelong.stages.splits`."""
    any_counts: bool = False
    """Whether an incomplete copy of a benchmark will do."""
    config: StageConfig
    """How it is learned."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        require(bool(NAME.fullmatch(self.name)), "a stage's name", "letters, digits, dots, dashes", repr(self.name))
        require(self.identities >= 0, "identities", ">= 0", self.identities)
        if self.part:
            parse_part(self.part)

    def rows(self) -> list[ImageRow]:
        """List the images: training ones of the identities that are used, queries, and gallery.

        Raises:
            InputError: If the dataset cannot be read, has no training images, or too few identities to take a part.
        """
        return self.select(read_dataset(self.dataset, any_counts=self.any_counts))

    def select(self, rows: Sequence[ImageRow]) -> list[ImageRow]:
        """Choose among the rows of the dataset, see `rows`; who has several stages of one dataset reads it once."""
        people = sorted({row.identity for row in rows if row.split == "train" and row.identity > 0})
        if not people:
            raise InputError(f"{self.dataset} has no training images of known identities; a stage needs some")
        people = people[: self.identities or None]
        used = set(take_part(people, self.part) if self.part else people)
        return [row for row in rows if row.split != "train" or row.identity in used]


@dataclass(frozen=True, kw_only=True, slots=True)
class LifelongPlan:
    """A run: where it starts, what comes in which order, and what it is tested on besides."""

    start: str = ""
    """Model directory or safetensors file of the first weights; empty is random."""
    stages: tuple[Stage, ...]
    """In order."""
    unseen: tuple[str, ...] = ()
    """Datasets that are never trained on: specs, each ``NAME=SPEC`` or a spec alone."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        require(len(self.stages) > 0, "stages", "at least one", 0)
        names = [stage.name for stage in self.stages] + [name for name, _ in map(named, self.unseen)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise InputError(f"{len(names)} datasets share the name {twice[0]!r}; name them apart: --stage other=SPEC")
        models = {stage.config.model for stage in self.stages}
        if len(models) > 1:
            raise InputError("all stages need the same model: its features lie in one gallery")


def named(text: str) -> tuple[str, str]:
    """Take a dataset's name off its spec: ``NAME=SPEC``, or the benchmark's or the folder's own name.

    Raises:
        InputError: If no usable name can be made of it.
    """
    match = re.match(r"([A-Za-z0-9][A-Za-z0-9._-]*)=(.+)", text)
    if match:
        return match[1], match[2]
    kind, separator, rest = text.partition(":")
    is_benchmark = bool(separator) and not rest.startswith("//") and len(kind) > 1 and kind != "csv"
    name = kind.partition("#")[0] if is_benchmark else storage.name_of(rest if kind == "csv" else text)
    name = re.sub(r"[^A-Za-z0-9._-]", "-", name.removesuffix(".csv")).strip("-.")
    if not name:
        raise InputError(f"{text!r} gives no name for the stage; write --stage NAME=SPEC")
    return name, text


def make_stages(
    specs: Sequence[str], config: StageConfig, *, identities: int = 0, any_counts: bool = False
) -> tuple[Stage, ...]:
    """Make stages of what was named on the command line."""
    return tuple(
        Stage(name=name, dataset=absolute(spec), identities=identities, any_counts=any_counts, config=config)
        for name, spec in map(named, specs)
    )


def absolute(spec: str) -> str:
    """Make the location inside a spec absolute: the run goes on next year, from another folder."""
    kind, separator, rest = spec.partition(":")
    if not separator or rest.startswith("//") or len(kind) == 1:
        return storage.resolve(spec)
    return f"{kind}:{storage.resolve(rest)}"


def plan_to_json(plan: LifelongPlan) -> dict[str, Any]:
    """Return a plan as plain JSON values."""
    return {"version": VERSION, **to_json(plan)}


def plan_from_json(values: Any) -> LifelongPlan:
    """Rebuild a plan that `plan_to_json` wrote.

    Raises:
        InputError: If it was written by another version.
    """
    check_version("the plan", values.get("version") if isinstance(values, dict) else 0, VERSION)
    try:
        stages = tuple(from_json(Stage, stage) for stage in values["stages"])
        return LifelongPlan(start=values["start"], stages=stages, unseen=tuple(values["unseen"]))
    except (KeyError, TypeError) as error:
        raise InputError(f"this is no plan of this version ({error}); use the version that wrote it") from error


def _lasting(stage: Stage) -> Stage:
    """Return a stage without what may change when it goes on: who computes."""
    return replace(stage, config=identity(stage.config))


def refuse_other_past(old: LifelongPlan, new: LifelongPlan) -> None:
    """Check that a plan continues another: stages may be added at the end, and nothing else may change.

    Raises:
        InputError: If a stage that was there is gone or different.
    """
    if len(new.stages) < len(old.stages) or (old.start, old.unseen) != (new.start, new.unseen):
        raise InputError(
            f"the run has {len(old.stages)} stages, start {old.start or 'random'} and unseen {list(old.unseen)}, and "
            f"this plan has {len(new.stages)}, {new.start or 'random'} and {list(new.unseen)}; a run only grows"
        )
    for before, after in zip(old.stages, new.stages, strict=False):
        changed = differences(_lasting(before), _lasting(after))
        if changed:
            raise InputError(
                f"stage {before.name} of the run has other settings ({'; '.join(changed)}); repeat them, or give "
                "another --out"
            )
