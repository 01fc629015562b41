"""Explanation pictures: heat and lines lie in the right cells, wide maps stay wide, negative shares are blue."""

import numpy as np
import pytest

from evaluation.qaconv.explanation import explain
from evaluation.qaconv.head import QAConvHead
from evaluation.report.explanation_picture import (
    GAP_PIXELS,
    LEAST_WIDTH_PIXELS,
    MARGIN_PIXELS,
    NEGATIVE_COLOUR,
    draw_explanation,
    heat_colours,
)

GREEN = np.zeros((50, 30, 3), np.uint8) + np.array([0, 255, 0], np.uint8)
"""No line, heat or text is of this colour."""


def same_maps(weights):
    """An image compared with itself: each location finds itself, with cosine 1."""
    map_LC = np.eye(len(weights), dtype=np.float32)
    return explain(map_LC, map_LC, QAConvHead(query_weight=np.array(weights, np.float32)))


def draw(weights, height, width, image=GREEN, **options):
    options = {"names": ("a.jpg", "b.jpg"), "head": "uniform"} | options
    return draw_explanation(image, image, same_maps(weights), height=height, width=width, **options)


def box(picture):
    """Where pure green is: left, top, right, bottom."""
    y, x = np.nonzero((picture == (0, 255, 0)).all(axis=2))
    return x.min(), y.min(), x.max() + 1, y.max() + 1


def count(picture, colour):
    return int((np.abs(picture.astype(int) - colour).max(axis=2) <= 2).sum())


def test_tall_images_have_their_heat_maps_outside_and_wide_ones_below():
    tall, wide = draw([0.5] * 8, 4, 2), draw([0.5] * 8, 2, 4)
    left, top, right, bottom = box(tall)
    assert (right - left, bottom - top) == (2 * 192 + GAP_PIXELS, 384)
    assert left > 192
    left, top, right, bottom = box(wide)
    assert (right - left, bottom - top) == (2 * 448 + GAP_PIXELS, 224)
    assert left == MARGIN_PIXELS
    assert wide.shape[0] - bottom > 224
    assert wide.shape[1] == right + MARGIN_PIXELS


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 24), (24, 1), (6, 6), (16, 8), (8, 16)])
def test_maps_of_every_shape_fit_into_a_picture(height, width):
    picture = draw([1.0] * (height * width), height, width)
    assert picture.dtype == np.uint8
    assert picture.shape[1] >= LEAST_WIDTH_PIXELS
    assert max(picture.shape) < 1100
    left, top, right, bottom = box(picture)
    assert (bottom - top) * width == pytest.approx((right - left - GAP_PIXELS) / 2 * height, abs=width)


def test_heat_is_brightest_where_the_share_is_largest():
    picture, black = draw([0.1, 0.1, 0.1, 0.1, 0.1, 0.9, 0.1, 0.1], 2, 4, image=GREEN * 0), GREEN * 0
    assert black.max() == 0
    _, _, _, bottom = box(draw([0.5] * 8, 2, 4))
    heat = picture[bottom:, MARGIN_PIXELS : MARGIN_PIXELS + 448]
    top = int(np.nonzero((heat.max(axis=2) > 150).sum(axis=1) > 100)[0][0])  # where the bright cell begins
    cells = heat[top - 112 : top + 112].reshape(2, 112, 4, 112, 3)[:, 8:-8, :, 8:-8].mean(axis=(1, 3, 4))
    assert cells.argmax() == 5
    assert np.sort(cells.ravel())[-2] < 20


def test_lines_run_from_match_to_match_and_as_many_as_asked():
    weights = np.linspace(0.2, 1, 8)
    one, all_ = (draw(weights, 4, 2, num_lines=number) for number in (1, 99))
    none_changed = (one == all_).all(axis=2)
    assert not none_changed.all()
    left, top, right, _ = box(draw([0.5] * 8, 4, 2))
    y, x = top + int(3.5 * 96), (left + right) // 2
    assert one[y, x].tolist() == all_[y, x].tolist() != one[y - 96, x].tolist()
    assert all_[y - 96, x].tolist() != one[y - 96, x].tolist()


def test_what_takes_away_is_blue_in_lines_and_heat():
    assert count(draw([0.5] * 8, 4, 2), NEGATIVE_COLOUR) == 0
    picture = draw([0.5, 0.2, 0.2, -0.5, 0.2, 0.2, 0.2, 0.2], 4, 2)
    assert count(picture, NEGATIVE_COLOUR) > 300
    colours = heat_colours(np.array([-0.2, 0, 0.2]), (-0.2, 0.2))
    assert colours[0].tolist() == list(NEGATIVE_COLOUR)
    assert colours[1].max() < 40
    assert colours[2, 0] > 200 > colours[2, 2]


def test_long_and_foreign_names_stay_inside_and_equal_input_gives_equal_pictures():
    names = ("x" * 400, "Überwachung_人.jpg")
    first, second = (draw([0.5] * 8, 4, 2, names=names) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert len(np.unique(first[:, -MARGIN_PIXELS // 2 :].reshape(-1, 3), axis=0)) == 1
    assert (first != draw([0.5] * 8, 4, 2)).any()


def test_images_of_any_size_are_taken():
    big = GREEN.repeat(24, axis=0).repeat(30, axis=1)
    np.testing.assert_array_equal(draw([0.5] * 8, 4, 2, image=big), draw([0.5] * 8, 4, 2))


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="the 4 x 3 map has 12 locations and the explanation 8 and 8"):
        draw([0.5] * 8, 4, 3)
    with pytest.raises(ValueError, match="num_lines must be >= 1, got 0"):
        draw([0.5] * 8, 4, 2, num_lines=0)
