"""Shards: Parquet files of features, written once.

One row is one image, in the columns of a features file (`evaluation.features.parquet`), so that every other tool of
this project reads a shard too, and one more, ``row``, int64: its place among the rows that the shard was first written
with, ascending. Item id = the shard's ``item_offset`` + row. Features are float32 of norm 1.
"""

import hashlib
import os
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cluster import storage
from cluster.errors import InputError
from evaluation.features.table import Features
from lifelong.gallery.durable import new_file
from lifelong.gallery.manifest import Shard

FOLDER, SUFFIX = "shards", ".parquet"
SHARD_BYTES = 256 * 2**20
"""Of features in a shard at most."""
GROUP_BYTES = 2**20
"""Of features in a row group, which is the least that is read for one hit."""
BLOCK_BYTES = 32 * 2**20
"""Of features that are read at a time."""
HASH_BYTES = 2**20
WORDS = ("path", "split", "model_fingerprint")


def file_of(location: str, name: str) -> str:
    """Return where a shard is."""
    return storage.join(location, FOLDER, name + SUFFIX)


def schema_of(size: int) -> pa.Schema:
    """Return the columns of a shard."""
    columns = {
        "row": pa.int64(),
        "feature": pa.list_(pa.field("item", pa.float32(), nullable=False), size),
        "identity": pa.int64(),
        "camera": pa.int64(),
        "time_seconds": pa.float64(),
        "path": pa.string(),
        "split": pa.string(),
        "model_fingerprint": pa.string(),
    }
    return pa.schema([pa.field(name, kind, nullable=name == "time_seconds") for name, kind in columns.items()])


def rows_within(num_bytes: int, size: int) -> int:
    """Return how many features of D components fit into so many bytes, at least 1."""
    return max(1, num_bytes // (4 * size))


def table_of(features: Features, first: int) -> pa.Table:
    """Return rows of a new shard, numbered from ``first``; the features must have norm 1 already."""
    count, size = features.feature.shape
    schema = schema_of(size)
    columns = [
        pa.array(np.arange(first, first + count)),
        pa.FixedSizeListArray.from_arrays(
            pa.array(np.ascontiguousarray(features.feature, np.float32).ravel()), type=schema.field("feature").type
        ),
        pa.array(features.identity, pa.int64()),
        pa.array(features.camera, pa.int64()),
        pa.array(features.time_seconds, pa.float64(), from_pandas=True),  # NaN becomes null
        pa.array(features.path, pa.string()),
        pa.array(["gallery"] * count, pa.string()),
        pa.array(features.model_fingerprint, pa.string()),
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def write_shard(location: str, size: int, tables: Iterable[pa.Table], *, source: str, source_sha256: str) -> Shard:
    """Write a shard under a new name. It does not exist for readers until a manifest names it.

    Args:
        location: Of the gallery.
        size: Components D.
        tables: Rows, ascending by ``row``; not all empty.
        source: Where they came from.
        source_sha256: Of all that was added together.

    Returns:
        The shard as a manifest describes it, with row numbers where item ids will be.
    """
    name = uuid.uuid4().hex
    models: Counter[str] = Counter()
    rows: list[int] = []
    with new_file(file_of(location, name)) as path:
        # uncompressed, since features do not compress; no statistics: nothing looks for them
        options = {"compression": "none", "use_dictionary": list(WORDS), "write_statistics": False}
        with pq.ParquetWriter(path, schema_of(size), **options) as writer:
            for table in tables:
                if table.num_rows:
                    writer.write_table(table, row_group_size=rows_within(GROUP_BYTES, size))
                    models.update(counts_of(table["model_fingerprint"]))
                    rows += [table["row"][0].as_py(), table["row"][-1].as_py()]
        with open(path, "rb") as stream:
            digest = sha256_of(stream)
        num_bytes = os.path.getsize(path)
    assert rows, "a shard without rows"
    return Shard(
        name=name,
        num_rows=sum(models.values()),
        num_bytes=num_bytes,
        sha256=digest,
        item_offset=0,
        first_item=rows[0],
        last_item=rows[-1],
        models=dict(sorted(models.items())),
        source=source,
        source_sha256=source_sha256,
    )


@contextmanager
def open_shard(location: str, shard: Shard) -> Iterator[pq.ParquetFile]:
    """Open a shard for reading.

    Raises:
        InputError: If it is missing or no Parquet file.
    """
    place = file_of(location, shard.name)
    remedy = "see what else is wrong with: python -m lifelong gallery verify, and restore the file"
    try:
        if storage.is_remote(place):
            with storage.open_for_reading(place) as stream, pq.ParquetFile(stream, pre_buffer=False) as file:
                yield file
        else:
            with pq.ParquetFile(place, pre_buffer=False) as file:
                yield file
    except FileNotFoundError as error:
        raise InputError(f"{place} is missing; {remedy}") from error
    except pa.ArrowException as error:
        raise InputError(f"{place} cannot be read ({str(error).splitlines()[0]}); {remedy}") from error


def read_blocks(
    location: str, shard: Shard, columns: Sequence[str], *, size: int, without: NDArray[np.int64] | None = None
) -> Iterator[pa.RecordBatch]:
    """Read a shard a block of rows at a time.

    Args:
        location: Of the gallery.
        shard: Which.
        columns: To be read; ``row`` is always read and replaced by ``item``.
        size: Components D of a feature.
        without: Items to leave out, ascending.

    Yields:
        Blocks with column ``item`` first.
    """
    names = ["row", *columns]
    with open_shard(location, shard) as file:
        for batch in file.iter_batches(rows_within(BLOCK_BYTES, size), columns=names, use_threads=False):
            item_B = batch["row"].to_numpy() + shard.item_offset
            batch = pa.RecordBatch.from_arrays(
                [pa.array(item_B), *(batch[name] for name in columns)], ["item", *columns]
            )
            if without is not None and len(without):
                is_live = ~is_among(item_B, without)
                batch = batch if is_live.all() else batch.filter(pa.array(is_live))
            if batch.num_rows:
                yield batch


def is_among(item_N: NDArray[np.int64], sorted_M: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which items are in an ascending array."""
    if not len(sorted_M):
        return np.zeros(len(item_N), bool)
    place_N = np.searchsorted(sorted_M, item_N).clip(max=len(sorted_M) - 1)
    return sorted_M[place_N] == item_N


def matrix_of(column: pa.Array | pa.ChunkedArray, size: int) -> NDArray[np.float32]:
    """Return a column of features as float32 [N, D]."""
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return np.asarray(whole.flatten().to_numpy(zero_copy_only=False), np.float32).reshape(-1, size)


def features_of(batch: pa.RecordBatch, size: int) -> list[Features]:
    """Return a block with all columns as rows of split ``gallery``, or nothing where it is empty."""
    if not batch.num_rows:
        return []
    words = {name: np.array(batch[name].to_pylist(), object) for name in ("path", "model_fingerprint")}
    numbers = {name: batch[name].to_numpy() for name in ("identity", "camera")}
    seconds = np.asarray(batch["time_seconds"].to_numpy(zero_copy_only=False), np.float64)
    feature = matrix_of(batch["feature"], size)
    split = np.full(batch.num_rows, "gallery", object)
    return [Features(feature=feature, time_seconds=seconds, split=split, **numbers, **words)]


def counts_of(column: pa.Array | pa.ChunkedArray) -> dict[str, int]:
    """Return how often each value occurs."""
    return {entry["values"]: entry["counts"] for entry in column.value_counts().to_pylist()}


def sha256_of(stream: BinaryIO) -> str:
    """Return the SHA-256 of what a file holds."""
    digest = hashlib.sha256()
    while block := stream.read(HASH_BYTES):
        digest.update(block)
    return digest.hexdigest()


def sha256_of_rows(features: Features) -> str:
    """Return a hash of rows that does not depend on the file they came in."""
    digest = hashlib.sha256()
    for array in (features.feature, features.identity, features.camera, features.time_seconds):
        digest.update(np.ascontiguousarray(array).data)
    for column in (features.path, features.model_fingerprint):
        digest.update("\0".join(column).encode())
    return digest.hexdigest()
