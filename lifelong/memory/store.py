"""The files of the memory: one Parquet file per stage, written once and never changed.

One row is one image that is kept:

=================  ===================  ========================================================================
column             type                 meaning
=================  ===================  ========================================================================
image              binary               the bytes of the image's file, as they were
path               string               where that file was; for people, nothing reads it again
identity           int64                who, in the dataset of the stage; > 0
label              int64                the class number in the model's head, over all stages; >= 0
stage              int64                which stage kept it, from 1
feature            D float32            of norm 1, by the stage's own model: it stands for the gallery of that time
model_fingerprint  string               which weights made the feature
=================  ===================  ========================================================================

A stage's record holds the SHA-256 of its file, and reading with it detects any change.
"""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cluster import storage
from cluster.errors import InputError
from cluster.versions import KEY, check_version, of_parquet

NORM_TOLERANCE = 1e-3
"""How far a feature's norm may be from 1. Float32 stays within 1e-6; what this catches was never scaled."""
VERSION = 1
"""Of the file."""
KINDS = {"image": bytes, "path": str, "model_fingerprint": str}
"""What the arrays of objects hold."""
LOWEST = {"identity": 1, "label": 0, "stage": 1}
"""The smallest value of the arrays of numbers."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Exemplars:
    """Images that are kept, as arrays of N >= 1 entries each (see the module's table)."""

    image: NDArray[np.object_]
    path: NDArray[np.object_]
    identity: NDArray[np.int64]
    label: NDArray[np.int64]
    stage: NDArray[np.int64]
    feature: NDArray[np.float32]
    """[N, D], of norm 1."""
    model_fingerprint: NDArray[np.object_]

    def __post_init__(self) -> None:
        if self.feature.ndim != 2 or not self.feature.size or self.feature.dtype != np.float32:
            raise InputError(
                f"features must be float32 [N, D] with N, D > 0, got {self.feature.dtype} {list(self.feature.shape)}"
            )
        for name in (*KINDS, *LOWEST):
            shape = getattr(self, name).shape
            if shape != (len(self.feature),):
                raise InputError(f"{len(self.feature)} features need as many values of {name}, got {list(shape)}")
        for name, kind in KINDS.items():
            values = getattr(self, name)
            wrong = next((row for row, value in enumerate(values) if not isinstance(value, kind) or not value), None)
            if wrong is not None:
                raise InputError(f"{name} must be {kind.__name__} and not empty, got {values[wrong]!r} in row {wrong}")
        for name, lowest in LOWEST.items():
            values = getattr(self, name)
            if values.dtype != np.int64 or values.min() < lowest:
                raise InputError(f"{name} must be int64 and >= {lowest}, got {values.dtype} from {values.min()}")
        norm = np.linalg.norm(self.feature, axis=1)
        wrong = np.flatnonzero(~(np.abs(norm - 1) <= NORM_TOLERANCE))
        if len(wrong):
            raise InputError(
                f"{len(wrong)} features are not of norm 1, the first in row {wrong[0]} with {norm[wrong[0]]}; "
                "scale them to it"
            )
        key = np.stack([self.stage, self.label, self.identity], axis=1)
        if len(np.unique(key, axis=0)) != len(np.unique(key[:, :2], axis=0)):
            raise InputError("a label stands for several identities of one stage; number each identity's class once")

    def __len__(self) -> int:
        return len(self.feature)


def concatenate(parts: Sequence[Exemplars]) -> Exemplars:
    """Put the rows of several tables one after the other.

    Raises:
        InputError: If there are none, or their features have different lengths.
    """
    if not parts:
        raise InputError("there are no exemplars to put together; give at least one part")
    if len({part.feature.shape[1] for part in parts}) > 1:
        told = ", ".join(f"{part.feature.shape[1]} (stage {part.stage[0]})" for part in parts)
        raise InputError(
            f"features of different lengths cannot be in one memory: {told}; keep one model's embedding size"
        )
    return Exemplars(
        **{field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Exemplars)}
    )


def write_exemplars(location: str, exemplars: Exemplars) -> str:
    """Write the file of a stage, whole or not at all, and never over another content.

    The same exemplars give the same bytes with the same version of Arrow, so a task that runs again does no harm. The
    look and the write are two steps: of two writers at the same instant the later wins, and the hash tells the other.

    Returns:
        The SHA-256 of the file's bytes, in hexadecimal.

    Raises:
        InputError: If the exemplars are of several stages, or the file is there with another content.
    """
    location = storage.resolve(location)
    stages = np.unique(exemplars.stage).tolist()
    if len(stages) > 1:
        raise InputError(f"{location}: a file holds one stage, got stages {stages}; write one file for each")
    data = _to_parquet(exemplars)
    if storage.exists(location):
        if storage.read_bytes(location) != data:
            raise InputError(
                f"{location} is there with another content; a stage's memory is never rewritten: start a new run"
            )
    else:
        storage.write_bytes(location, data)
    return hashlib.sha256(data).hexdigest()


def read_exemplars(location: str, *, sha256: str | None = None) -> Exemplars:
    """Read the file of a stage.

    Args:
        location: The file.
        sha256: What `write_exemplars` returned; None trusts the checksums inside the file.

    Raises:
        InputError: If there is no such file, it changed, or it cannot be used; names the file.
    """
    location = storage.resolve(location)
    if not storage.exists(location) or storage.is_folder(location):
        raise InputError(f"{location}: no such file of exemplars; restore it from a backup")
    data = storage.read_bytes(location)
    found = hashlib.sha256(data).hexdigest()
    if sha256 is not None and found != sha256:
        raise InputError(
            f"{location} changed since it was written; restore it from a backup "
            f"(expected SHA-256 {sha256}, found {found})"
        )
    try:
        return _from_parquet(data)
    except (ValueError, OSError, pa.ArrowException) as error:
        raise InputError(
            f"{location}: no usable file of exemplars ({_first_line(error)}); restore it from a backup"
        ) from error


def read_memory(locations_and_hashes: Sequence[tuple[str, str]]) -> Exemplars | None:
    """Read the files of all stages so far, in the order given; None where there are none.

    Raises:
        ValueError: As `read_exemplars`; or if a stage comes twice, or features have different lengths.
    """
    parts = [read_exemplars(location, sha256=sha256) for location, sha256 in locations_and_hashes]
    stages = [int(part.stage[0]) for part in parts]
    if len(set(stages)) < len(stages):
        raise InputError(f"a stage comes twice in the memory: stages {stages}; give each stage's file once")
    return concatenate(parts) if parts else None


def _schema(size: int) -> pa.Schema:
    number, text = pa.int64(), pa.string()
    kinds = {"image": pa.binary(), "path": text, "identity": number, "label": number, "stage": number}
    kinds |= {"feature": pa.list_(pa.field("element", pa.float32(), False), size), "model_fingerprint": text}
    fields = [pa.field(name, kind, nullable=False) for name, kind in kinds.items()]
    return pa.schema(fields, metadata={KEY: str(VERSION)})


def _to_parquet(exemplars: Exemplars) -> bytes:
    """Encode plainly: images are compressed already, features do not compress, and fewer codecs decide the bytes."""
    size = exemplars.feature.shape[1]
    schema = _schema(size)
    flat = pa.array(np.ascontiguousarray(exemplars.feature).ravel())
    columns = [
        pa.FixedSizeListArray.from_arrays(flat, type=field.type)
        if field.name == "feature"
        else pa.array(getattr(exemplars, field.name), field.type)
        for field in schema
    ]
    buffer = io.BytesIO()
    pq.write_table(
        pa.table(columns, schema=schema),
        buffer,
        compression="none",
        use_dictionary=False,
        write_statistics=False,
        write_page_checksum=True,
    )
    return buffer.getvalue()


def _from_parquet(data: bytes) -> Exemplars:
    table = pq.read_table(io.BytesIO(data), page_checksum_verification=True)
    check_version("it", of_parquet(table.schema.metadata), VERSION)
    has_feature = "feature" in table.column_names and pa.types.is_fixed_size_list(table.schema.field("feature").type)
    size = table.schema.field("feature").type.list_size if has_feature else 0
    if table.schema != _schema(size):
        raise InputError(f"its columns are {', '.join(f'{field.name}: {field.type}' for field in table.schema)}")
    columns = {name: table[name].combine_chunks() for name in table.column_names}
    feature_ND = columns.pop("feature").flatten().to_numpy().reshape(-1, size)
    arrays = {
        name: column.to_numpy().copy() if name in LOWEST else np.array(column.to_pylist(), object)
        for name, column in columns.items()
    }
    return Exemplars(feature=feature_ND.copy(), **arrays)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
