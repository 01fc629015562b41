"""Colours and blur of a batch of crops, each crop with its own strength, on any device.

Crops are grey levels in 0 to 255, float32 [N, 3, H, W], RGB. The result for a crop depends neither on the other crops
nor on their number, to the last bit. So products and sums are separate operations: whether one that does both rounds
once or twice depends on where in the batch a value stands.

Shapes: N crops, H rows, W columns, R + 1 weights of half a blur.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad


def grey(levels_N3HW: Tensor) -> Tensor:
    """Return the luma 0.2989 R + 0.587 G + 0.114 B, [N, 1, H, W]."""
    red, green, blue = levels_N3HW.split(1, dim=1)
    return red.mul(0.2989).add_(green.mul(0.587)).add_(blue.mul(0.114))


def jitter(levels_N3HW: Tensor, brightness: Tensor, contrast: Tensor, saturation: Tensor, turns: Tensor) -> Tensor:
    """Change brightness, contrast, saturation and hue, in this order.

    The definition, as a loop over crops, with ``clip`` to 0 .. 255::

        x = clip(brightness * x)
        x = clip(contrast * x + (1 - contrast) * mean(round(grey(x))))
        x = clip(saturation * x + (1 - saturation) * grey(x))
        x = turn_hue(x, turns)

    Args:
        levels_N3HW: Crops.
        brightness: Factors, [N, 1, 1, 1], >= 0; 1 changes nothing.
        contrast: The same.
        saturation: The same.
        turns: Of the hue, as in `turn_hue`.

    Returns:
        [N, 3, H, W].
    """
    levels = (levels_N3HW * brightness).clamp_(max=255)
    # Whole levels have an exact sum, in float32 over a row and in float64 over all: its order does not matter.
    total = grey(levels).round_().sum(3, keepdim=True).sum(2, keepdim=True, dtype=torch.float64)
    mean = (total / (levels.shape[2] * levels.shape[3])).float()
    levels.mul_(contrast).add_(mean * (1 - contrast)).clamp_(0, 255)
    luma = grey(levels).mul_(1 - saturation)
    levels.mul_(saturation).add_(luma).clamp_(0, 255)
    return turn_hue(levels, turns)


def turn_hue(levels_N3HW: Tensor, turns: Tensor) -> Tensor:
    """Turn the hue of HSV; value and chroma stay.

    A channel is at its lowest while the hue is within a sixth of a turn of the channel's opposite, at its highest
    beyond a third, and linear between; so the way back to RGB has no cases.

    Args:
        levels_N3HW: Crops.
        turns: [N, 1, 1, 1]; red becomes green after a third, and any whole turn changes nothing.

    Returns:
        [N, 3, H, W].
    """
    red, green, blue = levels_N3HW.split(1, dim=1)
    value = torch.maximum(torch.maximum(red, green), blue)
    lowest = torch.minimum(torch.minimum(red, green), blue)
    chroma = value - lowest
    # The hue is (green - red + blue + value - 2 lowest) / chroma sixths of a turn away from red, towards green if there
    # is more green than blue: no cases on the way from RGB either; on a CPU they took most of the time.
    away = (green + blue).sub_(red).add_(value).sub_(lowest.mul_(2)).div_(chroma.mul(6).clamp_(min=1e-9))
    hue = away.copysign_(green - blue).add_(turns)
    opposite = torch.tensor([1 / 2, 5 / 6, 1 / 6]).to(hue.device, non_blocking=True)[:, None, None]
    distance = hue - opposite
    distance.sub_(distance.round()).abs_()
    return value - distance.mul_(-6).add_(2).clamp_(0, 1).mul_(chroma)


def blur(levels_N3HW: Tensor, sigma_N: Tensor, *, reach: int) -> Tensor:
    """Convolve with a Gaussian, rows and columns alike; beyond a border the crop is mirrored about its last pixel.

    The definition, as a loop over crops and one direction::

        weight = [exp(-(r / sigma) ** 2 / 2) for r in range(-reach, reach + 1)]
        result[i] = sum(weight[r] * x[mirrored(i + r)] for r in range(-reach, reach + 1)) / sum(weight)

    Args:
        levels_N3HW: Crops.
        sigma_N: Standard deviations in pixels, > 0, on the CPU.
        reach: Pixels each way, >= 0.

    Returns:
        [N, 3, H, W].

    Raises:
        ValueError: If the crops are too small to be mirrored that far.
    """
    height, width = levels_N3HW.shape[2:]
    if min(height, width) <= reach:
        raise ValueError(f"crops of {height} x {width} pixels are too small for a blur over {reach} pixels each way")
    # In double precision and then rounded: the same weights in every batch and for every device.
    weight_NR = (torch.arange(reach + 1) / sigma_N[:, None].double()).square().div(-2).exp()
    weight_NR /= 2 * weight_NR.sum(dim=1, keepdim=True) - 1
    weights = weight_NR.float().to(levels_N3HW.device, non_blocking=True)[..., None, None, None].unbind(1)
    for dim, borders in ((2, (0, 0, reach, reach)), (3, (reach, reach, 0, 0))):
        size = levels_N3HW.shape[dim]
        padded = pad(levels_N3HW, borders, mode="reflect")
        levels_N3HW = padded.narrow(dim, reach, size) * weights[0]
        for r in range(1, reach + 1):
            both = padded.narrow(dim, reach - r, size) + padded.narrow(dim, reach + r, size)
            levels_N3HW += both.mul_(weights[r])
    return levels_N3HW
