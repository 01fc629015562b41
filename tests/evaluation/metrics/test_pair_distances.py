"""Sampled pairs are those of the loop, in bounded memory; equal error is the loop's, and exact where it is known."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.metrics.pair_distances import EqualError, equal_error_rate, sample_pair_distances


def labelled(seed, num_queries=13, num_gallery=29, num_identities=5, num_cameras=3, size=6):
    rng = np.random.default_rng(seed)
    return (
        rng.normal(size=(num_queries, size)).astype(np.float32),
        rng.normal(size=(num_gallery, size)).astype(np.float32),
        rng.integers(-1, num_identities, num_queries),
        rng.integers(-1, num_identities, num_gallery),
        rng.integers(0, num_cameras, num_queries) * 7,
        rng.integers(0, num_cameras, num_gallery) * 7,
    )


def loop(query, gallery, query_identity, gallery_identity, query_camera, gallery_camera):
    same, different = [], []
    for q in range(len(query)):
        for g in range(len(gallery)):
            left, right = query[q].astype(float), gallery[g].astype(float)
            distance = 2 - 2 * left @ right / np.linalg.norm(left) / np.linalg.norm(right)
            if -1 in (query_identity[q], gallery_identity[g]):
                continue
            if query_identity[q] != gallery_identity[g]:
                different.append(distance)
            elif query_camera[q] != gallery_camera[g]:
                same.append(distance)
    return same, different


@pytest.mark.parametrize("seed", range(4))
def test_without_a_limit_all_pairs_of_the_loop_are_there(seed):
    arrays = labelled(seed)
    for got, expected in zip(sample_pair_distances(*arrays), loop(*arrays), strict=True):
        assert got.dtype == np.float32
        np.testing.assert_allclose(np.sort(got), np.sort(expected), atol=1e-6)


def test_a_sample_is_seeded_without_repetition_and_out_of_the_pairs():
    arrays = labelled(0)
    everything = sample_pair_distances(*arrays)
    sample = sample_pair_distances(*arrays, max_pairs=10, seed=3)
    for part, whole in zip(sample, everything, strict=True):
        assert len(set(part.tolist()) & set(whole.tolist())) == len(part) == 10
    np.testing.assert_array_equal(sample, sample_pair_distances(*arrays, max_pairs=10, seed=3))
    assert not np.array_equal(sample, sample_pair_distances(*arrays, max_pairs=10, seed=4))


def test_every_pair_is_drawn_equally_often():
    angle = np.array([0.0, 0.3, 0.5, 0.8, 1.1, 1.4])
    gallery = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    query = gallery[[0, 0]] * [[1], [-1]]  # the second sees every distance d as 4 - d
    labels = np.array([1, 2]), np.array([1, 2, 1, 2, 1, -1]), np.array([0, 0]), np.array([1, 1, 1, 1, 0, 1])
    num_seeds = 1500
    drawn = [sample_pair_distances(query, gallery, *labels, max_pairs=1, seed=seed) for seed in range(num_seeds)]
    for kind, num_pairs in ((0, 4), (1, 5)):  # the third pair of identity 1 is before one camera
        _, counts = np.unique([pair[kind] for pair in drawn], return_counts=True)
        assert len(counts) == num_pairs
        np.testing.assert_allclose(counts / num_seeds, 1 / num_pairs, atol=0.04)


def test_memory_does_not_grow_with_queries_times_gallery():
    arrays = labelled(1, num_queries=4000, num_gallery=20_000, num_identities=700, size=4)
    tracemalloc.start()
    same, different = sample_pair_distances(*arrays, max_pairs=500)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(same) == len(different) == 500
    assert peak < 20e6  # one byte per pair of all images would be 80 MB


def test_what_cannot_be_sampled_is_refused():
    query, gallery, *labels = labelled(0)
    with pytest.raises(ValueError, match="max_pairs must be >= 1, got 0"):
        sample_pair_distances(query, gallery, *labels, max_pairs=0)
    with pytest.raises(ValueError, match="queries have 5 components and the gallery 6"):
        sample_pair_distances(query[:, :5], gallery, *labels)
    with pytest.raises(ValueError, match="12 query features need as many identities, got 13"):
        sample_pair_distances(query[1:], gallery, *labels)
    ones = np.ones(13, np.int64), np.ones(29, np.int64)
    with pytest.raises(ValueError, match="are of one identity before two cameras; check identities"):
        sample_pair_distances(query, gallery, *ones, *ones)
    with pytest.raises(ValueError, match="are of different identities; check identities"):
        sample_pair_distances(query, gallery, *ones, ones[0], ones[1] + 1)


def equal_error_loop(same, different):
    levels = sorted({*same, *different})
    refused = [np.mean([d > t for d in same]) for t in levels]
    accepted = [np.mean([d <= t for d in different]) for t in levels]
    gap = [round(abs(r - a), 12) for r, a in zip(refused, accepted, strict=True)]
    best = gap.index(min(gap))
    return np.mean(levels[best : best + 2]), (refused[best] + accepted[best]) / 2


distances = st.lists(st.integers(0, 8), min_size=1, max_size=12)


@given(distances, distances)
def test_equal_error_is_the_loop_of_the_docstring(same, different):
    got = equal_error_rate(np.array(same) / 2, np.array(different) / 2)
    threshold, rate = equal_error_loop(np.array(same) / 2, np.array(different) / 2)
    assert got.threshold == pytest.approx(threshold)
    assert got.rate == pytest.approx(rate)


def test_equal_error_where_it_is_known():
    near, far = np.array([0.25, 0.5]), np.array([0.75, 0.9, 1.1])
    assert equal_error_rate(near, far) == EqualError(threshold=0.625, rate=0.0)
    assert equal_error_rate(far, near).rate == 1.0
    even = np.arange(100.0)
    assert equal_error_rate(even, even) == EqualError(threshold=49.5, rate=0.5)
    # uniform on 0 to 1 and on 0.5 to 1.5: a threshold of 0.75 errs in a quarter of either
    found = equal_error_rate(np.linspace(0, 1, 2001), np.linspace(0.5, 1.5, 1001))
    assert found.threshold == pytest.approx(0.75, abs=1e-3)
    assert found.rate == pytest.approx(0.25, abs=1e-3)


def test_equal_error_needs_finite_distances_of_both_kinds():
    with pytest.raises(ValueError, match="need finite distances of different identities, got 0"):
        equal_error_rate(np.ones(3), np.ones(0))
    with pytest.raises(ValueError, match="of same identities, got 2 with 1 not finite"):
        equal_error_rate(np.array([1, np.nan]), np.ones(3))
