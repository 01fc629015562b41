"""Small parts of the report; its looks are looked at."""

import numpy as np
import pytest

from pretrain.demo.report import _smooth


def test_smoothing_keeps_length_and_constants():
    assert _smooth([2.0] * 7) == [2.0] * 7
    assert len(_smooth([1.0, 2.0, 3.0])) == 3


def test_smoothing_is_the_mean_of_neighbours():
    values = list(np.random.default_rng(0).random(9))
    smooth = _smooth(values, width=3)
    assert smooth[4] == pytest.approx(sum(values[3:6]) / 3)
    assert smooth[0] == pytest.approx(sum(values[:2]) / 2)
