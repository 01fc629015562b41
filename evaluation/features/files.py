"""The features files that scoring reads: Parquet of ours or of another tool, and NPZ of other toolboxes."""

from cluster import storage
from cluster.errors import InputError
from evaluation.features.npz import read_npz
from evaluation.features.parquet import read_parquet
from evaluation.features.table import Features


def read_features(location: str) -> Features:
    """Read a features file: ``.npz`` as `evaluation.features.npz` says, anything else as Parquet.

    >>> import evaluation
    >>> evaluation.read_features(f"{folder}/features.parquet").feature.shape
    (4, 8)

    Raises:
        InputError: If there is no such file, or its content cannot be used; names the file.
    """
    location = storage.resolve(location)
    if not storage.exists(location) or storage.is_folder(location):
        raise InputError(f"{location}: no such features file; write one with: python -m evaluation embed")
    try:
        return read_npz(location) if location.lower().endswith(".npz") else read_parquet(location)
    except ValueError as error:
        raise InputError(f"{location}: {error}") from error


def maps_location(features: str) -> str:
    """Return where the feature maps of a features file lie: ``f.maps`` beside ``f.parquet``."""
    location = storage.resolve(features)
    folder, _, name = location.rpartition("/")
    return storage.join(folder, name.rpartition(".")[0] + ".maps") if "." in name else location + ".maps"
