"""Features of a dataset's images, with all that is known of the images."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evaluation.datasets.rows import ImageRow
from evaluation.features.table import Features


def label_rows(rows: Sequence[ImageRow], feature: NDArray[np.float32], fingerprint: str) -> Features:
    """Return the features of a dataset's rows, float32 [N, D] in their order, with all that is known of the images."""
    times = [np.nan if row.time_seconds is None else row.time_seconds for row in rows]
    return Features(
        feature=feature,
        identity=np.array([row.identity for row in rows], np.int64),
        camera=np.array([row.camera for row in rows], np.int64),
        time_seconds=np.array(times, np.float64),
        path=np.array([row.path for row in rows], object),
        split=np.array([row.split for row in rows], object),
        model_fingerprint=np.array([fingerprint] * len(rows), object),
    )
