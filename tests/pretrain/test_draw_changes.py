"""What happens to crops, as it is drawn: ranges, shares, and where the randomness comes from."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from pretrain.data.augment import CHANGES, Change, draw_changes
from pretrain.data.config import AugmentConfig, PairConfig

OFF = AugmentConfig(
    jitter_probability=0.0,
    grayscale_probability=0.0,
    blur_probability=0.0,
    erasing_probability=0.0,
    flip_probability=0.0,
    padding_pixels=0,
)
CERTAIN = AugmentConfig(
    jitter_probability=1.0,
    grayscale_probability=1.0,
    blur_probability=1.0,
    erasing_probability=1.0,
    flip_probability=1.0,
    padding_pixels=64,
)
SIZE = (48, 24)
NOTHING = np.zeros(CHANGES, np.float32)
NOTHING[[Change.BRIGHTNESS, Change.CONTRAST, Change.SATURATION]] = 1


def drawn(config, count, seed=0, size=SIZE):
    return draw_changes(config, count, height=size[0], width=size[1], rng=np.random.default_rng(seed))


def test_every_number_has_its_range_and_its_mean():
    config = AugmentConfig(
        jitter=0.4,
        jitter_probability=0.8,
        grayscale_probability=0.1,
        blur_probability=0.2,
        erasing_probability=0.5,
        flip_probability=0.3,
        padding_pixels=10,
    )
    table = drawn(config, 40_000, size=(256, 128))
    assert (table.shape, table.dtype) == ((40_000, CHANGES), np.float32)
    column = {change.name: table[:, change] for change in Change}
    assert column["FLIP"].mean() == pytest.approx(0.3, abs=0.01)
    assert column["GREY"].mean() == pytest.approx(0.1, abs=0.01)
    for name in ("DOWN", "RIGHT"):
        values, counts = np.unique(column[name], return_counts=True)
        assert values.tolist() == list(range(-10, 11))
        np.testing.assert_allclose(counts / 40_000, 1 / 21, atol=0.006)
    is_jittered = column["BRIGHTNESS"] != 1
    assert is_jittered.mean() == pytest.approx(0.8, abs=0.01)
    for name, centre, half in (("BRIGHTNESS", 1, 0.4), ("CONTRAST", 1, 0.4), ("SATURATION", 1, 0.4), ("HUE", 0, 0.1)):
        assert ((column[name] != centre) == is_jittered).mean() > 0.999, "all four or none"
        check_uniform(column[name][is_jittered], centre - half, centre + half)
    is_blurred = column["SIGMA"] > 0
    assert is_blurred.mean() == pytest.approx(0.2, abs=0.01)
    check_uniform(column["SIGMA"][is_blurred], 0.1, 7 / 3)  # a fortieth of 256 is 7 pixels


def check_uniform(values, low, high):
    assert values.min() >= low - 1e-6
    assert values.max() <= high + 1e-6
    np.testing.assert_allclose(
        np.quantile(values, [0, 0.25, 0.5, 0.75, 1]), np.linspace(low, high, 5), atol=0.03 * (high - low)
    )


def test_strong_jitter_never_makes_a_factor_negative():
    table = drawn(replace(OFF, jitter=2.0, jitter_probability=1.0), 10_000)
    for change in (Change.BRIGHTNESS, Change.CONTRAST, Change.SATURATION):
        check_uniform(table[:, change], 0, 3)
    check_uniform(table[:, Change.HUE], -0.5, 0.5)


def test_erased_rectangles_are_distributed_as_those_of_torchvision():
    height, width = 64, 32
    table = drawn(replace(OFF, erasing_probability=1.0), 20_000, size=(height, width))
    top, left, rows, columns = table[:, Change.TOP : Change.COLUMNS + 1].T
    assert (rows > 0).mean() > 0.999
    assert (top.min(), left.min(), (top + rows).max(), (left + columns).max()) == (0, 0, height, width)
    share, aspect = rows * columns / (height * width), rows / columns
    assert 0.015 < share.min() < share.max() < 0.32, "of whole pixels"
    assert 0.25 < aspect.min() < aspect.max() < 4
    transform = v2.RandomErasing(1.0, scale=(0.02, 0.3), ratio=(0.3, 3.3), value=0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        params = [transform.make_params([torch.zeros(3, height, width)]) for _ in range(3000)]
    for ours, name in ((top, "i"), (left, "j"), (rows, "h"), (columns, "w")):
        theirs = np.array([one[name] for one in params], float)
        quantiles = [0.1, 0.25, 0.5, 0.75, 0.9]
        np.testing.assert_allclose(np.quantile(ours, quantiles), np.quantile(theirs, quantiles), atol=2, err_msg=name)


def test_draws_follow_from_the_generator_and_take_as_much_of_it_whatever_the_configuration_is():
    assert np.array_equal(drawn(PairConfig(), 9, seed=3), drawn(PairConfig(), 9, seed=3))
    assert not np.array_equal(drawn(PairConfig(), 9, seed=3), drawn(PairConfig(), 9, seed=4))
    assert np.array_equal(drawn(PairConfig(), 9)[:4], drawn(PairConfig(), 4)), "more crops leave the first ones alone"
    followers = []
    for config, size in ((OFF, SIZE), (CERTAIN, SIZE), (PairConfig(), (256, 128))):
        rng = np.random.default_rng(0)
        draw_changes(config, 5, height=size[0], width=size[1], rng=rng)
        followers.append(rng.random())
    assert len(set(followers)) == 1
    one, other = drawn(CERTAIN, 50), drawn(replace(CERTAIN, blur_probability=0.0), 50)
    assert (np.flatnonzero((one != other).any(axis=0)) == [Change.SIGMA]).all(), "one option moves no other"


def test_probabilities_of_zero_and_one():
    assert np.array_equal(drawn(OFF, 200), np.tile(NOTHING, (200, 1)))
    assert np.array_equal(drawn(replace(OFF, jitter=0.0, jitter_probability=1.0), 200), np.tile(NOTHING, (200, 1)))
    table = drawn(CERTAIN, 200)
    assert (table[:, [Change.FLIP, Change.GREY]] == 1).all()
    assert (table[:, [Change.SIGMA, Change.ROWS, Change.COLUMNS]] > 0).all()
    assert (table[:, [Change.BRIGHTNESS, Change.CONTRAST, Change.SATURATION, Change.HUE]] != NOTHING[3:7]).all()


def test_sizes_without_pixels_are_refused():
    with pytest.raises(ValueError, match="height and width >= 1, got 3, 0 and 8"):
        drawn(OFF, 3, size=(0, 8))
    with pytest.raises(ValueError, match="count must be >= 0, height and width >= 1, got -1, 48 and 24"):
        drawn(OFF, -1)
