"""Colours and blur: torchvision's functions crop by crop, the loops of the docstrings, closed forms."""

import colorsys
import math

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional

from pretrain.data import filters

FACTORS = torch.tensor([0.0, 0.3, 1.0, 1.4, 3.0])[:, None, None, None]


def pictures(count, height, width, seed=0):
    """Return smooth pictures with some noise, as whole grey levels: uint8 [N, 3, H, W]."""
    generator = torch.Generator().manual_seed(seed)
    coarse = 255 * torch.rand((count, 3, 3, 3), generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")
    return (smooth + 30 * torch.randn(smooth.shape, generator=generator)).clamp(0, 255).to(torch.uint8)


def neutral(count):
    return [torch.full((count, 1, 1, 1), value) for value in (1.0, 1.0, 1.0, 0.0)]


def assert_close(got, expected, *, levels):
    assert (got.float() - expected.float()).abs().max() <= levels


def test_grey_is_that_of_torchvision():
    images = pictures(4, 20, 11)
    expected = functional.rgb_to_grayscale(images.float() / 255, 1) * 255
    assert_close(filters.grey(images.float()), expected, levels=1e-3)


@pytest.mark.parametrize(
    ("position", "function"),
    [(0, functional.adjust_brightness), (1, functional.adjust_contrast), (2, functional.adjust_saturation)],
)
def test_a_factor_does_what_it_does_in_torchvision(position, function):
    images = pictures(len(FACTORS), 20, 11)
    strengths = neutral(len(FACTORS))
    strengths[position] = FACTORS
    got = filters.jitter(images.float(), *strengths)
    # On floats, where it rounds nothing. The mean grey is that of whole levels: a little off, at most half a level.
    expected = [255 * function(image / 255, float(factor)) for image, factor in zip(images, FACTORS, strict=True)]
    assert_close(got, torch.stack(expected), levels=0.5 if position == 1 else 0.01)
    whole = [function(image, float(factor)) for image, factor in zip(images, FACTORS, strict=True)]
    assert_close(got.round(), torch.stack(whole), levels=2)


def test_all_four_are_applied_in_order():
    image = pictures(1, 20, 11)
    values = (1.3, 0.7, 1.4, 0.08)
    expected = image / 255
    for function, value in zip(
        (
            functional.adjust_brightness,
            functional.adjust_contrast,
            functional.adjust_saturation,
            functional.adjust_hue,
        ),
        values,
        strict=True,
    ):
        expected = function(expected, value)
    got = filters.jitter(image.float(), *(torch.full((1, 1, 1, 1), value) for value in values))
    assert_close(got, 255 * expected, levels=0.6)


@pytest.mark.parametrize("turns", [-0.5, -0.1, 0.0, 0.03, 0.25, 0.5])
def test_a_hue_is_turned_as_in_torchvision(turns):
    images = torch.cat([pictures(2, 20, 11), pictures(1, 20, 11) // 128 * 255])  # with equal channels, too
    got = filters.turn_hue(images.float(), torch.full((3, 1, 1, 1), turns))
    assert_close(got, 255 * functional.adjust_hue(images / 255, turns), levels=0.05)
    assert_close(got.round(), functional.adjust_hue(images, turns), levels=1)


def test_a_hue_is_turned_as_by_the_standard_library():
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (50, 3))
    turns = rng.uniform(-0.5, 0.5, 50)
    expected = []
    for (red, green, blue), turn in zip(colours / 255, turns, strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(red, green, blue)
        expected.append(colorsys.hsv_to_rgb((hue + turn) % 1, saturation, value))
    got = filters.turn_hue(
        torch.tensor(colours).float()[..., None, None], torch.tensor(turns).float().view(50, 1, 1, 1)
    )
    np.testing.assert_allclose(got[..., 0, 0], 255 * np.array(expected), atol=0.01)


def test_closed_forms_of_a_turned_hue():
    red = torch.tensor([200.0, 10.0, 10.0]).view(1, 3, 1, 1)
    third, grey = torch.full((1, 1, 1, 1), 1 / 3), torch.full((1, 3, 1, 1), 77.0)
    torch.testing.assert_close(filters.turn_hue(red, third).flatten(), torch.tensor([10.0, 200, 10]))
    torch.testing.assert_close(filters.turn_hue(red, -third).flatten(), torch.tensor([10.0, 10, 200]))
    assert torch.equal(filters.turn_hue(grey, third), grey), "grey has no hue"
    levels = pictures(1, 9, 7).float()
    torch.testing.assert_close(filters.turn_hue(levels, third * 3), levels, atol=0.01, rtol=0)


def blurred_as_loop(x, sigma, reach):
    """One row; borders are mirrored about their last pixel."""
    last = len(x) - 1
    weight = {r: math.exp(-((r / sigma) ** 2) / 2) for r in range(-reach, reach + 1)}
    mirrored = [[last - abs(last - abs(i + r)) for r in weight] for i in range(len(x))]
    return [
        sum(w * float(x[i]) for w, i in zip(weight.values(), row, strict=True)) / sum(weight.values())
        for row in mirrored
    ]


@pytest.mark.parametrize(("height", "width", "reach"), [(9, 6, 1), (20, 11, 3), (5, 4, 3)])
def test_blur_is_that_of_torchvision_and_of_the_loop(height, width, reach):
    images, sigmas = pictures(3, height, width), torch.tensor([0.1, 0.8, 2.3])
    got = filters.blur(images.float(), sigmas, reach=reach)
    size = [2 * reach + 1] * 2
    for image, sigma, result in zip(images, sigmas.tolist(), got, strict=True):
        assert_close(result, 255 * functional.gaussian_blur(image / 255, size, [sigma, sigma]), levels=0.01)
        assert_close(result.round(), functional.gaussian_blur(image, size, [sigma, sigma]), levels=1)
        rows = [[blurred_as_loop(row, sigma, reach) for row in channel.tolist()] for channel in image]
        both = np.apply_along_axis(blurred_as_loop, 1, np.array(rows), sigma, reach)
        np.testing.assert_allclose(result, both, atol=0.01)


def test_blur_keeps_what_is_even_and_refuses_crops_that_are_too_small():
    even = torch.full((2, 3, 8, 8), 93.0)
    torch.testing.assert_close(filters.blur(even, torch.tensor([0.5, 9.0]), reach=2), even)
    with pytest.raises(ValueError, match="crops of 8 x 8 pixels are too small for a blur over 8 pixels each way"):
        filters.blur(even, torch.ones(2), reach=8)


def test_the_input_stays_as_it_is_and_other_crops_change_nothing():
    levels, generator = pictures(7, 17, 13).float(), torch.Generator().manual_seed(1)
    strengths = [2 * torch.rand((7, 1, 1, 1), generator=generator) for _ in range(4)]
    sigma, before = 0.1 + torch.rand(7, generator=generator), levels.clone()
    jittered, blurred = filters.jitter(levels, *strengths), filters.blur(levels, sigma, reach=2)
    assert torch.equal(levels, before)
    for n in range(7):
        one = slice(n, n + 1)
        assert torch.equal(filters.jitter(levels[one], *(value[one] for value in strengths)), jittered[one])
        assert torch.equal(filters.blur(levels[one], sigma[one], reach=2), blurred[one])
