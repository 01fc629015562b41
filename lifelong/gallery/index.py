"""A faiss index over all shards, as a cache: whatever is wrong with it, it is made again from the shards.

Features of all models are in one index, since declared models are compatible. It is an inverted file over cells of the
space with eight bits a component (a quarter of the features' bytes in memory), so its nearest are candidates whose
exact similarity is then computed from the shards. `evaluation.qaconv.index` is another thing: features of one model,
in memory, exact as floats, numbered by row, with no additions and no deletions.

Files of a cache::

    trained.faiss   the cells and the quantiser, without features
    trained.json    from how many rows, and of which shards
    SHARD.npz       items, int64 [N], and codes, uint8 [N, C], of one shard; adding to a gallery adds such a file

Deleted features are in no search at once. A cache that knows a shard which compaction has replaced is removed as a
whole: the cells were computed from its features too.
"""

import fcntl
import json
import math
import os
import uuid
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from cluster.console import meter
from cluster.errors import InputError
from lifelong.gallery.manifest import FORMAT, Manifest, Shard
from lifelong.gallery.shards import is_among, matrix_of, read_blocks

TRAINED, DESCRIPTION, LOCK = "trained.faiss", "trained.json", ".lock"
TRAINING_POINTS = 39
"""A cell needs so many; faiss warns below."""
LEAST_CELLS = 8
LEAST_PROBES, CELLS_PER_PROBE = 32, 32
"""A search looks into a 32nd of the cells, at least 32."""
GROWTH = 4
"""The cells are computed anew once a gallery is so many times larger."""
DAMAGED = (RuntimeError, OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)


def num_cells(count: int) -> int:
    """Return how many cells a gallery gets: the power of 2 nearest to 2.5 sqrt(N), fewer where they were not filled."""
    wanted = 2 ** round(math.log2(2.5 * math.sqrt(count))) if count else 0
    return min(wanted, count // TRAINING_POINTS)


class VectorIndex:
    """The index of a gallery, loaded and kept up to date."""

    def __init__(self, location: str, folder: str) -> None:
        self._location, self._folder = location, Path(folder)
        self._index: Any = None
        self._training = ""
        self._loaded: set[str] = set()
        self._deleted = np.empty(0, np.int64)

    def search(self, query_QD: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return approximate similarities and items, [Q, K]; -1 where too few were found."""
        assert self._index is not None, "refresh comes first"
        self._index.nprobe = max(LEAST_PROBES, self._index.nlist // CELLS_PER_PROBE)
        return self._index.search(query_QD, k)

    def refresh(self, manifest: Manifest) -> None:
        """Bring the cache and what is in memory up to a manifest.

        Raises:
            InputError: If there are too few items.
        """
        if num_cells(manifest.num_items) < LEAST_CELLS:
            least = LEAST_CELLS * TRAINING_POINTS
            raise InputError(f"an ivf index needs at least {least} items, got {manifest.num_items}; use --index flat")
        with _locked(self._folder):
            self._prepare(manifest)
            assert self._index is not None
            deleted = manifest.deleted_items()
            new = deleted[~is_among(deleted, self._deleted)]
            if len(new) and self._loaded:
                self._index.remove_ids(faiss.IDSelectorBatch(new))
            self._deleted = deleted
            self._load([shard for shard in manifest.shards if shard.name not in self._loaded], manifest)

    def _load(self, missing: list[Shard], manifest: Manifest) -> None:
        """Put shards into memory. Cells get their final length first: growing, they would take up to twice the room."""
        count_L = np.zeros(self._index.nlist, np.int64)
        with meter("indexing", sum(shard.num_rows for shard in missing)) as advance:
            for shard in missing:
                count_L += np.bincount(self._codes(shard, manifest)[1], minlength=len(count_L))
                advance(shard.num_rows)
        lists = self._index.invlists
        end_L = np.array([lists.list_size(cell) for cell in range(len(count_L))])
        for cell in np.flatnonzero(count_L).tolist():
            lists.resize(cell, int(end_L[cell] + count_L[cell]))
        for shard in missing:
            item_N, cell_N, code_NC = self._codes(shard, manifest)
            order = np.argsort(cell_N, kind="stable")
            item_N, code_NC = item_N[order], code_NC[order]
            cell_R, start_R, num_R = np.unique(cell_N[order], return_index=True, return_counts=True)
            for cell, start, num in zip(cell_R.tolist(), start_R.tolist(), num_R.tolist(), strict=True):
                items, codes = faiss.swig_ptr(item_N[start:]), faiss.swig_ptr(code_NC[start:])
                lists.update_entries(cell, int(end_L[cell]), num, items, codes)
                end_L[cell] += num
            self._index.ntotal += len(item_N)
            self._loaded.add(shard.name)

    def _prepare(self, manifest: Manifest) -> None:
        """Load the trained index, or train it; forget what is loaded if it is another."""
        try:
            description = json.loads((self._folder / DESCRIPTION).read_text(encoding="utf-8"))
            is_usable = (description["format"], description["size"]) == (FORMAT, manifest.size)
            is_usable &= manifest.num_items <= GROWTH * description["count"]
            if is_usable and not _knows_others(self._folder, manifest):
                if self._training != description["training"]:
                    self._index = faiss.read_index(str(self._folder / TRAINED))
                    self._training, self._loaded = description["training"], set()
                return
        except DAMAGED:
            pass
        _clear(self._folder)
        self._train(manifest)

    def _train(self, manifest: Manifest) -> None:
        cells = num_cells(manifest.num_items)
        step = max(1, manifest.num_items // (cells * (TRAINING_POINTS + 1)))
        parts = []
        with meter("reading a sample", manifest.num_rows) as advance:
            for shard in manifest.shards:
                for _, feature_BD in self._blocks(shard, manifest):
                    parts.append(feature_BD[::step].copy())
                advance(shard.num_rows)
        quantiser = faiss.IndexFlatIP(manifest.size)
        arguments = (manifest.size, cells, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT)
        index = faiss.IndexIVFScalarQuantizer(quantiser, *arguments)
        index.train(np.concatenate(parts))
        description = {
            "format": FORMAT,
            "training": uuid.uuid4().hex,
            "size": manifest.size,
            "cells": cells,
            "count": manifest.num_items,
            "shards": [shard.name for shard in manifest.shards],
        }
        faiss.write_index(index, str(self._folder / TRAINED))
        # Last: without it there is no cache.
        (self._folder / DESCRIPTION).write_text(json.dumps(description), encoding="utf-8")
        self._index, self._training, self._loaded = index, description["training"], set()

    def _codes(
        self, shard: Shard, manifest: Manifest
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]:
        """Return items, cells and codes of the live rows of a shard, from the cache or computed now."""
        path = self._folder / f"{shard.name}.npz"
        try:
            found = self._read(path)
        except DAMAGED:
            items, codes = [np.empty(0, np.int64)], [np.empty((0, self._index.sa_code_size()), np.uint8)]
            for item_B, feature_BD in self._blocks(shard, manifest):
                items.append(item_B)
                codes.append(self._index.sa_encode(feature_BD))
            temporary = path.with_suffix(".tmp")
            with open(temporary, "wb") as stream:
                np.savez(stream, item=np.concatenate(items), code=np.concatenate(codes))
            os.replace(temporary, path)
            found = self._read(path)
        is_live = ~is_among(found[0], manifest.deleted_items())
        item_N, code_NC = found if is_live.all() else (found[0][is_live], found[1][is_live])
        num = self._index.coarse_code_size()  # bytes of the cell before the code, the least significant first
        cell_N = (code_NC[:, :num].astype(np.int64) << (8 * np.arange(num))).sum(axis=1)
        return item_N, cell_N, code_NC[:, num:]

    def _read(self, path: Path) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        with np.load(path, allow_pickle=False) as archive:  # which compares checksums
            item_N, code_NC = archive["item"], archive["code"]
        if code_NC.shape != (len(item_N), self._index.sa_code_size()):
            raise InputError(f"codes have shape {code_NC.shape}")
        return item_N, code_NC

    def _blocks(self, shard: Shard, manifest: Manifest) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        options = {"size": manifest.size, "without": manifest.deleted_items()}
        for batch in read_blocks(self._location, shard, ["feature"], **options):
            yield batch["item"].to_numpy(), matrix_of(batch["feature"], manifest.size)


def forget_replaced(folder: str, manifest: Manifest) -> None:
    """Remove a cache that knows shards which compaction has replaced."""
    path = Path(folder)
    if path.is_dir():
        with _locked(path):
            if _knows_others(path, manifest):
                _clear(path)


def _knows_others(folder: Path, manifest: Manifest) -> bool:
    """Whether a cache holds something of shards that are not in the manifest."""
    known = {path.stem for path in folder.glob("*.npz")}
    try:
        if (folder / TRAINED).exists():
            known |= set(json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))["shards"])
    except DAMAGED:
        return True
    return not known <= {shard.name for shard in manifest.shards}


def _clear(folder: Path) -> None:
    """Remove all files of a cache but its lock."""
    for path in folder.glob("*"):
        if path.name != LOCK:
            path.unlink()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one process at a time work on a cache; the lock ends with the process that holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / LOCK, "w", encoding="utf-8") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
