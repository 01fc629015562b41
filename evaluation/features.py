"""Features on disk: the Parquet file that embedding writes, scoring reads, and other tools can write too.

One row is one image:

=================  ===================  ==================================================================
column             type                 meaning
=================  ===================  ==================================================================
feature            list of D floats     any norm but 0, the same D in every row (written as float32)
identity           integer              who is in the image; -1 is junk, which is never right nor wrong
camera             integer              which camera took it
time_seconds       float, may be null   when, on one clock for all cameras; null is unknown
path               string               the image
split              string               ``query``, ``gallery``, ``train``, or any other name
model_fingerprint  string               which weights made the feature
=================  ===================  ==================================================================
"""

import io
from dataclasses import dataclass, fields, replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cluster import storage

COLUMNS = ("feature", "identity", "camera", "time_seconds", "path", "split", "model_fingerprint")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Features:
    """The rows of a features file as arrays of N entries each."""

    feature: NDArray[np.float32]
    """[N, D]."""
    identity: NDArray[np.int64]
    camera: NDArray[np.int64]
    time_seconds: NDArray[np.float64]
    """NaN is unknown."""
    path: NDArray[np.object_]
    split: NDArray[np.object_]
    model_fingerprint: NDArray[np.object_]

    def __post_init__(self) -> None:
        if self.feature.ndim != 2 or not self.feature.size:
            raise ValueError(f"features must be [N, D] with N, D > 0, got {list(self.feature.shape)}")
        for field in fields(self):
            num_rows = len(getattr(self, field.name))
            if num_rows != len(self.feature):
                raise ValueError(f"{len(self.feature)} features need as many values of {field.name}, got {num_rows}")
        unusable = np.flatnonzero(~np.isfinite(self.feature).all(axis=1))
        if len(unusable):
            raise ValueError(
                f"{len(unusable)} features hold NaN or infinity, the first in row {unusable[0]} "
                f"({self.path[unusable[0]]}); check the model that made them"
            )

    def __len__(self) -> int:
        return len(self.feature)

    def take(self, rows: NDArray[np.int64]) -> "Features":
        """Return some rows, in the order given."""
        return replace(self, **{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def select(self, split: str) -> "Features":
        """Return the rows of a split, in their order.

        Raises:
            ValueError: If there are none.
        """
        rows = np.flatnonzero(self.split == split)
        if not len(rows):
            present = ", ".join(sorted(set(self.split)))
            raise ValueError(f"there are no {split} images, only: {present}; label some rows {split!r} in column split")
        return self.take(rows)


def write_features(location: str, features: Features) -> None:
    """Write a features file, whole or not at all."""
    size = features.feature.shape[1]
    flat = pa.array(np.ascontiguousarray(features.feature, np.float32).ravel())
    table = pa.table(
        {
            "feature": pa.FixedSizeListArray.from_arrays(flat, size),
            "identity": pa.array(features.identity, pa.int64()),
            "camera": pa.array(features.camera, pa.int64()),
            "time_seconds": pa.array(features.time_seconds, pa.float64(), from_pandas=True),  # NaN becomes null
            "path": pa.array(features.path, pa.string()),
            "split": pa.array(features.split, pa.string()),
            "model_fingerprint": pa.array(features.model_fingerprint, pa.string()),
        }
    )
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    storage.write_bytes(storage.resolve(location), buffer.getvalue())


def read_features(location: str) -> Features:
    """Read a features file of ours or of another tool; extra columns are ignored.

    Raises:
        ValueError: If there is no such file, it is not Parquet, a column is missing or of another type, a value that
            must be there is null, or a feature is not finite or not as long as the others.
    """
    location = storage.resolve(location)
    if not storage.exists(location) or storage.is_folder(location):
        raise ValueError(f"{location}: no such features file; write one with: python -m evaluation embed")
    try:
        with storage.open_for_reading(location) as stream:
            file = pq.ParquetFile(stream)
            missing = [name for name in COLUMNS if name not in file.schema_arrow.names]
            table = None if missing else file.read(columns=list(COLUMNS))
    except pa.ArrowInvalid as error:
        raise ValueError(f"{location} is not a Parquet file ({error}); write it again") from error
    if table is None:
        raise ValueError(f"{location} has no column {', '.join(missing)}; a features file has {', '.join(COLUMNS)}")
    try:
        return Features(
            feature=_matrix(table["feature"]),
            identity=_numbers(table, "identity", np.int64),
            camera=_numbers(table, "camera", np.int64),
            time_seconds=_numbers(table, "time_seconds", np.float64),
            path=_strings(table, "path"),
            split=_strings(table, "split"),
            model_fingerprint=_strings(table, "model_fingerprint"),
        )
    except ValueError as error:
        raise ValueError(f"{location}: {error}") from error


def _matrix(column: pa.ChunkedArray) -> NDArray[np.float32]:
    """Return lists of floats as a matrix, whichever of Arrow's list types and widths another tool chose."""
    if not (pa.types.is_list(column.type) or pa.types.is_large_list(column.type) or _is_fixed(column.type)):
        raise ValueError(f"column feature must hold lists of floats, got {column.type}")
    if not pa.types.is_floating(column.type.value_type):
        raise ValueError(f"column feature must hold lists of floats, got lists of {column.type.value_type}")
    _refuse_nulls(column, "feature")
    if not len(column):
        raise ValueError("there are no rows; embed at least one image")
    parts = []
    lengths = np.concatenate([np.asarray(chunk.value_lengths()) for chunk in column.chunks if len(chunk)])
    uneven = np.flatnonzero(lengths != lengths[0])
    if len(uneven):
        row = uneven[0]
        raise ValueError(f"the feature of row {row} has {lengths[row]} components and that of row 0 has {lengths[0]}")
    for chunk in column.chunks:
        values = chunk.flatten()  # honours a slice's offset, which .values does not
        parts.append(values.to_numpy(zero_copy_only=False).astype(np.float32).reshape(len(chunk), lengths[0]))
    return np.concatenate(parts)


def _is_fixed(kind: pa.DataType) -> bool:
    return bool(pa.types.is_fixed_size_list(kind))


def _numbers(table: pa.Table, name: str, kind: type[np.int64] | type[np.float64]) -> NDArray:
    column = table[name]
    is_integer = pa.types.is_integer(column.type)
    if not is_integer and not (kind is np.float64 and (pa.types.is_floating(column.type) or column.type == pa.null())):
        raise ValueError(f"column {name} must hold {'integers' if kind is np.int64 else 'floats'}, got {column.type}")
    if kind is np.int64:
        _refuse_nulls(column, name)
    target = pa.int64() if kind is np.int64 else pa.float64()
    return np.asarray(column.cast(target).to_numpy(), kind)


def _strings(table: pa.Table, name: str) -> NDArray[np.object_]:
    column = table[name]
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        raise ValueError(f"column {name} must hold strings, got {column.type}")
    _refuse_nulls(column, name)
    return np.array(column.to_pylist(), object)


def _refuse_nulls(column: pa.ChunkedArray, name: str) -> None:
    if column.null_count:
        row = column.is_null().to_pylist().index(True)
        raise ValueError(f"column {name} has {column.null_count} empty values, the first in row {row}; fill them in")
