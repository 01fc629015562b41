"""Following people by their boxes, on scenes made by hand."""

import numpy as np
import pytest

from pretrain.association.assignment import LOST
from pretrain.association.tracks import MIN_OVERLAP, follow


def people(*lefts):
    """Boxes of 20 x 40 pixels that stand in a row."""
    return np.array([[left, 0.0, 20.0, 40.0] for left in lefts]).reshape(-1, 4)


@pytest.mark.parametrize(
    ("frames", "forward", "backward"),
    [
        ([people(0, 50)], [0, 1], [0, 1]),
        ([people(0, 50), people(55, 5)], [1, 0], [1, 0]),
        ([people(0, 50), people(10, 50), people(20, 50), people(30, 50)], [0, 1], [0, 1]),
        ([people(0, 50), people(5)], [0, LOST], [0]),
        ([people(0), people(200, 5)], [1], [LOST, 0]),
        ([people(0), people(200)], [LOST], [LOST]),
        ([people(0), people(), people(0)], [LOST], [LOST]),
        ([people(), people(0)], [], [LOST]),
        ([people(0), people()], [LOST], []),
    ],
    ids=["one frame", "two walk", "one walks far", "left", "came", "too far", "gap", "nobody first", "nobody last"],
)
def test_chains_of_overlapping_boxes(frames, forward, backward):
    got = follow(frames)
    assert [part.tolist() for part in got] == [forward, backward]
    assert all(part.dtype == np.int64 for part in got)


def test_a_frame_s_links_overlap_most_together():
    # The best single link is of the first with the first; it would leave 0.11 of IoU for the second.
    assert follow([people(10, 20), people(14, 4)])[0].tolist() == [1, 0]


def test_who_is_swapped_on_the_way_is_followed_to_the_other():
    crossing = [people(0, 30), people(15, 15.5), people(30, 0)]
    forward, backward = follow(crossing)
    assert sorted(forward.tolist()) == [0, 1], "a chain cannot tell who was in front"
    assert forward[backward].tolist() == [0, 1]


def test_the_least_overlap():
    # Moved by m of 20 pixels, IoU is (20 - m) / (20 + m).
    least = 20 * (1 - MIN_OVERLAP) / (1 + MIN_OVERLAP)
    assert follow([people(0), people(least - 0.01)])[0].tolist() == [0]
    assert follow([people(0), people(least + 0.01)])[0].tolist() == [LOST]


@pytest.mark.parametrize("seed", range(20))
def test_backwards_in_time_the_two_sides_change_places(seed):
    rng = np.random.default_rng(seed)
    frames = [people(*rng.uniform(0, 120, rng.integers(0, 5))) for _ in range(4)]
    forward, backward = follow(frames)
    assert [part.tolist() for part in follow(frames[::-1])] == [backward.tolist(), forward.tolist()]
