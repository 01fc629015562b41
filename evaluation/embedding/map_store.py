"""Feature maps beside a features file, as ``python -m evaluation embed --maps`` writes them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from evaluation.datasets.rows import ImageRow
from evaluation.embedding.embedder import MapEmbedder
from evaluation.embedding.label_rows import label_rows
from evaluation.features.files import maps_location
from evaluation.qaconv.maps import MapShape, map_writer

WriteMaps = Callable[[NDArray[np.int64], NDArray], None]


@contextmanager
def map_store(out: str, rows: Sequence[ImageRow], embedder: MapEmbedder) -> Iterator[WriteMaps]:
    """Begin the map store of a features file; it is there when the block ends.

    Args:
        out: Location of the features file.
        rows: Its images, in order.
        embedder: What makes the maps; its head goes into the store.

    Yields:
        What takes row numbers [B], in any order, and their maps [B, L, C].

    Raises:
        ValueError: If a map is missing in the end, or unusable.
    """
    height, width, channels = embedder.map_shape
    images = label_rows(rows, np.zeros((len(rows), 1), np.float32), embedder.fingerprint)
    shape = MapShape(height=height, width=width, channels=channels)
    fingerprint, head = embedder.fingerprint, embedder.head
    with map_writer(maps_location(out), images, shape, model_fingerprint=fingerprint, head=head) as writer:
        yield writer.write
