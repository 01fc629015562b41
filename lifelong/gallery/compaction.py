"""Compaction: deleted people leave the disk. Features that stay keep their bytes and their item ids.

On a bucket with versioning, old versions of files stay until its own rules remove them.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cluster import storage
from cluster.errors import InputError
from lifelong.gallery import journal, shards
from lifelong.gallery.manifest import Manifest, Shard, with_replaced
from lifelong.gallery.verification import orphans_of

ORPHAN_SECONDS = 3_600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Compaction:
    """What was removed."""

    removed_items: int
    rewritten_shards: int
    removed_orphans: int
    kept_orphans: tuple[str, ...]
    """Too young: an `add` may be at work on them."""


def compact(location: str, *, orphan_seconds: float) -> Compaction:
    """Rewrite the shards that hold deleted items, then remove the old ones, old manifests and orphans.

    When it is interrupted, the next one ends the work.

    Args:
        location: Of the gallery.
        orphan_seconds: How old a file that no manifest names must be. An `add` whose files were taken away fails.
    """
    manifest = before = journal.read_newest(location)
    deleted = manifest.deleted_items()
    replaced = {
        shard.name: _rewrite(location, manifest.size, shard, deleted[slice(*bounds)])
        for shard in manifest.shards
        if np.diff(bounds := np.searchsorted(deleted, [shard.first_item, shard.last_item + 1]))
    }
    if manifest.tombstones:
        done = set(deleted.tolist())

        def swap(newest: Manifest) -> Manifest:
            if not replaced.keys() <= {shard.name for shard in newest.shards}:
                raise InputError(f"{location} is being compacted by another process; let it end, then try again")
            return with_replaced(newest, replaced, done)

        manifest = journal.change(location, swap)
    journal.empty_before(location, manifest.number)
    dropped = {shards.file_of(location, name) for name in {*before.dropped, *manifest.dropped}}
    removed, kept = 0, []
    for orphan in orphans_of(location):
        with contextlib.suppress(FileNotFoundError):  # an add has just completed or removed it
            if orphan in dropped or journal.age_seconds(orphan) >= orphan_seconds:
                storage.remove(orphan)
                removed += orphan not in dropped
            else:
                kept.append(orphan)
    return Compaction(
        removed_items=len(deleted), rewritten_shards=len(replaced), removed_orphans=removed, kept_orphans=tuple(kept)
    )


def _rewrite(location: str, size: int, shard: Shard, deleted: NDArray[np.int64]) -> Shard | None:
    """Write a shard without its deleted rows; nothing if no row is left."""
    if len(deleted) == shard.num_rows:
        return None
    written = shards.write_shard(
        location,
        size,
        _kept_rows(location, size, shard, deleted),
        source=shard.source,
        source_sha256=shard.source_sha256,
    )
    first, last = (shard.item_offset + row for row in (written.first_item, written.last_item))
    return replace(written, item_offset=shard.item_offset, first_item=first, last_item=last)


def _kept_rows(location: str, size: int, shard: Shard, deleted: NDArray[np.int64]) -> Iterator[pa.Table]:
    schema = shards.schema_of(size)
    for batch in shards.read_blocks(location, shard, schema.names[1:], size=size, without=deleted):
        row_B = pa.array(batch["item"].to_numpy() - shard.item_offset)
        yield pa.Table.from_arrays([row_B, *batch.columns[1:]], schema=schema)
