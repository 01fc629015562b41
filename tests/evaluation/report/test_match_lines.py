"""Match lines: their ends lie in the right cells, in the right colour, and are seen on black and on white."""

import numpy as np
import pytest

from evaluation.report.match_lines import (
    GAP_COLOUR,
    GAP_PIXELS,
    PICTURE_HEIGHT_PIXELS,
    draw_matches,
    match_colour,
)

HEIGHT, WIDTH = 6, 2
CELL = PICTURE_HEIGHT_PIXELS // HEIGHT
RIGHT = WIDTH * CELL + GAP_PIXELS
"""Where the gallery image begins."""


def plain(value, height=60, width=30):
    return np.full((height, width, 3), value, np.uint8)


def draw(best, similarity, query=None, gallery=None, **options):
    query, gallery = plain(0) if query is None else query, plain(0) if gallery is None else gallery
    return draw_matches(query, gallery, np.array(best), np.array(similarity), height=HEIGHT, width=WIDTH, **options)


def centre(picture, location, left=0):
    """The pixel at the centre of a cell; cells of the query image unless told."""
    return tuple(picture[location // WIDTH * CELL + CELL // 2, left + location % WIDTH * CELL + CELL // 2].tolist())


def with_lines(picture, left=0):
    """The locations in whose centres a line ends, as none other passes there."""
    return {location for location in range(HEIGHT * WIDTH) if centre(picture, location, left) != (0, 0, 0)}


def test_a_line_joins_both_centres_in_the_colour_of_its_similarity():
    similarity = np.zeros(HEIGHT * WIDTH)
    similarity[3] = 0.9
    picture = draw([8] * (HEIGHT * WIDTH), similarity, num_lines=1)
    assert picture.shape == (PICTURE_HEIGHT_PIXELS, 2 * WIDTH * CELL + GAP_PIXELS, 3)
    assert picture.dtype == np.uint8
    assert centre(picture, 3) == centre(picture, 8, RIGHT) == match_colour(0.9)
    ends = np.array([[1.5 * CELL, 1.5 * CELL], [RIGHT + 0.5 * CELL, 4.5 * CELL]])  # x, y
    x, y = (ends.mean(axis=0)).astype(int)
    assert tuple(picture[y, x].tolist()) == match_colour(0.9)
    assert with_lines(picture, RIGHT) == {8}


def test_the_most_similar_are_drawn_and_of_equals_the_first():
    best = np.arange(HEIGHT * WIDTH)
    similarity = np.array([0.6, 0.9, 0.1, 0.9, 0.9, 0, 0, 0, 0, 0, 0, 0.95])
    only_left_column = similarity * (best % WIDTH == 0)  # a level line passes no centre of another row
    assert {n for n in with_lines(draw(best, only_left_column, num_lines=2)) if n % WIDTH == 0} == {0, 4}
    strong = draw(best, similarity, num_lines=3)
    assert centre(strong, 11) == match_colour(0.95)
    assert centre(strong, 1) == centre(strong, 3) == match_colour(0.9)
    assert centre(strong, 0) == centre(strong, 4) == (0, 0, 0)


def test_of_mutual_matches_both_ends_agree():
    best = np.zeros(HEIGHT * WIDTH, int)  # all found location 0
    best[10] = 6
    back = np.full(HEIGHT * WIDTH, 5)
    back[0], back[6] = 4, 10
    picture = draw(best, np.linspace(0.5, 1, HEIGHT * WIDTH), back_L=back)
    left_column = {n for n in with_lines(picture) if n % WIDTH == 0}
    assert left_column == {4, 10}
    assert {n for n in with_lines(picture, RIGHT) if n % WIDTH == 0} == {0, 6}
    best = np.arange(HEIGHT * WIDTH)
    nothing = draw(np.roll(best, 1), np.ones(HEIGHT * WIDTH), back_L=best)
    assert with_lines(nothing) == with_lines(nothing, RIGHT) == set()


def test_lines_are_bright_with_a_dark_outline_and_thicker_where_more_similar():
    colours = [np.mean(match_colour(value)) for value in (-1, 0.5, 0.75, 1)]
    assert colours[0] == colours[1] < colours[2] < colours[3]
    best, touched = np.arange(HEIGHT * WIDTH), []
    for similarity in (0.5, 1.0):
        values = np.where(best == 2, similarity, -1)
        for ground in (0, 255):
            picture = draw(best, values, plain(ground), plain(ground), num_lines=1)
            across = picture[CELL : 2 * CELL, WIDTH * CELL - 10].mean(axis=1)
            assert across[0] == across[-1] == ground
            assert np.ptp(across) > 75  # seen whatever lies below
        touched.append(int((across != 255).sum()))
    assert touched[0] < touched[1]


def test_images_take_the_shape_of_the_map_and_equal_input_gives_equal_pictures():
    best, similarity = np.arange(HEIGHT * WIDTH), np.full(HEIGHT * WIDTH, 0.8)
    query, gallery = plain(10, 900, 100), plain(200, 20, 33)
    picture = draw(best, similarity, query, gallery, num_lines=1)
    assert picture[-1, 0].tolist() == picture[-1, WIDTH * CELL - 1].tolist() == [10] * 3
    assert picture[-1, WIDTH * CELL].tolist() == picture[-1, RIGHT - 1].tolist() == list(GAP_COLOUR)
    assert picture[-1, RIGHT].tolist() == picture[-1, -1].tolist() == [200] * 3
    assert query.max() == 10
    np.testing.assert_array_equal(picture, draw(best, similarity, query, gallery, num_lines=1))


def test_arrays_that_do_not_fit_the_map_are_refused():
    best, similarity = np.arange(HEIGHT * WIDTH), np.ones(HEIGHT * WIDTH)
    with pytest.raises(ValueError, match=r"best_L must hold the 6 x 2 locations of the map, got \[11\]"):
        draw(best[:-1], similarity)
    with pytest.raises(ValueError, match=r"back_L must hold the 6 x 2 locations of the map, got \[3\]"):
        draw(best, similarity, back_L=best[:3])
    with pytest.raises(ValueError, match="best_L names locations 1 to 12, but the 6 x 2 map has 0 to 11"):
        draw(best + 1, similarity)
    with pytest.raises(ValueError, match="similarity_L must be finite"):
        draw(best, similarity * np.nan)
    with pytest.raises(ValueError, match="num_lines must be >= 1, got 0"):
        draw(best, similarity, num_lines=0)
