"""Whether a gallery is what its manifest says, and how large it is."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from cluster import storage
from cluster.console import meter
from cluster.errors import InputError
from lifelong.gallery import journal, shards
from lifelong.gallery.durable import TEMPORARY
from lifelong.gallery.manifest import Manifest, Shard
from lifelong.gallery.search import look_up

NORM_TOLERANCE = 1e-3


@dataclass(frozen=True, kw_only=True, slots=True)
class Stats:
    """What is in a gallery."""

    size: int
    """Components of a feature."""
    items: int
    """That a search can find."""
    identities: int
    models: dict[str, int]
    """Items of each declared model."""
    shards: int
    shard_bytes: int
    deleted_items: int
    """Whose bytes are there until compaction."""
    deleted_identities: int
    orphans: tuple[str, ...]
    """Files that no manifest names: of an interrupted command, or of one that is at work."""


def orphans_of(location: str) -> list[str]:
    """List files that do not belong to a gallery: shards in no manifest, and beginnings of files."""
    found = storage.list_files(storage.join(location, shards.FOLDER))
    temporary = storage.list_files(storage.join(location, journal.FOLDER), (TEMPORARY,))
    # the manifest is read last: what was added before the listing must be known
    known = {shards.file_of(location, shard.name) for shard in journal.read_newest(location).shards}
    return [file for file in found if file not in known] + temporary


def measure(location: str, manifest: Manifest) -> Stats:
    """Count."""
    deleted = manifest.deleted_items()
    identities = np.empty(0, np.int64)
    for shard in manifest.shards:
        for batch in shards.read_blocks(location, shard, ["identity"], size=manifest.size, without=deleted):
            identities = np.union1d(identities, batch["identity"].to_numpy())
    models = Counter(dict.fromkeys(manifest.fingerprints, 0))
    for shard in manifest.shards:
        models.update(shard.models)
    if len(deleted):
        models.subtract(
            shards.counts_of(look_up(location, manifest, deleted, ["model_fingerprint"])["model_fingerprint"])
        )
    return Stats(
        size=manifest.size,
        items=manifest.num_items,
        identities=len(identities),
        models=dict(models),
        shards=len(manifest.shards),
        shard_bytes=sum(shard.num_bytes for shard in manifest.shards),
        deleted_items=len(deleted),
        deleted_identities=len({stone.identity for stone in manifest.tombstones}),
        orphans=tuple(orphans_of(location)),
    )


def check(location: str, manifest: Manifest) -> None:
    """Compare every shard with the manifest: its bytes, rows, norms, items and models.

    Raises:
        InputError: If something is wrong; names all of it.
    """
    wrong = _wrong_manifest(manifest)
    with meter("verifying", manifest.num_rows) as advance:
        for shard in manifest.shards:
            place = shards.file_of(location, shard.name)
            try:
                found = _wrong_bytes(place, shard) or _wrong_rows(location, shard, manifest)
            except (ValueError, pa.ArrowException, OSError) as error:
                found = [str(error).splitlines()[0]]
            wrong += [f"{place} {what}" if place not in what else what for what in found]
            advance(shard.num_rows)
    if wrong:
        raise InputError(
            f"{location} is damaged in {len(wrong)} places: {'; '.join(wrong)}. Restore these files from a copy; "
            "what else the gallery holds is as it was written"
        )


def _wrong_manifest(manifest: Manifest) -> list[str]:
    wrong, end = [], 0
    for shard in sorted(manifest.shards, key=lambda shard: shard.first_item):
        if not end <= shard.first_item <= shard.last_item < manifest.next_item:
            wrong.append(f"the manifest gives items {shard.first_item} to {shard.last_item} of {shard.name} twice")
        end = shard.last_item + 1
        undeclared = sorted(set(shard.models) - set(manifest.fingerprints))
        if undeclared:
            wrong.append(f"shard {shard.name} has features of models that are not declared: {', '.join(undeclared)}")
    return wrong


def _wrong_bytes(place: str, shard: Shard) -> list[str]:
    if not storage.exists(place):
        return ["is missing"]
    with storage.open_for_reading(place) as stream:
        digest = shards.sha256_of(stream)
    return [] if digest == shard.sha256 else [f"has SHA-256 {digest} and was written with {shard.sha256}"]


def _wrong_rows(location: str, shard: Shard, manifest: Manifest) -> list[str]:
    """Check what a shard with the right bytes holds: a bug of whoever wrote it would show here."""
    wrong = []
    models: Counter[str] = Counter()
    items = []
    columns = ["feature", "identity", "model_fingerprint"]
    for batch in shards.read_blocks(location, shard, columns, size=manifest.size):
        norm_B = np.linalg.norm(shards.matrix_of(batch["feature"], manifest.size), axis=1)
        if not (np.abs(norm_B - 1) < NORM_TOLERANCE).all():
            wrong.append(f"has features of norm {norm_B[np.abs(norm_B - 1).argmax()]:.4f}, not 1")
        if batch["identity"].to_numpy().min() < 0:
            wrong.append("holds junk, of identity < 0")
        models.update(shards.counts_of(batch["model_fingerprint"]))
        items.append(batch["item"].to_numpy())
    item_N = np.concatenate(items)
    if (np.diff(item_N) <= 0).any() or (item_N[0], item_N[-1]) != (shard.first_item, shard.last_item):
        wrong.append(f"numbers its items {item_N[0]} to {item_N[-1]}, not {shard.first_item} to {shard.last_item}")
    if dict(models) != dict(shard.models) or len(item_N) != shard.num_rows:
        wrong.append(f"has {dict(models)} rows of models and the manifest says {dict(shard.models)}")
    return wrong
