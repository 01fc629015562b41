"""Features of nobody in particular."""

import numpy as np

from evaluation.features.table import Features


def make_features(num_rows=6, size=4, seed=0, **columns):
    rng = np.random.default_rng(seed)
    made = {
        "feature": rng.normal(size=(num_rows, size)).astype(np.float32),
        "identity": rng.integers(-1, 5, num_rows),
        "camera": rng.integers(0, 3, num_rows),
        "time_seconds": np.where(np.arange(num_rows) % 2, np.nan, np.arange(num_rows) / 3),
        "path": np.array([f"/images/{row}.jpg" for row in range(num_rows)], object),
        "split": np.array(["query", "gallery"] * num_rows, object)[:num_rows],
        "model_fingerprint": np.array(["abc"] * num_rows, object),
    }
    return Features(**(made | columns))
