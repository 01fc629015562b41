"""Re-ranking against the published program's numbers, a dense oracle, and what must hold whatever the data."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.metrics.distances import distance_chunks
from evaluation.scoring.reranking import rerank

FIXTURE = Path(__file__).parent / "fixtures" / "reranking.npz"


def dense(distance, num_queries, k1, k2, weight, dtype=np.float64):
    """The loop of the docstring, with an N x N encoding of a precision."""
    count = len(distance)
    k1, k2 = min(k1, count - 1), min(k2, count)
    original = distance / distance.max(axis=1, keepdims=True)
    order = np.argsort(distance, axis=1, kind="stable")

    def mutual(i, k):
        return {j for j in order[i, : k + 1] if i in order[j, : k + 1]}

    encoding = np.zeros((count, count), dtype)
    half = int(np.around(k1 / 2))
    for i in range(count):
        core = mutual(i, k1)
        expanded = set(core)
        for c in core:
            theirs = mutual(c, half)
            if len(theirs & core) > 2 / 3 * len(theirs):
                expanded |= theirs
        named = sorted(expanded)
        weights = np.exp(-original[i, named])
        encoding[i, named] = weights / weights.sum()
    encoding = np.stack([encoding[order[i, :k2]].mean(axis=0) for i in range(count)])
    shared = np.zeros((num_queries, count - num_queries), dtype)
    for column in encoding.T:
        shared += np.minimum(column[:num_queries, None], column[num_queries:])
    return (1 - weight) * (1 - shared / (2 - shared)) + weight * original[:num_queries, num_queries:]


def chunked(distance, size):
    return lambda: (
        (slice(s, min(s + size, len(distance))), distance[s : s + size]) for s in range(0, len(distance), size)
    )


def whole(distance, num_queries, *, size=10_000, **options):
    parts = list(rerank(chunked(distance, size), num_queries, len(distance), **options))
    assert [rows.start for rows, _ in parts] == [0, *(rows.stop for rows, _ in parts[:-1])]
    return np.concatenate([part for _, part in parts])


def people(seed, num_images=60, num_identities=12, size=8):
    rng = np.random.default_rng(seed)
    identity = rng.integers(0, num_identities, num_images)
    feature = rng.normal(size=(num_identities, size))[identity] + 0.5 * rng.normal(size=(num_images, size))
    return next(iter(distance_chunks(feature.astype(np.float32), feature.astype(np.float32))))[1]


def test_equals_the_published_program():
    """Whose encodings and sums are of half precision: the dense form in that precision gives its very numbers."""
    data = np.load(FIXTURE)
    feature = np.concatenate([data["query_features"], data["gallery_features"]])
    count = len(data["query_features"])
    distance = np.concatenate([part for _, part in distance_chunks(feature, feature)])
    np.testing.assert_allclose(dense(distance, count, 20, 6, 0.3, np.float16), data["distance"], atol=1e-6)
    error = np.abs(whole(distance, count, size=37) - data["distance"])
    assert error.max() < 2.5e-3
    assert error.mean() < 2.5e-4


@pytest.mark.parametrize(("k1", "k2"), [(20, 6), (5, 1), (3, 4), (7, 2), (200, 6)])
@pytest.mark.parametrize("seed", [0, 1])
def test_equals_the_dense_form(seed, k1, k2):
    distance = people(seed)
    for num_queries in (1, 20):
        expected = dense(distance.astype(np.float64), num_queries, k1, k2, 0.3)
        np.testing.assert_allclose(whole(distance, num_queries, k1=k1, k2=k2), expected, atol=1e-5)


def test_equal_distances_are_ordered_by_index():
    distance = np.round(people(2) * 4) / 4 + 0.25 * ~np.eye(60, dtype=bool)
    np.testing.assert_allclose(whole(distance, 10, k1=6, k2=3), dense(distance, 10, 6, 3, 0.3), atol=1e-5)


def test_copies_of_one_image_stay_together_and_nothing_is_below_zero():
    distance = people(4)
    order = np.concatenate([np.zeros(30, int), np.arange(30)])
    got = whole(np.ascontiguousarray(distance[np.ix_(order, order)]), 3)
    assert got.min() >= 0
    assert (got[:, :27].max(axis=1) < got[:, 28:].min(axis=1)).all()


def test_the_whole_weight_on_the_original_keeps_its_order():
    distance = people(3)
    got = whole(distance, 15, weight=1.0)
    np.testing.assert_array_equal(np.argsort(got, axis=1), np.argsort(distance[:15, 15:], axis=1))


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 7), st.integers(1, 70))
def test_range_chunks_and_order_of_the_gallery(seed, k1, k2, size):
    distance, num_queries = people(seed, num_images=40), 7
    got = whole(distance, num_queries, k1=k1, k2=k2)
    assert got.min() >= 0
    assert got.max() <= 1 + 1e-6
    np.testing.assert_allclose(whole(distance, num_queries, size=size, k1=k1, k2=k2), got, atol=1e-6)
    gallery = np.random.default_rng(seed).permutation(33)
    order = np.concatenate([np.arange(7), 7 + gallery])
    np.testing.assert_allclose(
        whole(np.ascontiguousarray(distance[np.ix_(order, order)]), num_queries, k1=k1, k2=k2),
        got[:, gallery],
        atol=1e-5,
    )


def test_it_helps_where_neighbours_tell_more_than_distances():
    """Two arcs: ends of one are farther from each other than from the other arc, but linked by its middle."""
    angle = np.linspace(0, np.pi, 40)
    arcs = np.concatenate(
        [np.stack([np.cos(angle), np.sin(angle)], 1), np.stack([1 - np.cos(angle), 0.4 - np.sin(angle)], 1)]
    )
    distance = ((arcs[:, None] - arcs[None]) ** 2).sum(axis=2).astype(np.float32)
    identity = np.repeat([0, 1], 40)
    order = np.random.default_rng(0).permutation(80)
    distance, identity = distance[np.ix_(order, order)], identity[order]
    is_right = identity[:20, None] == identity[20:]

    def hits(found):
        return np.take_along_axis(is_right, np.argsort(found, axis=1), axis=1)[:, :20].mean()

    assert hits(whole(distance, 20, k1=8, k2=4)) > hits(distance[:20, 20:])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k1": 0}, "k1 and k2 must be >= 1 and the weight 0 to 1, got 0, 6 and 0.3"),
        ({"k2": 0}, "got 20, 0 and 0.3"),
        ({"weight": 1.5}, "got 20, 6 and 1.5"),
    ],
)
def test_numbers_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        whole(people(0), 5, **options)


def test_wrong_distances_are_refused():
    distance = people(0)
    with pytest.raises(ValueError, match="re-ranking needs queries and a gallery, got 60 of 60 images"):
        whole(distance, 60)
    with pytest.raises(ValueError, match="a distance is negative or not finite"):
        whole(-distance, 5)
    with pytest.raises(ValueError, match="a distance is negative or not finite"):
        whole(np.where(distance > 1, np.nan, distance), 5)
    with pytest.raises(ValueError, match=r"distances \[60, 59\] of images slice\(0, 60, None\) do not fit 60 images"):
        whole(distance[:, :59], 5)
