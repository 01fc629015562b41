"""Features as Parquet: the file that embedding writes, scoring reads, and other tools can write too.

One row is one image:

=================  ===================  ==================================================================
column             type                 meaning
=================  ===================  ==================================================================
feature            list of D floats     any norm but 0, the same D in every row (written as float32)
identity           integer              who is in the image; -1 is junk, which is never right nor wrong
camera             integer              which camera took it
split              string               ``query``, ``gallery``, ``train``, or any other name
time_seconds       float, may be null   when, on a clock of its camera; null is unknown
path               string               the image
model_fingerprint  string               which weights made the feature
=================  ===================  ==================================================================

The last three may be absent: no time is known then, images have no pictures in reports, and the model is ``unknown``.
"""

import io
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cluster import storage
from cluster.console import meter
from cluster.errors import InputError
from cluster.versions import KEY, check_version, of_parquet
from evaluation.features.npz import UNKNOWN_MODEL
from evaluation.features.table import Features

VERSION = 1
"""Of the file."""
REQUIRED = ("feature", "identity", "camera", "split")
OPTIONAL = ("time_seconds", "path", "model_fingerprint")
ROWS_AT_ONCE = 4096
"""Rows of a group in the file, which are read at a time: a whole gallery would be in memory twice."""


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
    table = table.replace_schema_metadata({KEY: str(VERSION)})
    buffer = io.BytesIO()
    pq.write_table(table, buffer, row_group_size=ROWS_AT_ONCE)
    storage.write_bytes(storage.resolve(location), buffer.getvalue())


def read_parquet(location: str) -> Features:
    """Read a features file of ours or of another tool; extra columns are ignored.

    Raises:
        InputError: If it is not Parquet, a column is missing or of another type, a value that must be there is null, or
            a feature is not finite or not as long as the others.
    """
    try:
        with storage.open_for_reading(location) as stream:
            file = pq.ParquetFile(stream, pre_buffer=False)  # reading ahead would hold all of it twice
            check_version("the features file", of_parquet(file.schema_arrow.metadata), VERSION)
            missing = [name for name in REQUIRED if name not in file.schema_arrow.names]
            if missing:
                raise InputError(f"has no column {', '.join(missing)}; a features file has {', '.join(REQUIRED)}")
            with meter("reading features", file.metadata.num_rows) as advance:
                feature_ND = _matrix(file, advance)
            optional = [name for name in OPTIONAL if name in file.schema_arrow.names]
            table = file.read(columns=[*REQUIRED[1:], *optional])
    except pa.ArrowInvalid as error:
        raise InputError(f"not a Parquet file ({error}); write it again") from error
    num_rows = len(feature_ND)
    defaults = {
        "time_seconds": pa.nulls(num_rows),
        "path": pa.array([f"row {row}" for row in range(num_rows)]),
        "model_fingerprint": pa.array([UNKNOWN_MODEL] * num_rows),
    }
    for name, column in defaults.items():
        table = table if name in table.column_names else table.append_column(name, column)
    return Features(
        feature=feature_ND,
        identity=_numbers(table, "identity", np.int64),
        camera=_numbers(table, "camera", np.int64),
        time_seconds=_numbers(table, "time_seconds", np.float64),
        path=_strings(table, "path"),
        split=_strings(table, "split"),
        model_fingerprint=_strings(table, "model_fingerprint"),
    )


def _matrix(file: pq.ParquetFile, advance: Callable[[int], None]) -> NDArray[np.float32]:
    """Return lists of floats as a matrix, whichever of Arrow's list types and widths another tool chose."""
    kind = file.schema_arrow.field("feature").type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
        raise InputError(f"column feature must hold lists of floats, got {kind}")
    if not pa.types.is_floating(kind.value_type):
        raise InputError(f"column feature must hold lists of floats, got lists of {kind.value_type}")
    if not file.metadata.num_rows:
        raise InputError("there are no rows; embed at least one image")
    feature_ND: NDArray[np.float32] | None = None
    start = 0
    for batch in file.iter_batches(ROWS_AT_ONCE, columns=["feature"]):
        column = batch["feature"]
        if column.null_count:
            row = start + column.is_null().to_pylist().index(True)
            raise InputError(f"column feature has empty values, the first in row {row}; fill them in")
        lengths = np.asarray(column.value_lengths())
        if feature_ND is None:
            feature_ND = np.empty((file.metadata.num_rows, lengths[0]), np.float32)
        size = feature_ND.shape[1]
        uneven = np.flatnonzero(lengths != size)
        if len(uneven):
            row = uneven[0]
            raise InputError(
                f"the feature of row {start + row} has {lengths[row]} components and that of row 0 has {size}"
            )
        values = column.flatten()  # honours a slice's offset, which .values does not
        feature_ND[start : start + len(column)] = values.to_numpy(zero_copy_only=False).reshape(len(column), size)
        start += len(column)
        advance(len(column))
    assert feature_ND is not None
    return feature_ND


def _numbers(table: pa.Table, name: str, kind: type[np.int64] | type[np.float64]) -> NDArray:
    column = table[name]
    is_integer = pa.types.is_integer(column.type)
    if not is_integer and not (kind is np.float64 and (pa.types.is_floating(column.type) or column.type == pa.null())):
        raise InputError(f"column {name} must hold {'integers' if kind is np.int64 else 'floats'}, got {column.type}")
    if kind is np.int64:
        _refuse_nulls(column, name)
    target = pa.int64() if kind is np.int64 else pa.float64()
    return np.asarray(column.cast(target).to_numpy(), kind)


def _strings(table: pa.Table, name: str) -> NDArray[np.object_]:
    column = table[name]
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        raise InputError(f"column {name} must hold strings, got {column.type}")
    _refuse_nulls(column, name)
    return np.array(column.to_pylist(), object)


def _refuse_nulls(column: pa.ChunkedArray, name: str) -> None:
    if column.null_count:
        row = column.is_null().to_pylist().index(True)
        raise InputError(f"column {name} has {column.null_count} empty values, the first in row {row}; fill them in")
