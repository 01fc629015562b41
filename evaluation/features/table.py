"""Features in memory: one row per image."""

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from cluster.errors import InputError
from evaluation.metrics.distances import blocks


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Features:
    """The rows of a features file as arrays of N entries each.

    >>> import evaluation
    >>> features = evaluation.read_features(f"{folder}/features.parquet")
    >>> len(features), len(features.select("query"))
    (4, 2)
    """

    feature: NDArray[np.float32]
    """[N, D]."""
    identity: NDArray[np.int64]
    """Who; -1 is junk."""
    camera: NDArray[np.int64]
    time_seconds: NDArray[np.float64]
    """On a clock of the camera; NaN is unknown."""
    path: NDArray[np.object_]
    split: NDArray[np.object_]
    model_fingerprint: NDArray[np.object_]

    def __post_init__(self) -> None:
        if self.feature.ndim != 2 or not self.feature.size:
            raise InputError(f"features must be [N, D] with N, D > 0, got {list(self.feature.shape)}")
        for field in fields(self):
            num_rows = len(getattr(self, field.name))
            if num_rows != len(self.feature):
                raise InputError(f"{len(self.feature)} features need as many values of {field.name}, got {num_rows}")
        if self.identity.min() < -1:
            raise InputError(f"identities must be >= -1 (-1 is junk), got {self.identity.min()}")
        is_finite = np.concatenate([np.isfinite(self.feature[rows]).all(axis=1) for rows in blocks(self.feature)])
        unusable = np.flatnonzero(~is_finite)
        if len(unusable):
            raise InputError(
                f"{len(unusable)} features hold NaN or infinity, the first in row {unusable[0]} "
                f"({self.path[unusable[0]]}); check the model that made them"
            )

    def __len__(self) -> int:
        return len(self.feature)

    def take(self, rows: NDArray[np.int64]) -> "Features":
        """Return some rows, in the order given; neighbouring rows share the memory of the original."""
        is_run = len(rows) and (np.diff(rows) == 1).all()
        chosen = slice(int(rows[0]), int(rows[-1]) + 1) if is_run else rows
        return replace(self, **{field.name: getattr(self, field.name)[chosen] for field in fields(self)})

    def rows_of(self, *splits: str) -> NDArray[np.int64]:
        """Return the rows of some splits, ascending.

        Raises:
            InputError: If one of them has none.
        """
        for split in splits:
            if not (self.split == split).any():
                present = ", ".join(sorted(set(self.split)))
                raise InputError(
                    f"there are no {split} images, only: {present}; label some rows {split!r} in column split"
                )
        return np.flatnonzero(np.isin(self.split, splits))

    def select(self, *splits: str) -> "Features":
        """Return the rows of some splits, in their order (see `rows_of`)."""
        return self.take(self.rows_of(*splits))


def concatenate(parts: list[Features]) -> Features:
    """Put the rows of several tables one after the other.

    Raises:
        InputError: If their features have different lengths.
    """
    sizes = sorted({part.feature.shape[1] for part in parts})
    if len(sizes) > 1:
        raise InputError(f"features of {' and '.join(map(str, sizes))} components cannot be in one gallery")
    return Features(
        **{field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Features)}
    )
