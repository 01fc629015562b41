"""A colour histogram: the model that needs no training, and the bar that a trained one has to clear."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from cluster.errors import InputError

HUE_BINS, SATURATION_BINS, VALUE_BINS = 12, 4, 4


class HistogramEmbedder:
    """Joint hue, saturation and value histogram of the whole image, square-rooted.

    The inner product of two such features is the Bhattacharyya coefficient of the histograms, so that cosine similarity
    is a sound way to compare them.
    """

    fingerprint = f"histogram-hsv-{HUE_BINS}x{SATURATION_BINS}x{VALUE_BINS}-v1"
    embedding_size = HUE_BINS * SATURATION_BINS * VALUE_BINS

    def embed(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Embed images (see `evaluation.embedding.embedder.Embedder.embed`).

        Raises:
            InputError: If an image is not uint8 [H, W, 3] with at least one pixel.
        """
        features = np.zeros((len(images), self.embedding_size), np.float32)
        for row, image in enumerate(images):
            features[row] = np.sqrt(_colour_histogram(image))
        return features


def _colour_histogram(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the share of pixels in each colour bin: float32 [D], sums to 1."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise InputError(f"an image must be RGB uint8 [H, W, 3] with pixels, got {image.dtype} {list(image.shape)}")
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    bins = [HUE_BINS, SATURATION_BINS, VALUE_BINS]
    counts = cv2.calcHist([hsv], [0, 1, 2], None, bins, [0, 180, 0, 256, 0, 256])
    return (counts.ravel() / counts.sum()).astype(np.float32)
