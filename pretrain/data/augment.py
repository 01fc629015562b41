"""What a training crop goes through, each crop on its own (METHOD.md 2.4).

Two halves: what happens to a crop is drawn where it is read, a few numbers for each crop; the pixels are changed where
the batch is, many crops at once, and nothing is random there.

Shapes: N crops, K numbers of a change, H rows, W columns, A attempts.
"""

from collections.abc import Callable, Sequence
from enum import IntEnum

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pretrain.data import filters
from pretrain.data.config import AugmentConfig


class Change(IntEnum):
    """The numbers that say what happens to a crop; in brackets the value that leaves it as it is."""

    FLIP = 0  # 1: mirrored left to right (0)
    DOWN = 1  # rows that it moves down; black enters (0)
    RIGHT = 2  # columns that it then moves to the right; black enters (0)
    BRIGHTNESS = 3  # factor of all levels, >= 0 (1)
    CONTRAST = 4  # factor of the distance from the crop's mean grey, >= 0 (1)
    SATURATION = 5  # factor of the distance from the pixel's own grey, >= 0 (1)
    HUE = 6  # turns of the colour circle (0)
    GREY = 7  # 1: all colour is taken away (0)
    SIGMA = 8  # standard deviation of the blur in pixels, 0 for none (0)
    TOP = 9  # first erased row
    LEFT = 10  # first erased column
    ROWS = 11  # number of erased rows (0)
    COLUMNS = 12  # number of erased columns


CHANGES = len(Change)
"""K, the numbers that describe what happens to a crop."""

UNJITTERED = (1.0, 1.0, 1.0, 0.0)
"""Brightness, contrast, saturation and hue that change nothing."""

ERASED_SHARE = (0.02, 0.3)
"""Erased share of a crop's area."""
ERASED_ASPECT = (0.3, 3.3)
"""Height over width of an erased rectangle."""
ERASED_COLOUR = (124, 116, 104)
"""The mean colour of ImageNet."""
ERASING_ATTEMPTS = 10
"""A: rectangles drawn for a crop. The first that is smaller than the crop both ways is erased, if there is one."""

CACHED_VALUES = 1 << 17
"""Channel values changed at a time on a CPU: few enough to stay in its cache from one operation to the next."""
DEVICE_VALUES = 1 << 25
"""Channel values changed at a time on another device: 128 MB for each intermediate result."""


def draw_changes(
    config: AugmentConfig, count: int, *, height: int, width: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Draw what happens to each crop, independently.

    Colour factors are uniform in [max(0, 1 - jitter), 1 + jitter] and the turn of the hue within jitter / 4 either way,
    all four or none; shifts are whole pixels, uniform up to the padding; sigma is uniform from 0.1 to a third of the
    blur's width; an erased rectangle has a uniform area and a log-uniform aspect ratio, and lies anywhere inside.

    Args:
        config: How often and how strongly.
        count: N, crops.
        height: H of the crops that will be changed.
        width: W.
        rng: Source of all randomness. It gives the same number of values for each crop, whatever the configuration.

    Returns:
        float32 [N, K], columns as in `Change`.

    Raises:
        ValueError: If there are fewer than 0 crops, or a crop has no pixels.
    """
    if count < 0 or height < 1 or width < 1:
        raise ValueError(f"count must be >= 0, height and width >= 1, got {count}, {height} and {width}")
    uniform = rng.random((count, 14 + 2 * ERASING_ATTEMPTS))
    flip, down, right, jitter, brightness, contrast, saturation, hue, grey, blur, sigma, erase, top, left = uniform[
        :, :14
    ].T
    padding = round(config.padding_pixels * height / 256)
    low, high = max(0.0, 1 - config.jitter), 1 + config.jitter
    factors = [low + (high - low) * value for value in (brightness, contrast, saturation)]
    factors.append(config.jitter / 4 * (2 * hue - 1))
    is_jittered, is_blurred = jitter < config.jitter_probability, blur < config.blur_probability
    rows, columns = _rectangles(uniform[:, 14:].reshape(count, 2, ERASING_ATTEMPTS), height, width)
    is_erased = (erase < config.erasing_probability) & (rows > 0)
    drawn = [
        flip < config.flip_probability,
        np.floor(down * (2 * padding + 1)) - padding,
        np.floor(right * (2 * padding + 1)) - padding,
        *(np.where(is_jittered, factor, same) for factor, same in zip(factors, UNJITTERED, strict=True)),
        grey < config.grayscale_probability,
        is_blurred * (0.1 + ((2 * _reach(height) + 1) / 3 - 0.1) * sigma),
        is_erased * np.floor(top * (height - rows + 1)),
        is_erased * np.floor(left * (width - columns + 1)),
        is_erased * rows,
        is_erased * columns,
    ]
    return np.stack(drawn, axis=1).astype(np.float32)


def _rectangles(
    uniform_N2A: NDArray[np.float64], height: int, width: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return rows and columns of each crop's rectangle, both 0 where no attempt fits."""
    least, most = np.log(ERASED_ASPECT)
    share, aspect = uniform_N2A[:, 0], np.exp(least + (most - least) * uniform_N2A[:, 1])
    area = height * width * (ERASED_SHARE[0] + (ERASED_SHARE[1] - ERASED_SHARE[0]) * share)
    rows_NA, columns_NA = np.rint(np.sqrt(area * aspect)), np.rint(np.sqrt(area / aspect))
    fits = (rows_NA < height) & (columns_NA < width)
    crop, first = np.arange(len(fits)), fits.argmax(axis=1)
    return fits.any(axis=1) * rows_NA[crop, first], fits.any(axis=1) * columns_NA[crop, first]


def _reach(height: int) -> int:
    """Return how far a blur reaches each way: its width is about a fortieth of the height, as a person's detail is."""
    return max(1, round(height / 40) // 2)


def apply_changes(images_N3HW: Tensor, changes_NK: Tensor) -> Tensor:
    """Change the pixels of each crop as drawn, on the device of the images.

    The definition, as a loop over crops, in float32::

        x = crop, mirrored left to right if FLIP
        x[:, i, j] = x[:, i - DOWN, j - RIGHT] if that is inside else 0
        x = filters.jitter(x, BRIGHTNESS, CONTRAST, SATURATION, HUE)   # in this order; torchvision draws it
        x = filters.grey(x) if GREY
        x = filters.blur(x, SIGMA) if SIGMA > 0
        x[:, TOP : TOP + ROWS, LEFT : LEFT + COLUMNS] = ERASED_COLOUR
        result = round(x)

    Levels are rounded once, at the end. The result for a crop depends neither on the other crops nor on their number,
    to the last bit; a crop that nothing happens to comes back as it is.

    Args:
        images_N3HW: uint8, on any device; left as they are.
        changes_NK: From `draw_changes`. Best on the CPU: which crops an operation needs is decided there, so the other
            crops cost nothing and the device is not waited for. From a device they are fetched first, which waits.

    Returns:
        uint8 [N, 3, H, W].

    Raises:
        ValueError: If shapes or types do not fit, or the crops are too small for the blur.
    """
    if images_N3HW.dtype != torch.uint8 or images_N3HW.ndim != 4 or images_N3HW.shape[1] != 3:
        raise ValueError(f"images must be uint8 [N, 3, H, W], got {images_N3HW.dtype} {list(images_N3HW.shape)}")
    if changes_NK.shape != (len(images_N3HW), CHANGES):
        raise ValueError(f"{len(images_N3HW)} crops need changes [N, {CHANGES}], got {list(changes_NK.shape)}")
    changes_NK = changes_NK.cpu()
    result = images_N3HW.clone(memory_format=torch.contiguous_format)
    at_once = CACHED_VALUES if result.device.type == "cpu" else DEVICE_VALUES
    step = max(1, at_once // max(1, result[:1].numel()))
    for images, changes in zip(result.split(step), changes_NK.split(step), strict=True):
        is_filtered = _is_jittered(changes) | (changes[:, [Change.GREY, Change.SIGMA]] > 0).any(dim=1)
        _replace(images, changes, (changes[:, : Change.RIGHT + 1] != 0).any(dim=1), _moved)
        _replace(images, changes, is_filtered, _filtered)
        _replace(images, changes, changes[:, Change.ROWS] > 0, _erased)
    return result


def _replace(
    images_N3HW: Tensor, changes_NK: Tensor, is_changed_N: Tensor, operation: Callable[[Tensor, Tensor], Tensor]
) -> None:
    """Replace the crops that an operation is for by its result, in place. Changes are on the CPU."""
    row = is_changed_N.nonzero()[:, 0]
    if 0 < len(row) < len(images_N3HW):
        there = row.to(images_N3HW.device, non_blocking=True)
        images_N3HW.index_copy_(0, there, operation(images_N3HW.index_select(0, there), changes_NK[row]))
    elif len(row):
        images_N3HW.copy_(operation(images_N3HW, changes_NK))


def _values(changes_NK: Tensor, first: Change, last: Change, device: torch.device) -> tuple[Tensor, ...]:
    """Bring columns of changes to the images, each [N, 1, 1, 1]."""
    return changes_NK[:, first : last + 1, None, None, None].to(device, non_blocking=True).unbind(1)


def _moved(images_N3HW: Tensor, changes_NK: Tensor) -> Tensor:
    flip, down, right = _values(changes_NK, Change.FLIP, Change.RIGHT, images_N3HW.device)
    row, column = _positions(images_N3HW)
    height, width = images_N3HW.shape[2:]
    row, column = row - down, column - right
    is_inside = ((row >= 0) & (row < height)) & ((column >= 0) & (column < width))
    column = torch.where(flip > 0, width - 1 - column, column)
    source = row.clamp(0, height - 1).long() * width + column.clamp(0, width - 1).long()
    pixels = images_N3HW.flatten(2).gather(2, source.flatten(2).expand(-1, 3, -1))
    return pixels.view_as(images_N3HW).mul_(is_inside)


def _positions(images_N3HW: Tensor) -> tuple[Tensor, Tensor]:
    """Return the numbers of rows [H, 1] and of columns [W], as floats like changes."""
    row, column = (torch.arange(size, dtype=torch.float32, device=images_N3HW.device) for size in images_N3HW.shape[2:])
    return row[:, None], column


def _is_jittered(changes_NK: Tensor) -> Tensor:
    return (changes_NK[:, Change.BRIGHTNESS : Change.HUE + 1] != torch.tensor(UNJITTERED)).any(dim=1)


def _filtered(images_N3HW: Tensor, changes_NK: Tensor) -> Tensor:
    levels = images_N3HW.float()
    _replace(levels, changes_NK, _is_jittered(changes_NK), _jittered)
    _replace(levels, changes_NK, changes_NK[:, Change.GREY] > 0, lambda some, _: filters.grey(some).expand_as(some))
    _replace(levels, changes_NK, changes_NK[:, Change.SIGMA] > 0, _blurred)
    return levels.round_().to(torch.uint8)


def _jittered(levels_N3HW: Tensor, changes_NK: Tensor) -> Tensor:
    return filters.jitter(levels_N3HW, *_values(changes_NK, Change.BRIGHTNESS, Change.HUE, levels_N3HW.device))


def _blurred(levels_N3HW: Tensor, changes_NK: Tensor) -> Tensor:
    return filters.blur(levels_N3HW, changes_NK[:, Change.SIGMA], reach=_reach(levels_N3HW.shape[2]))


def _erased(images_N3HW: Tensor, changes_NK: Tensor) -> Tensor:
    device = images_N3HW.device
    top, left, rows, columns = _values(changes_NK, Change.TOP, Change.COLUMNS, device)
    row, column = _positions(images_N3HW)
    is_erased = ((row >= top) & (row < top + rows)) & ((column >= left) & (column < left + columns))
    colour = torch.tensor(ERASED_COLOUR, dtype=torch.uint8).to(device, non_blocking=True)[:, None, None]
    return torch.where(is_erased, colour, images_N3HW)


def augment(
    images: Sequence[NDArray[np.uint8]], config: AugmentConfig, height: int, width: int, rng: np.random.Generator
) -> Tensor:
    """Resize crops, RGB uint8 [h, w, 3] each, and change them on the CPU: uint8 [N, 3, height, width]."""
    changes = draw_changes(config, len(images), height=height, width=width, rng=rng)
    return apply_changes(resize(images, height, width), torch.from_numpy(changes))


def resize(images: Sequence[NDArray[np.uint8]], height: int, width: int) -> Tensor:
    """Bring crops to the input size and change nothing else: uint8 [N, 3, height, width].

    Bit for bit torchvision's resize on processors with AVX2, without the seconds that every process takes to load it.
    """
    return torch.cat([_resized(torch.from_numpy(image).permute(2, 0, 1)[None], (height, width)) for image in images])


def _resized(image_13HW: Tensor, size: tuple[int, int]) -> Tensor:
    if image_13HW.shape[2:] == size:
        return image_13HW
    return functional.interpolate(image_13HW, size, mode="bilinear", antialias=True)
