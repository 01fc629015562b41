"""Boxes and crops: closed forms of the overlap, every rule of the filter, sizes of what is cut."""

import numpy as np
import pytest

from evaluation.datasets.images import decode_image
from pretrain.ingest.config import IngestConfig
from pretrain.ingest.crops import clip_to_image, cut, cut_distance, filter_boxes, intersection_over_union
from tests.pretrain.ingest.films import film, wall

CONFIG = IngestConfig()


def boxes(*rows: tuple[float, ...]) -> np.ndarray:
    return np.array([(*row, 1.0)[:5] for row in rows], dtype=np.float32).reshape(-1, 5)


def test_overlap_has_its_closed_forms():
    one = np.array([[0.0, 0, 2, 2]])
    cases = [
        ([0, 0, 2, 2], 1.0),
        ([1, 0, 2, 2], 2 / 6),
        ([1, 1, 2, 2], 1 / 7),
        ([0, 0, 1, 1], 1 / 4),
        ([2, 0, 2, 2], 0.0),
        ([9, 9, 1, 1], 0.0),
        ([0, 0, 0, 0], 0.0),
    ]
    assert intersection_over_union(one, np.array([box for box, _ in cases])) == pytest.approx(
        np.array([[value for _, value in cases]])
    )
    assert intersection_over_union(np.zeros((1, 4)), np.zeros((1, 4))).tolist() == [[0.0]]
    assert intersection_over_union(np.zeros((0, 4)), one).shape == (0, 1)


def test_overlap_is_the_loop_of_its_definition():
    rng = np.random.default_rng(1)
    first, second = rng.uniform(0, 20, (6, 5)), rng.uniform(0, 20, (4, 5))
    found = intersection_over_union(first, second)
    for i, a in enumerate(first):
        for j, b in enumerate(second):
            width = max(0.0, min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0]))
            height = max(0.0, min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1]))
            both = width * height
            assert found[i, j] == pytest.approx(both / (a[2] * a[3] + b[2] * b[3] - both))
    assert found == pytest.approx(intersection_over_union(second, first).T)


def test_boxes_are_cut_at_the_border():
    inside = clip_to_image(boxes((-5, -5, 20, 20), (90, 40, 20, 20), (200, 200, 5, 5), (1, 2, 3, 4)), 50, 100)
    assert inside[:, :4].tolist() == [[0, 0, 15, 15], [90, 40, 10, 10], [100, 50, 0, 0], [1, 2, 3, 4]]


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ((0, 0, 40, 100, 0.59), "score"),
        ((0, 0, 30, 63, 1.0), "height"),
        ((0, 0, 100, 100, 1.0), "aspect"),
        ((0, 0, 20, 100, 1.0), "aspect"),
        ((0, 0, 0, 100, 1.0), "aspect"),
        ((0, 0, 40, 100, -1.0), "score"),
        ((0, 0, 40, 100, float("nan")), "score"),
    ],
)
def test_each_rule_drops_and_counts(box: tuple[float, ...], reason: str):
    kept, dropped = filter_boxes(boxes(box, (200, 0, 40, 100)), CONFIG)
    assert kept[:, 0].tolist() == [200]
    assert +dropped == {reason: 1}


def test_a_box_is_counted_under_the_first_rule_that_it_breaks():
    kept, dropped = filter_boxes(boxes((0, 0, 100, 10, 0.1)), CONFIG)
    assert len(kept) == 0
    assert +dropped == {"score": 1}


def test_both_boxes_of_a_crowded_pair_are_dropped():
    near, far = (0, 0, 40, 100), (10, 0, 40, 100)  # IoU 0.6
    kept, dropped = filter_boxes(boxes(near, far, (300, 0, 40, 100)), CONFIG)
    assert kept[:, 0].tolist() == [300]
    assert +dropped == {"overlap": 2}
    kept, dropped = filter_boxes(boxes(near, (*far, 0.1)), CONFIG)
    assert kept[:, 0].tolist() == [0], "a box that fell to another rule crowds nobody"
    assert +dropped == {"score": 1}


def test_a_score_below_zero_is_counted_even_if_every_score_is_welcome():
    kept, dropped = filter_boxes(boxes((0, 0, 40, 100, -1.0)), IngestConfig(min_score=0))
    assert len(kept) + dropped.total() == 1


def test_no_boxes_are_no_error():
    kept, dropped = filter_boxes(boxes(), CONFIG)
    assert kept.shape == (0, 5)
    assert +dropped == {}


def test_crops_have_the_size_of_the_box_and_at_most_the_largest_height():
    image = film(1)[0]
    config = IngestConfig(max_crop_height=100)
    small, tall, border = cut(image, boxes((10, 20, 30, 60), (0, 0, 50, 200), (300, 180, 20, 60)), config)
    assert decode_image(small["jpeg"]).shape == (60, 30, 3)
    assert decode_image(tall["jpeg"]).shape == (100, 25, 3)
    assert decode_image(border["jpeg"]).shape == (60, 20, 3)
    assert {name: tall[name] for name in ("left", "top", "width", "height", "score")} == {
        "left": 0,
        "top": 0,
        "width": 50,
        "height": 200,
        "score": 1,
    }, "the box stays in pixels of the frame"
    pixels = decode_image(small["jpeg"]).astype(int)
    assert np.abs(pixels - image[20:80, 10:40]).mean() < 6


def test_cut_distance_tells_scenes_apart():
    frames = film(2)
    assert cut_distance(frames[0], frames[0]) == pytest.approx(0, abs=1e-6)
    assert cut_distance(frames[0], frames[1]) < 0.2
    night = wall() // 8
    assert cut_distance(frames[0], night) > 0.9
    assert cut_distance(night, frames[0]) == pytest.approx(cut_distance(frames[0], night))
