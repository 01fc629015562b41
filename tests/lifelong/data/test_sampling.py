"""Which classes and images meet: the numbers of METHOD.md 5.7, what each sampler promises, and what is refused."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lifelong.data.sampling import cursor_images, episode_images, episode_order, graph_batches

LINE = np.abs(np.subtract.outer(np.arange(5), np.arange(5))).astype(float)


def test_five_classes_on_a_line():
    batches = graph_batches(LINE, 3)
    assert batches == [[1, 2, 0], [0, 2, 1], [1, 3, 2], [2, 4, 3], [3, 2, 4]]
    draws = Counter(name for batch in batches for name in batch)
    assert [2 * draws[name] for name in range(5)] == [4, 6, 10, 6, 4]  # two images of each class


@settings(max_examples=50)
@given(st.integers(1, 12), st.integers(1, 15), st.integers(0, 1000))
def test_every_class_is_the_anchor_of_one_batch_of_its_nearest(count, num_classes, seed):
    rng = np.random.default_rng(seed)
    distance = rng.random((count, count))
    batches = graph_batches(distance, num_classes, rng=rng)
    assert sorted(batch[-1] for batch in batches) == list(range(count))
    for *neighbours, anchor in batches:
        assert len({*neighbours, anchor}) == min(num_classes, count)
        others = sorted((j for j in range(count) if j != anchor), key=lambda j: distance[anchor, j])
        assert neighbours == others[: len(neighbours)]


def test_the_diagonal_is_not_used_and_the_caller_keeps_it():
    distance = LINE - 9 * np.eye(5)
    assert graph_batches(distance, 3) == graph_batches(LINE, 3)
    assert distance[0, 0] == -9


def test_batches_are_shuffled_by_the_generator_alone():
    shuffled = graph_batches(LINE, 3, rng=np.random.default_rng(0))
    assert shuffled == graph_batches(LINE, 3, rng=np.random.default_rng(0))
    assert sorted(shuffled) == sorted(graph_batches(LINE, 3))


def test_distances_that_make_no_batches_are_refused():
    with pytest.raises(ValueError, match=r"batches need distances \[C, C\] and at least one class, got \[5, 4\] and 3"):
        graph_batches(LINE[:, :4], 3)
    with pytest.raises(ValueError, match=r"got \[5, 5\] and 0"):
        graph_batches(LINE, 0)
    with pytest.raises(ValueError, match="a distance between classes is not finite"):
        graph_batches(np.where(LINE == 4, np.nan, LINE), 3)


@settings(max_examples=60)
@given(st.integers(1, 40), st.integers(1, 45), st.integers(0, 1000))
def test_an_epoch_has_every_class_and_no_class_twice_in_an_episode(num_classes, episode_classes, seed):
    order = episode_order(num_classes, episode_classes, np.random.default_rng(seed))
    assert order.dtype == np.int64
    size = min(episode_classes, num_classes)
    episodes = order.reshape(-1, size)
    assert len(episodes) == -(-num_classes // size)
    assert set(order.tolist()) == set(range(num_classes))
    assert all(len(set(episode.tolist())) == size for episode in episodes)
    assert order[:num_classes].tolist() == np.random.default_rng(seed).permutation(num_classes).tolist()
    assert order.tolist() == episode_order(num_classes, episode_classes, np.random.default_rng(seed)).tolist()


def test_every_class_is_as_likely_to_fill_up():
    rng = np.random.default_rng(0)
    draws = Counter(name for _ in range(2000) for name in episode_order(5, 3, rng).tolist())
    assert sorted(draws) == list(range(5))
    assert all(abs(count - 2400) < 100 for count in draws.values())  # about 5 standard deviations


@pytest.mark.parametrize(
    ("images", "count", "queries"), [(6, 6, 1), (20, 6, 1), (2, 6, 1), (5, 6, 1), (3, 6, 3), (4, 9, 3), (2, 3, 2)]
)
def test_supports_and_queries_share_no_image(images, count, queries):
    rows = np.arange(100, 100 + images)
    for seed in range(30):
        drawn = episode_images(rows, count, queries, np.random.default_rng(seed))
        assert drawn.dtype == np.int64
        support, query = drawn[: count - queries].tolist(), drawn[count - queries :].tolist()
        assert len(query) == queries
        assert not set(support) & set(query)
        assert len({*support, *query}) == min(images, count), "all that there are, or no image twice"
        assert {*support, *query} <= set(rows.tolist())
        for part in (support, query):
            repeats = Counter(part).values()
            assert max(repeats) - min(repeats) <= 1
        assert drawn.tolist() == episode_images(rows.tolist(), count, queries, np.random.default_rng(seed)).tolist()


@pytest.mark.parametrize(
    ("images", "count", "queries", "asked"), [(4, 6, 3, 2), (6, 9, 3, 2), (3, 6, 1, 1), (3, 6, 5, 2), (2, 9, 8, 1)]
)
def test_few_images_are_shared_out_as_supports_to_queries(images, count, queries, asked):
    drawn = episode_images(range(images), count, queries, np.random.default_rng(0))
    assert len(set(drawn[count - queries :].tolist())) == asked


def test_a_single_image_is_support_and_query():
    assert episode_images([7], 6, 1, np.random.default_rng(0)).tolist() == [7] * 6


def cursor_loop(rows, occurrence, count, seed):
    rng, left = np.random.default_rng(seed), []
    for _ in range(occurrence + 1):
        group = []
        while len(group) < count:
            if not left:
                left = sorted(rng.permutation(rows).tolist(), key=group.count)
            group.append(left.pop(0))
    return group


@settings(max_examples=60)
@given(st.integers(1, 9), st.integers(1, 12), st.integers(0, 12), st.integers(0, 1000))
def test_a_class_shows_all_its_images_before_it_repeats_one(images, count, occurrence, seed):
    rows = np.arange(50, 50 + images)
    groups = [cursor_images(rows, k, count, (seed, 3)).tolist() for k in range(occurrence + 1)]
    assert groups[-1] == cursor_loop(rows, occurrence, count, (seed, 3))
    shown = [row for group in groups for row in group]
    for first in range(0, len(shown) - images + 1, images):
        assert sorted(shown[first : first + images]) == rows.tolist()
    for group in groups:
        repeats = [group.count(row) for row in rows]
        assert max(repeats) - min(repeats) <= 1, "so none twice where there are enough"


def test_a_cursor_depends_on_its_arguments_alone():
    rows = list(range(20))
    alone = cursor_images(rows, 4, 3, (1, 2))
    assert alone.dtype == np.int64
    assert alone.tolist() == cursor_images(np.array(rows), 4, 3, (1, 2)).tolist()
    assert alone.tolist() != cursor_images(rows, 4, 3, (1, 3)).tolist()


def test_the_images_of_the_classes_on_a_line():
    """METHOD.md 5.7: two images of a class at a time make 4, 6, 10, 6 and 4 draws, here of three images each."""
    shown, times = Counter(), Counter()
    for batch in graph_batches(LINE, 3):
        for name in batch:
            group = cursor_images(range(3 * name, 3 * name + 3), times[name], 2, (0, name))
            assert len(set(group.tolist())) == 2
            shown.update(group.tolist())
            times[name] += 1
    per_class = [[shown[3 * name + k] for k in range(3)] for name in range(5)]
    assert [sum(images) for images in per_class] == [4, 6, 10, 6, 4]
    assert all(max(images) - min(images) <= 1 for images in per_class)


def test_draws_of_nothing_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="episodes need at least one class, got 0 and 4"):
        episode_order(0, 4, rng)
    with pytest.raises(ValueError, match="got 4 and 0 of an episode"):
        episode_order(4, 0, rng)
    with pytest.raises(ValueError, match="got 0 images and 1 queries of 6 draws"):
        episode_images([], 6, 1, rng)
    with pytest.raises(ValueError, match="got 9 images and 6 queries of 6 draws"):
        episode_images(range(9), 6, 6, rng)
    with pytest.raises(ValueError, match="got 9 images and 0 queries of 6 draws"):
        episode_images(range(9), 6, 0, rng)
    for rows, occurrence, count in (([], 0, 2), ([1], -1, 2), ([1], 0, 0)):
        with pytest.raises(ValueError, match=rf"got {len(rows)} images, {occurrence}, {count}"):
            cursor_images(rows, occurrence, count, (0,))
