"""What a gallery says of itself: declared models, shards, deletions. Values only; `journal` keeps them in files."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from cluster.errors import InputError
from cluster.versions import check_version
from evaluation.features.npz import UNKNOWN_MODEL

FORMAT = 1
"""Of manifests and shards; a reader refuses other numbers."""
Part = TypeVar("Part")


@dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    """A model whose features may be stored and searched with."""

    fingerprint: str
    declared: str
    """When, in UTC."""
    note: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """A file of features that is written once."""

    name: str
    num_rows: int
    num_bytes: int
    sha256: str
    """Of the file."""
    item_offset: int
    """Item id of a row = this + the row's value of column ``row``."""
    first_item: int
    last_item: int
    models: Mapping[str, int]
    """Rows of each model."""
    source: str
    """Where the rows came from, in the words of who added them."""
    source_sha256: str
    """Of all rows that were added together, so that the same rows are not added again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tombstone:
    """Items that are no longer there, until compaction removes their bytes and this note."""

    identity: int
    items: tuple[int, ...]
    deleted: str
    """When, in UTC."""
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """The truth about a gallery at one moment. A shard that is not named here does not exist."""

    number: int
    """From 1; each change adds 1."""
    commit: str
    """Random name of the change that made this manifest."""
    written: str
    """When, in UTC."""
    size: int
    """Components D of a feature."""
    next_item: int = 0
    models: tuple[Model, ...] = ()
    shards: tuple[Shard, ...] = ()
    tombstones: tuple[Tombstone, ...] = ()
    dropped: tuple[str, ...] = field(default=())
    """Shards that compaction replaced; their files are never needed again."""

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """Declared models, in the order of their declaration."""
        return tuple(model.fingerprint for model in self.models)

    @property
    def num_rows(self) -> int:
        """Rows in shards, deleted ones included."""
        return sum(shard.num_rows for shard in self.shards)

    @property
    def num_items(self) -> int:
        """Items that a search can find."""
        return self.num_rows - sum(len(tombstone.items) for tombstone in self.tombstones)

    def deleted_items(self) -> NDArray[np.int64]:
        """Return all deleted items, ascending."""
        parts = [np.asarray(tombstone.items, np.int64) for tombstone in self.tombstones]
        return np.sort(np.concatenate(parts)) if parts else np.empty(0, np.int64)

    def require_declared(self, fingerprints: set[str], what: str) -> None:
        """Refuse models that nobody has declared compatible.

        Raises:
            InputError: If one is not declared.
        """
        for fingerprint in sorted(fingerprints - set(self.fingerprints)):
            raise InputError(
                f"{what} come from model {fingerprint}, which this gallery does not know (it has "
                f"{', '.join(self.fingerprints)}); if it was trained to be compatible, and promoted, declare it: "
                f"python -m lifelong gallery declare DIR {fingerprint}"
            )


def now() -> str:
    """Return the time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def with_model(manifest: Manifest, fingerprint: str, note: str) -> Manifest:
    """Declare a model; one that is declared already changes nothing.

    Raises:
        InputError: If the fingerprint says nothing about the model.
    """
    if not fingerprint.strip() or fingerprint == UNKNOWN_MODEL:
        raise InputError(
            f"a model needs a fingerprint, got {fingerprint!r}: in years nobody could tell which one it was; "
            "write one into column model_fingerprint"
        )
    if fingerprint in manifest.fingerprints:
        return manifest
    return replace(manifest, models=(*manifest.models, Model(fingerprint=fingerprint, declared=now(), note=note)))


def with_shards(manifest: Manifest, shards: tuple[Shard, ...]) -> Manifest:
    """Append shards and number their items."""
    placed, next_item = [], manifest.next_item
    for shard in shards:
        last = next_item + shard.num_rows - 1
        placed.append(replace(shard, item_offset=next_item, first_item=next_item, last_item=last))
        next_item += shard.num_rows
    return replace(manifest, shards=(*manifest.shards, *placed), next_item=next_item)


def with_replaced(manifest: Manifest, replaced: Mapping[str, Shard | None], done: set[int]) -> Manifest:
    """Put compacted shards where the old ones were, and forget the deletions that are done.

    Args:
        manifest: May hold newer shards and deletions than compaction saw.
        replaced: Old name to the new shard, or to None where no row was left.
        done: Items that the new shards no longer hold.
    """
    shards = (replaced.get(shard.name, shard) for shard in manifest.shards)
    return replace(
        manifest,
        shards=tuple(shard for shard in shards if shard is not None),
        tombstones=tuple(stone for stone in manifest.tombstones if not done.issuperset(stone.items)),
        dropped=tuple(replaced),
    )


def to_json(manifest: Manifest) -> dict[str, Any]:
    """Return a manifest as plain JSON values."""
    return {"format": FORMAT, **asdict(manifest)}


def from_json(values: Any) -> Manifest:
    """Rebuild a manifest that `to_json` wrote.

    Raises:
        InputError: If it is of another format, or a field is unknown or missing.
    """
    check_version("the manifest", values.get("format", 0) if isinstance(values, dict) else 0, FORMAT)
    plain = {name: value for name, value in values.items() if name != "format"}
    for name, kind in (("models", Model), ("shards", Shard), ("tombstones", Tombstone)):
        plain[name] = tuple(_part(kind, value) for value in plain.get(name, ()))
    plain["dropped"] = tuple(plain.get("dropped", ()))
    return _part(Manifest, plain)


def _part(kind: type[Part], values: Any) -> Part:
    names = {item.name for item in fields(kind)}  # type: ignore[arg-type]
    if not isinstance(values, dict) or set(values) != names:
        given = set(values) if isinstance(values, dict) else set()
        raise InputError(f"{kind.__name__} has unknown or missing fields: {', '.join(sorted(given ^ names))}")
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})
