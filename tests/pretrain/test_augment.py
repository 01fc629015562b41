"""Augmentation: what comes out, what can be switched off, and where its randomness comes from."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from pretrain.augment import augment, make_transform, resize
from pretrain.config import PairConfig

OFF = PairConfig(
    jitter_probability=0.0,
    grayscale_probability=0.0,
    blur_probability=0.0,
    erasing_probability=0.0,
    flip_probability=0.0,
    padding_pixels=0,
)
SIZE = (48, 24)


def crops(*sizes):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for height, width in sizes]


def augmented(images, config, seed=0):
    return augment(images, make_transform(config, *SIZE), np.random.default_rng(seed))


def resized(image):
    return v2.functional.resize(torch.from_numpy(image).permute(2, 0, 1), list(SIZE), antialias=True)


@pytest.mark.parametrize("config", [OFF, PairConfig(), replace(OFF, jitter=0.0, jitter_probability=1.0)])
def test_crops_of_any_size_become_the_input_size(config):
    got = augmented(crops((100, 40), (20, 9), (48, 24)), config)
    assert (got.shape, got.dtype) == ((3, 3, 48, 24), torch.uint8)


def test_switched_off_it_is_a_plain_resize():
    images = crops((100, 40), (20, 9))
    assert torch.equal(augmented(images, OFF), torch.stack([resized(image) for image in images]))


def test_resize_brings_crops_of_any_size_to_the_input_size_and_draws_nothing():
    images = crops((100, 40), (20, 9), (48, 24))
    before = torch.random.get_rng_state()
    got = resize(images, *SIZE)
    assert (got.shape, got.dtype) == ((3, 3, 48, 24), torch.uint8)
    assert torch.equal(got, torch.stack([resized(image) for image in images]))
    assert torch.equal(got[2], torch.from_numpy(images[2]).permute(2, 0, 1)), "a crop of that size stays as it is"
    assert torch.equal(torch.random.get_rng_state(), before)
    white = np.full((30, 50, 3), 255, dtype=np.uint8)
    assert (resize([white], *SIZE) == 255).all()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"flip_probability": 1.0}, lambda image: image.flip(-1)),
        ({"grayscale_probability": 1.0}, lambda image: v2.functional.rgb_to_grayscale(image, 3)),
    ],
)
def test_what_is_certain_happens(change, expected):
    (image,) = crops((100, 40))
    assert torch.equal(augmented([image], replace(OFF, **change))[0], expected(resized(image)))


@pytest.mark.parametrize(
    "change",
    [
        {"flip_probability": 0.5},
        {"jitter_probability": 1.0},
        {"blur_probability": 1.0},
        {"erasing_probability": 1.0},
        {"padding_pixels": 64},
    ],
)
def test_every_change_is_drawn_for_each_crop_apart(change):
    (image,) = crops((100, 40))
    got = augmented([image] * 8, replace(OFF, **change))
    assert len({result.numpy().tobytes() for result in got}) > 1
    assert all(result.float().std() > 0 for result in got)


def test_padding_shifts_by_at_most_its_share_of_the_height():
    # 64 pixels at a height of 256 are 12 at 48.
    white = np.full((48, 24, 3), 255, dtype=np.uint8)
    for result in augmented([white] * 40, replace(OFF, padding_pixels=64)):
        filled = result[0] == 255
        assert filled.any(dim=1).sum() >= 36
        assert filled.any(dim=0).sum() >= 12


def test_erasing_fills_with_the_mean_colour():
    black = np.zeros((48, 24, 3), dtype=np.uint8)
    for result in augmented([black] * 10, replace(OFF, erasing_probability=1.0)):
        colours = {tuple(colour) for colour in result.flatten(1).T.tolist()}
        assert colours == {(0, 0, 0), (124, 116, 104)}
        assert 0.01 < (result[0] == 124).float().mean() < 0.35


def test_the_result_follows_from_the_generator_and_the_global_one_is_left_alone():
    images = crops((100, 40), (60, 30))
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first = augmented(images, PairConfig(), seed=5)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(augmented(images, PairConfig(), seed=5), first)
    assert not torch.equal(augmented(images, PairConfig(), seed=6), first)
