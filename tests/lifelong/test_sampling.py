"""The graph sampler: fixture F-B5, what it promises, and what is refused."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lifelong.sampling import graph_batches

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


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match=r"batches need distances \[C, C\] and at least one class, got \[5, 4\] and 3"):
        graph_batches(LINE[:, :4], 3)
    with pytest.raises(ValueError, match=r"got \[5, 5\] and 0"):
        graph_batches(LINE, 0)
    with pytest.raises(ValueError, match="a distance between classes is not finite"):
        graph_batches(np.where(LINE == 4, np.nan, LINE), 3)
