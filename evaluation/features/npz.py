"""Features as NumPy archives (``.npz``), which a few lines in any other toolbox write.

======================================  ============  ===========================================
key                                     shape         meaning
======================================  ============  ===========================================
query_features, gallery_features        floats [N, D]  any norm but 0, one D
query_identities, gallery_identities    integers [N]   -1 is junk
query_cameras, gallery_cameras          integers [N]
query_seconds, gallery_seconds          floats [N]     optional: when, on a clock of the camera
query_paths, gallery_paths              strings [N]    optional: the images, for reports
model_fingerprint                       a string       optional: which weights made the features
======================================  ============  ===========================================
"""

import zipfile

import numpy as np
from numpy.typing import NDArray

from cluster import storage
from cluster.errors import InputError
from evaluation.features.table import Features

SPLITS = ("query", "gallery")
UNKNOWN_MODEL = "unknown"
"""The fingerprint of features that came without one."""


def read_npz(location: str) -> Features:
    """Read an archive; pickled arrays are refused, since loading them would run code.

    Raises:
        InputError: If it is no archive, a key is missing, or an array has another type or shape.
    """
    with storage.open_for_reading(location) as stream:
        if not zipfile.is_zipfile(stream):
            raise InputError("not a NumPy archive; write it with numpy.savez")
        stream.seek(0)
        with np.load(stream, allow_pickle=False) as archive:
            return _table(archive)


def _table(archive: np.lib.npyio.NpzFile) -> Features:
    missing = [f"{split}_{what}" for split in SPLITS for what in ("features", "identities", "cameras")]
    missing = [key for key in missing if key not in archive]
    if missing:
        raise InputError(f"has no {', '.join(missing)}; it needs features, identities and cameras of query and gallery")
    counts = [len(_array(archive, f"{split}_identities", "iu")) for split in SPLITS]
    fingerprint = str(archive["model_fingerprint"]) if "model_fingerprint" in archive else UNKNOWN_MODEL
    return Features(
        feature=_features(archive, counts),
        identity=_both(archive, "identities", "iu", counts).astype(np.int64),
        camera=_both(archive, "cameras", "iu", counts).astype(np.int64),
        time_seconds=_optional(archive, "seconds", "fiu", counts, np.full(sum(counts), np.nan)).astype(np.float64),
        path=_optional(archive, "paths", "U", counts, _row_names(counts)).astype(object),
        split=np.repeat(np.array(SPLITS, object), counts),
        model_fingerprint=np.full(sum(counts), fingerprint, object),
    )


def _features(archive: np.lib.npyio.NpzFile, counts: list[int]) -> NDArray[np.float32]:
    """Fill one matrix, so that query and gallery are not held twice."""
    feature_ND: NDArray[np.float32] | None = None
    start = 0
    for split, count in zip(SPLITS, counts, strict=True):
        part = _array(archive, f"{split}_features", "f", num_axes=2)
        _check_length(f"{split}_features", part, count)
        if feature_ND is None:
            feature_ND = np.empty((sum(counts), part.shape[1]), np.float32)
        if part.shape[1] != feature_ND.shape[1]:
            raise InputError(f"queries have {feature_ND.shape[1]} components and the gallery {part.shape[1]}")
        feature_ND[start : start + count] = part
        start += count
    assert feature_ND is not None
    return feature_ND


def _both(archive: np.lib.npyio.NpzFile, what: str, kinds: str, counts: list[int]) -> NDArray:
    parts = [_array(archive, f"{split}_{what}", kinds) for split in SPLITS]
    for split, part, count in zip(SPLITS, parts, counts, strict=True):
        _check_length(f"{split}_{what}", part, count)
    return np.concatenate(parts)


def _optional(archive: np.lib.npyio.NpzFile, what: str, kinds: str, counts: list[int], default: NDArray) -> NDArray:
    present = [f"{split}_{what}" in archive for split in SPLITS]
    if any(present) and not all(present):
        raise InputError(f"has {what} of query or gallery only; give both or neither")
    return _both(archive, what, kinds, counts) if all(present) else default


def _array(archive: np.lib.npyio.NpzFile, key: str, kinds: str, *, num_axes: int = 1) -> NDArray:
    try:
        array = archive[key]
    except ValueError as error:  # an array of Python objects
        raise InputError(f"{key} holds Python objects, which are not read; save plain numbers or strings") from error
    if array.dtype.kind not in kinds or array.ndim != num_axes:
        wanted = {"iu": "integers [N]", "f": "floats [N, D]", "fiu": "numbers [N]", "U": "strings [N]"}[kinds]
        raise InputError(f"{key} must be {wanted}, got {array.dtype} {list(array.shape)}; number any names")
    return array


def _check_length(key: str, array: NDArray, count: int) -> None:
    if len(array) != count:
        raise InputError(f"{key} has {len(array)} rows where the identities are {count}; give as many")


def _row_names(counts: list[int]) -> NDArray:
    return np.array([f"{split} {row}" for split, count in zip(SPLITS, counts, strict=True) for row in range(count)])
