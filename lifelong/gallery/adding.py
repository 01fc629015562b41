"""Adding features: shards first, then the manifest that names them."""

from dataclasses import dataclass, replace

import numpy as np

from cluster import storage
from cluster.errors import InputError
from evaluation.features.table import Features
from evaluation.metrics.distances import check_features, unit_rows
from lifelong.gallery import journal, shards
from lifelong.gallery.manifest import Manifest, Shard, with_shards


@dataclass(frozen=True, kw_only=True, slots=True)
class AddResult:
    """What was added."""

    added: int
    junk: int
    """Images of identity -1, which are not stored."""
    is_repeat: bool
    """Whether the same rows were stored already, so that nothing was added."""
    first_item: int
    """The id of the first row that is new, or was stored before; the others follow."""
    shards: tuple[str, ...]


def add(location: str, features: Features, *, source: str, again: bool) -> AddResult:
    """Store features (see `Gallery.add`)."""
    manifest = journal.read_newest(location)
    kept = _checked(features, manifest)
    junk = len(features) - len(kept)
    digest = shards.sha256_of_rows(kept)
    found = () if again else _of_source(manifest, digest)
    if found:
        return _result(found, junk=junk, is_repeat=True)
    written = _write(location, kept, source, digest)

    def append(newest: Manifest) -> Manifest:
        if _of_source(newest, digest) and not again:
            return newest  # another process had the same rows
        for shard in written:
            if not storage.exists(place := shards.file_of(location, shard.name)):
                raise InputError(f"{place} was removed as an orphan while features were added; add them again")
        return with_shards(newest, written)

    manifest = journal.change(location, append)
    names = {shard.name for shard in written}
    placed = tuple(shard for shard in manifest.shards if shard.name in names)
    if placed:
        return _result(placed, junk=junk, is_repeat=False)
    for name in names:
        storage.remove(shards.file_of(location, name))
    return _result(_of_source(manifest, digest), junk=junk, is_repeat=True)


def _checked(features: Features, manifest: Manifest) -> Features:
    """Return the rows to store."""
    manifest.require_declared(set(features.model_fingerprint), "features")
    if features.feature.shape[1] != manifest.size:
        raise InputError(
            f"features have {features.feature.shape[1]} components and the gallery {manifest.size}; "
            "use a model with its embedding size, or make another gallery"
        )
    check_features(features.feature, "gallery")
    kept = np.flatnonzero(features.identity >= 0)
    if not len(kept):
        raise InputError(f"all {len(features)} images are junk (identity -1), which is not stored; label some")
    return features.take(kept)


def _write(location: str, features: Features, source: str, digest: str) -> tuple[Shard, ...]:
    size = features.feature.shape[1]
    step = shards.rows_within(shards.SHARD_BYTES, size)
    block = shards.rows_within(shards.BLOCK_BYTES, size)
    written = []
    for start in range(0, len(features), step):
        end = min(start + step, len(features))
        tables = (
            shards.table_of(_unit(features.take(np.arange(first, min(first + block, end)))), first - start)
            for first in range(start, end, block)
        )
        written.append(shards.write_shard(location, size, tables, source=source, source_sha256=digest))
    return tuple(written)


def _unit(features: Features) -> Features:
    return replace(features, feature=unit_rows(features.feature))


def _of_source(manifest: Manifest, digest: str) -> tuple[Shard, ...]:
    return tuple(shard for shard in manifest.shards if shard.source_sha256 == digest)


def _result(found: tuple[Shard, ...], *, junk: int, is_repeat: bool) -> AddResult:
    return AddResult(
        added=0 if is_repeat else sum(shard.num_rows for shard in found),
        junk=junk,
        is_repeat=is_repeat,
        first_item=found[0].first_item,
        shards=tuple(shard.name for shard in found),
    )
