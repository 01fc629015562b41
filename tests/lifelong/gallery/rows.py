"""Small features, and what a process does that adds them."""

from multiprocessing.connection import Connection

import numpy as np

from evaluation.features.table import Features
from lifelong.gallery.gallery import Gallery

SIZE = 8


def make_rows(seed, count, *, model="a", identities=20, size=SIZE):
    """Rows with paths ``SEED/ROW.jpg``."""
    rng = np.random.default_rng((1, seed))
    identity = rng.integers(identities, size=count)
    centre = np.random.default_rng(0).normal(size=(identities, size))
    return Features(
        feature=(centre[identity] + 0.4 * rng.normal(size=(count, size))).astype(np.float32),
        identity=identity,
        camera=rng.integers(4, size=count),
        time_seconds=np.where(rng.random(count) < 0.5, np.nan, np.arange(count)),
        path=np.array([f"{seed}/{row}.jpg" for row in range(count)], object),
        split=np.full(count, "gallery", object),
        model_fingerprint=np.full(count, model, object),
    )


def make_gallery(location, *seeds, count=100, size=SIZE):
    gallery = Gallery.create(str(location), size=size, model_fingerprint="a")
    for seed in seeds:
        gallery.add(make_rows(seed, count, size=size))
    return gallery


def add_batches(location: str, first_seed: int, num_batches: int, count: int, acknowledge: Connection) -> None:
    """Add batches one after the other, and say the seed of each once it is acknowledged."""
    gallery = Gallery.open(location)
    for seed in range(first_seed, first_seed + num_batches):
        gallery.add(make_rows(seed, count))
        acknowledge.send(seed)
