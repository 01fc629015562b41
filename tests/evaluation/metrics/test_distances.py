"""Chunked distances against their loop, and what they refuse."""

import numpy as np
import pytest

from evaluation.metrics import distances


def features(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def whole(query, gallery, chunk=None):
    return np.concatenate([part for _, part in distances.distance_chunks(query, gallery, chunk=chunk)])


@pytest.mark.parametrize(("num_queries", "num_gallery", "size"), [(1, 1, 3), (5, 11, 4), (3, 2, 65)])
def test_equals_the_loop_of_the_docstring(num_queries, num_gallery, size):
    query, gallery = features(0, num_queries, size), features(1, num_gallery, size)
    got = whole(query, gallery)
    for q in range(num_queries):
        for g in range(num_gallery):
            product = query[q].astype(float) @ gallery[g] / np.linalg.norm(query[q]) / np.linalg.norm(gallery[g])
            assert got[q, g] == pytest.approx(2 - 2 * product, abs=1e-6)


def test_neither_chunks_nor_blocks_change_a_bit(monkeypatch):
    query, gallery = features(2, 23, 50), np.repeat(features(3, 40, 50), 2, axis=0)
    expected = whole(query, gallery)
    np.testing.assert_array_equal(expected[:, 0::2], expected[:, 1::2])
    np.testing.assert_array_equal(whole(query, gallery, chunk=1), expected)
    monkeypatch.setattr(distances, "CHUNK_ENTRIES", 170)
    monkeypatch.setattr(distances, "BLOCK_ENTRIES", 850)
    np.testing.assert_array_equal(whole(query, gallery), expected)


def test_opposite_vectors_are_four_apart_and_equal_ones_zero():
    np.testing.assert_allclose(whole(np.array([[2.0, 0]]), np.array([[-3.0, 0], [5, 0], [0, 1]])), [[4, 0, 2]])


def test_features_without_direction_are_refused():
    with pytest.raises(ValueError, match=r"gallery features must be \[N, D\] with N, D > 0, got \[0, 4\]"):
        distances.check_features(np.zeros((0, 4), np.float32), "gallery")
    with pytest.raises(ValueError, match="2 query features are zero or not finite, the first in row 1"):
        distances.check_features(np.array([[1, 0], [0, 0], [np.inf, 0]], np.float32), "query")


def test_a_device_of_torch_gives_the_same_distances():
    query, gallery = features(4, 6, 30), features(5, 9, 30)
    [(_, got)] = distances.distance_chunks(query, gallery, device="cpu:0")
    np.testing.assert_allclose(got, whole(query, gallery), atol=1e-6)
