"""The colour histogram fulfils the protocol and sees colours, not sizes or arrangements."""

import numpy as np
import pytest

from evaluation.embedding.embedder import Embedder
from evaluation.embedding.histogram import HistogramEmbedder


def image(seed, height=32, width=16):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def plain(*rgb):
    return np.full((8, 4, 3), rgb, np.uint8)


def test_rows_are_unit_vectors_in_the_order_of_the_images():
    embedder: Embedder = HistogramEmbedder()
    features = embedder.embed([image(0), image(1, 60, 20), image(2, 1, 1)])
    assert features.shape == (3, embedder.embedding_size)
    assert features.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(embedder.embed([image(1, 60, 20)])[0], features[1])


def test_cosine_is_the_bhattacharyya_coefficient():
    red, blue = plain(255, 0, 0), plain(0, 0, 255)
    half = np.concatenate([red, blue])
    features = HistogramEmbedder().embed([red, blue, half])
    np.testing.assert_allclose(
        features @ features.T, [[1, 0, 0.5**0.5], [0, 1, 0.5**0.5], [0.5**0.5] * 2 + [1]], atol=1e-6
    )


def test_arrangement_and_size_do_not_matter():
    original = image(3)
    larger = original.repeat(2, axis=0).repeat(3, axis=1)
    features = HistogramEmbedder().embed([original, original[::-1, ::-1], larger])
    np.testing.assert_allclose(features[1:], features[[0, 0]], atol=1e-6)


def test_no_images_give_no_rows():
    assert HistogramEmbedder().embed([]).shape == (0, HistogramEmbedder.embedding_size)


def test_what_is_no_image_is_refused():
    for wrong in (image(0)[:, :, 0], image(0).astype(np.float32), image(0)[:0]):
        with pytest.raises(ValueError, match=r"an image must be RGB uint8 \[H, W, 3\] with pixels"):
            HistogramEmbedder().embed([wrong])  # type: ignore[list-item]
