"""Feature maps on disk: too large for memory, so they are memory-mapped and read block by block.

A map store is a folder:

=================  ==================================================================================================
file               content
=================  ==================================================================================================
``maps.npy``       float16 [N, L, C]; unit norm over C at each location, up to rounding (5e-5), or zero
``rows.parquet``   a features file (`evaluation.features.parquet`) of the same N images in the same order; its feature
                   is the pooled map (`evaluation.qaconv.pooling`), so that finding candidates needs no maps
``config.json``    ``height``, ``width`` (L is their product, row by row), ``channels``, ``model_fingerprint``, and
                   ``head``: the matcher's, or null
=================  ==================================================================================================

Shapes: N images, L locations, C channels, B images of a block.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cluster import storage
from cluster.errors import InputError
from evaluation.features.files import read_features
from evaluation.features.parquet import write_features
from evaluation.features.table import Features
from evaluation.qaconv.head import QAConvHead
from evaluation.qaconv.pooling import STRIPES, pool

FILES = ("maps.npy", "rows.parquet", "config.json")


@dataclass(frozen=True, kw_only=True, slots=True)
class MapShape:
    """Size of one map."""

    height: int
    """Rows of locations."""
    width: int
    """Columns of locations."""
    channels: int

    @property
    def num_locations(self) -> int:
        """L."""
        return self.height * self.width


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Maps:
    """An open map store."""

    array: NDArray[np.float16]
    """[N, L, C], memory-mapped; what `evaluation.qaconv.scores` takes."""
    rows: Features
    """Who, where and when, in the same order; the feature is the pooled map."""
    shape: MapShape
    model_fingerprint: str
    head: QAConvHead | None
    """The matcher that belongs to the model."""

    def __len__(self) -> int:
        return len(self.array)

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.float16]:
        """Read the maps of some rows, in the order given, and no others: [K, L, C]."""
        return self.array[rows]

    def pooled(self, weight_L: NDArray[np.float32], *, stripes: int = STRIPES) -> NDArray[np.float32]:
        """Pool all maps anew, see `pool`; with the head of the store and its stripes that is ``rows.feature``."""
        return pool(self.array, height=self.shape.height, weight_L=weight_L, stripes=stripes)


class MapWriter:
    """Fills a map store, block by block, in any order; only a block is ever in memory."""

    def __init__(self, folder: str, count: int, shape: MapShape, weight_L: NDArray[np.float32]) -> None:
        size = (count, shape.num_locations, shape.channels)
        self._maps = np.lib.format.open_memmap(os.path.join(folder, FILES[0]), "w+", np.float16, size)
        self._shape, self._weight = shape, weight_L
        self._stripes = min(STRIPES, shape.height)
        self.pooled = np.zeros((count, self._stripes * shape.channels), np.float32)
        self.is_written = np.zeros(count, bool)

    def write(self, rows: Sequence[int] | NDArray[np.int64], map_BLC: NDArray) -> None:
        """Write the maps of some rows; a row that is written twice keeps the later map.

        Args:
            rows: B row numbers, of the order in which the store was begun.
            map_BLC: Their maps, scaled to norm 1 at each location here. A location of norm 0 stays 0: it is like none.

        Raises:
            InputError: If there are more or fewer rows than maps, a row is out of range, or maps have another shape,
                are not finite, or are zero everywhere.
        """
        row_B = np.asarray(rows, np.int64)
        if map_BLC.shape != (len(row_B), *self._maps.shape[1:]):
            raise InputError(
                f"{len(row_B)} rows need maps [{len(row_B)}, {self._maps.shape[1]}, {self._maps.shape[2]}], "
                f"got {list(map_BLC.shape)}"
            )
        if len(row_B) and not 0 <= row_B.min() <= row_B.max() < len(self._maps):
            raise InputError(f"rows must be 0 to {len(self._maps) - 1}, got {row_B.min()} to {row_B.max()}")
        map_BLC = map_BLC.astype(np.float32)
        norm_BL = np.linalg.norm(map_BLC, axis=2)
        bad = np.flatnonzero(~(np.isfinite(norm_BL).all(axis=1) & norm_BL.any(axis=1)))
        if len(bad):
            raise InputError(f"the map of row {row_B[bad[0]]} is zero or not finite; check the model that made it")
        unit_BLC = (map_BLC / np.where(norm_BL > 0, norm_BL, 1)[..., None]).astype(np.float16)
        self._maps[row_B] = unit_BLC
        self.pooled[row_B] = pool(unit_BLC, height=self._shape.height, weight_L=self._weight, stripes=self._stripes)
        self.is_written[row_B] = True

    def finish(self) -> None:
        """Bring everything to the disk.

        Raises:
            InputError: If a row was never written.
        """
        if not self.is_written.all():
            missing = np.flatnonzero(~self.is_written)
            raise InputError(
                f"{len(missing)} of {len(self.is_written)} maps were never written, first row {missing[0]}"
            )
        self._maps.flush()


@contextmanager
def map_writer(
    location: str, rows: Features, shape: MapShape, *, model_fingerprint: str, head: QAConvHead | None = None
) -> Iterator[MapWriter]:
    """Write a map store, whole or not at all; a store that was there before is replaced.

    Args:
        location: The folder.
        rows: The images, in the order of the store's rows; their feature is not used.
        shape: Of every map.
        model_fingerprint: Which weights make the maps.
        head: The matcher that belongs to the model; its query weights also weigh the pooled maps.

    Yields:
        What takes the maps; every row must be written when the block ends.

    Raises:
        InputError: If the folder holds something else, the head has other locations, or a row was not written.
    """
    weight_L = (head or QAConvHead.uniform(shape.num_locations)).query_weight
    if len(weight_L) != shape.num_locations:
        raise InputError(f"the head has {len(weight_L)} locations and the maps {shape.height} x {shape.width}")
    with storage.folder_to_publish(storage.resolve(location), replaces=FILES[2]) as folder:
        writer = MapWriter(folder, len(rows), shape, weight_L)
        yield writer
        writer.finish()
        fingerprints = np.full(len(rows), model_fingerprint, object)
        written = replace(rows, feature=writer.pooled, model_fingerprint=fingerprints)
        write_features(os.path.join(folder, FILES[1]), written)
        config = {"height": shape.height, "width": shape.width, "channels": shape.channels}
        config |= {"model_fingerprint": model_fingerprint, "head": head.to_json() if head else None}
        storage.write_json(os.path.join(folder, FILES[2]), config)


@contextmanager
def open_maps(location: str) -> Iterator[Maps]:
    """Open a map store; one of an object store is downloaded, and removed again when the block ends.

    Raises:
        InputError: If there is none, or its files are damaged or do not belong together.
    """
    location = storage.resolve(location)
    missing = [name for name in FILES if not storage.exists(storage.join(location, name))]
    if missing:
        raise InputError(f"{location} is not a map store: it has no {', '.join(missing)}; write it again")
    with storage.local_copy(location) as folder:
        try:
            maps = _read(folder)
        except (ValueError, KeyError, TypeError, OSError, EOFError) as error:
            raise InputError(f"{location} is not a usable map store ({error}); write it again") from error
        yield maps


def _read(folder: str) -> Maps:
    config: dict[str, Any] = storage.read_json(os.path.join(folder, FILES[2]))
    shape = MapShape(height=config["height"], width=config["width"], channels=config["channels"])
    head = None if config["head"] is None else QAConvHead.from_json(config["head"])
    rows = read_features(os.path.join(folder, FILES[1]))
    array = np.load(os.path.join(folder, FILES[0]), mmap_mode="r", allow_pickle=False)
    expected = (len(rows), shape.num_locations, shape.channels)
    if array.shape != expected or array.dtype != np.float16:
        raise InputError(f"{FILES[0]} is {array.dtype} {list(array.shape)} instead of float16 {list(expected)}")
    if set(rows.model_fingerprint) != {config["model_fingerprint"]}:
        raise InputError(f"{FILES[1]} names another model than {FILES[2]}")
    return Maps(array=array, rows=rows, shape=shape, model_fingerprint=config["model_fingerprint"], head=head)
