"""The picture of mined pairs."""

import numpy as np
import pytest

from pretrain.validation.auditor import AuditedPair
from pretrain.validation.contact_sheet import COLUMNS, GAP, HEIGHT, LABEL, RIGHT, WIDTH, WRONG, draw_contact_sheet


def pair(shade: int, *, is_right: bool, size: tuple[int, int] = (50, 20)) -> AuditedPair:
    image = np.full((*size, 3), shade, np.uint8)
    return AuditedPair(image, 255 - image, 0.5, is_right)


@pytest.mark.parametrize(("best", "worst", "rows"), [(0, 0, 0), (1, 0, 1), (8, 8, 2), (9, 17, 5)])
def test_the_size_follows_from_the_pairs(best: int, worst: int, rows: int):
    picture = draw_contact_sheet([pair(9, is_right=True)] * best, [pair(9, is_right=False)] * worst)
    assert picture.dtype == np.uint8
    assert picture.shape == (2 * 28 + rows * (HEIGHT + LABEL + GAP), COLUMNS * (2 * WIDTH + GAP) + GAP, 3)


def test_both_crops_stand_side_by_side_in_the_colour_of_the_outcome():
    picture = draw_contact_sheet([pair(10, is_right=True)], [pair(10, is_right=False, size=(300, 300))])
    for is_right, top in ((True, 28), (False, 28 + HEIGHT + LABEL + GAP + 28)):
        middle = top + HEIGHT // 2
        assert picture[middle, GAP + WIDTH // 2].tolist() == [10] * 3
        assert picture[middle, GAP + WIDTH + WIDTH // 2].tolist() == [245] * 3
        assert tuple(picture[middle, GAP].tolist()) == (RIGHT if is_right else WRONG)
        label = picture[top + HEIGHT : top + HEIGHT + LABEL, GAP : GAP + 100]
        assert (label < 200).any(), "right and wrong are told by a word too"
