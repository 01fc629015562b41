"""Augmentation: what a change does to the pixels, and that a crop's result is its own."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms import v2

from pretrain.data.augment import CHANGES, Change, apply_changes, augment, resize
from pretrain.data.config import PairConfig
from tests.pretrain.data.test_filters import assert_close, pictures
from tests.pretrain.test_draw_changes import CERTAIN, NOTHING, OFF, SIZE, drawn


def changes(*rows):
    """One change per crop; what is not named changes nothing."""
    table = np.tile(NOTHING, (len(rows), 1))
    for row, values in zip(table, rows, strict=True):
        for name, value in values.items():
            row[Change[name]] = value
    return torch.from_numpy(table)


def changed(image, **values):
    return apply_changes(image[None], changes(values))[0]


def crops(*sizes):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for height, width in sizes]


def resized(image):
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
    return torch.nn.functional.interpolate(pixels, SIZE, mode="bilinear", antialias=True)[0]


@pytest.mark.parametrize(("height", "width"), [(48, 24), (17, 31)])
def test_every_change_against_torchvision(height, width):
    (image,) = pictures(1, height, width)
    functional = v2.functional
    assert torch.equal(changed(image, FLIP=1), functional.horizontal_flip(image))
    for flip, down, right in ((0, 5, -3), (1, -2, 4), (1, 0, -1), (0, -height, 0), (0, 0, 2 * width)):
        source = functional.horizontal_flip(image) if flip else image
        expected = functional.affine(source, angle=0, translate=[right, down], scale=1, shear=[0, 0], fill=[0])
        assert torch.equal(changed(image, FLIP=flip, DOWN=down, RIGHT=right), expected)
    # torchvision cuts the fraction off, and so is up to a level darker; its mean grey is of cut levels.
    assert_close(changed(image, BRIGHTNESS=1.37), functional.adjust_brightness(image, 1.37), levels=1)
    assert_close(changed(image, CONTRAST=0.55), functional.adjust_contrast(image, 0.55), levels=1)
    assert_close(changed(image, SATURATION=1.4), functional.adjust_saturation(image, 1.4), levels=1)
    assert_close(changed(image, HUE=-0.1), functional.adjust_hue(image, -0.1), levels=1)
    assert_close(changed(image, GREY=1), functional.rgb_to_grayscale(image, 3), levels=1)
    assert_close(changed(image, SIGMA=0.7), functional.gaussian_blur(image, [3, 3], [0.7, 0.7]), levels=1)
    colour = torch.tensor([124, 116, 104], dtype=torch.uint8)[:, None, None]
    expected = functional.erase(image, 2, 3, 10, 8, colour)
    assert torch.equal(changed(image, TOP=2, LEFT=3, ROWS=10, COLUMNS=8), expected)


def test_changes_follow_each_other_in_order_and_are_rounded_once():
    (image,) = pictures(1, 256, 128)
    functional = v2.functional
    expected = functional.affine(image.flip(-1), angle=0, translate=[-9, 10], scale=1, shear=[0, 0], fill=[0]) / 255
    expected = functional.adjust_contrast(functional.adjust_brightness(expected, 1.3), 0.7)
    expected = functional.adjust_hue(functional.adjust_saturation(expected, 1.2), 0.05)
    expected = functional.gaussian_blur(expected, [7, 7], [1.5, 1.5]) * 255
    expected[:, 200:256, 0:20] = torch.tensor([124.0, 116, 104])[:, None, None]
    values = {"FLIP": 1, "DOWN": 10, "RIGHT": -9, "BRIGHTNESS": 1.3, "CONTRAST": 0.7, "SATURATION": 1.2, "HUE": 0.05}
    got = changed(image, **values, SIGMA=1.5, TOP=200, ROWS=56, COLUMNS=20)
    assert_close(got, expected, levels=0.7)
    grey = changed(image, **values, GREY=1)
    assert (grey[0] == grey[1]).all()
    assert (grey[0] == grey[2]).all()


def test_what_nothing_happens_to_comes_back_to_the_last_bit():
    images = torch.randint(0, 256, (3, 3, 9, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    got = apply_changes(images, changes({}, {"HUE": 0.3}, {"LEFT": 2, "COLUMNS": 3}))
    assert torch.equal(got[[0, 2]], images[[0, 2]])
    assert not torch.equal(got[1], images[1])
    assert got.data_ptr() != images.data_ptr()


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32), size=st.sampled_from([(48, 24), (17, 19), (64, 32), (200, 90)]))
def test_a_crop_does_not_depend_on_the_others_nor_on_their_order(seed, size):
    images, table = pictures(12, *size, seed=seed), torch.from_numpy(drawn(PairConfig(), 12, seed, size))
    before = images.clone()
    got = apply_changes(images, table)
    assert torch.equal(images, before)
    alone = [apply_changes(images[n : n + 1], table[n : n + 1]) for n in range(12)]
    assert torch.equal(got, torch.cat(alone))
    order = torch.from_numpy(np.random.default_rng(seed).permutation(12))
    assert torch.equal(apply_changes(images[order], table[order]), got[order])
    strided = images.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    assert torch.equal(apply_changes(strided, table), got)


def test_threads_change_nothing():
    images, table = pictures(6, 256, 128), torch.from_numpy(drawn(CERTAIN, 6, size=(256, 128)))
    threads = torch.get_num_threads()
    results = []
    for count in (1, 2):
        torch.set_num_threads(count)
        results.append(apply_changes(images, table))
    torch.set_num_threads(threads)
    assert torch.equal(*results)


def test_no_crops_are_no_work():
    assert drawn(CERTAIN, 0).shape == (0, CHANGES)
    none = torch.zeros((0, 3, 48, 24), dtype=torch.uint8)
    assert apply_changes(none, torch.from_numpy(drawn(CERTAIN, 0))).shape == none.shape


def test_what_does_not_fit_is_refused():
    image, row = torch.zeros((1, 3, 48, 24), dtype=torch.uint8), changes({})
    with pytest.raises(ValueError, match=r"images must be uint8 \[N, 3, H, W\], got torch.float32 \[1, 3, 48, 24\]"):
        apply_changes(image.float(), row)
    with pytest.raises(ValueError, match=r"got torch.uint8 \[3, 48, 24\]"):
        apply_changes(image[0], row)
    with pytest.raises(ValueError, match=r"got torch.uint8 \[1, 48, 24, 3\]"):
        apply_changes(image.permute(0, 2, 3, 1), row)
    with pytest.raises(ValueError, match=r"1 crops need changes \[N, 13\], got \[2, 13\]"):
        apply_changes(image, changes({}, {}))
    with pytest.raises(ValueError, match=r"1 crops need changes \[N, 13\], got \[1, 12\]"):
        apply_changes(image, row[:, :12])
    with pytest.raises(ValueError, match="crops of 400 x 4 pixels are too small for a blur over 5 pixels"):
        apply_changes(torch.zeros((1, 3, 400, 4), dtype=torch.uint8), changes({"SIGMA": 1}))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_same_within_a_level_and_is_not_waited_for():
    images, table = pictures(40, 64, 32), torch.from_numpy(drawn(PairConfig(), 40, size=(64, 32)))
    there = images.cuda()
    apply_changes(there, table)
    torch.cuda.set_sync_debug_mode("error")
    try:
        got = apply_changes(there, table)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert got.device == there.device
    assert_close(got.cpu(), apply_changes(images, table), levels=1)
    assert torch.equal(apply_changes(there, table.cuda()), got)


@pytest.mark.parametrize("config", [OFF, PairConfig(), CERTAIN])
def test_crops_of_any_size_become_the_input_size(config):
    got = augment(crops((100, 40), (20, 9), (48, 24)), config, *SIZE, np.random.default_rng(0))
    assert (got.shape, got.dtype) == ((3, 3, 48, 24), torch.uint8)


def test_switched_off_it_is_a_plain_resize():
    images = crops((100, 40), (20, 9))
    got = augment(images, OFF, *SIZE, np.random.default_rng(0))
    assert torch.equal(got, torch.stack([resized(image) for image in images]))


@pytest.mark.parametrize("size", [(100, 40), (20, 9), (49, 23), (48, 24), (5, 200)])
def test_resize_is_within_a_level_of_what_exact_numbers_give(size):
    """On any processor: kernels for bytes differ between them, and from torchvision's, in the last level."""
    (image,) = crops(size)
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].double()
    exact = torch.nn.functional.interpolate(pixels, SIZE, mode="bilinear", antialias=True)
    assert (resize([image], *SIZE).double() - exact).abs().max() <= 1


def test_resize_brings_crops_of_any_size_to_the_input_size():
    images = crops((100, 40), (20, 9), (48, 24))
    got = resize(images, *SIZE)
    assert (got.shape, got.dtype) == ((3, 3, 48, 24), torch.uint8)
    assert torch.equal(got, torch.stack([resized(image) for image in images]))
    assert torch.equal(got[2], torch.from_numpy(images[2]).permute(2, 0, 1)), "a crop of that size stays as it is"
    white = np.full((30, 50, 3), 255, dtype=np.uint8)
    assert (resize([white], *SIZE) == 255).all()


def test_padding_shifts_by_at_most_its_share_of_the_height():
    # 64 pixels at a height of 256 are 12 at 48.
    white = np.full((48, 24, 3), 255, dtype=np.uint8)
    got = augment([white] * 40, replace(OFF, padding_pixels=64), *SIZE, np.random.default_rng(0))
    rows, columns = (got[:, 0] == 255).any(dim=2).sum(dim=1), (got[:, 0] == 255).any(dim=1).sum(dim=1)
    assert (rows.min() >= 36, columns.min() >= 12) == (True, True)
    assert len(set(zip(rows.tolist(), columns.tolist(), strict=True))) > 10


def test_erasing_fills_with_the_mean_colour():
    black = np.zeros((48, 24, 3), dtype=np.uint8)
    for result in augment([black] * 10, replace(OFF, erasing_probability=1.0), *SIZE, np.random.default_rng(0)):
        colours = {tuple(colour) for colour in result.flatten(1).T.tolist()}
        assert colours == {(0, 0, 0), (124, 116, 104)}
        assert 0.01 < (result[0] == 124).float().mean() < 0.35


def test_the_global_generators_are_left_alone():
    images = crops((100, 40), (60, 30))
    torch.manual_seed(1)
    before, also = torch.random.get_rng_state(), np.random.get_state(legacy=False)["state"]["key"]
    first = augment(images, PairConfig(), *SIZE, np.random.default_rng(5))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert np.array_equal(np.random.get_state(legacy=False)["state"]["key"], also)
    torch.manual_seed(2)
    assert torch.equal(augment(images, PairConfig(), *SIZE, np.random.default_rng(5)), first)
