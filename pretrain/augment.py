"""What a training crop goes through, each crop on its own (specification ISR 1.7.1)."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms import v2

from pretrain.config import AugmentConfig


def make_transform(config: AugmentConfig, height: int, width: int) -> v2.Compose:
    """Make the augmentation: uint8 RGB [3, h, w] of any size to uint8 [3, height, width]."""
    padding = round(config.padding_pixels * height / 256)
    colours = v2.ColorJitter(config.jitter, config.jitter, config.jitter, config.jitter / 4)
    # A kernel of a fortieth of the height, as a person's detail scales with the crop.
    kernel = max(3, round(height / 40) // 2 * 2 + 1)
    return v2.Compose(
        [
            v2.Resize((height, width), antialias=True),
            v2.RandomHorizontalFlip(config.flip_probability),
            v2.Pad(padding),
            v2.RandomCrop((height, width)),
            v2.RandomApply([colours], config.jitter_probability),
            v2.RandomGrayscale(config.grayscale_probability),
            v2.RandomApply([v2.GaussianBlur(kernel, (0.1, kernel / 3))], config.blur_probability),
            v2.RandomErasing(config.erasing_probability, scale=(0.02, 0.3), value=[124, 116, 104]),  # pyright: ignore[reportArgumentType] - one value per channel is allowed
        ]
    )


def augment(images: Sequence[NDArray[np.uint8]], transform: v2.Compose, rng: np.random.Generator) -> Tensor:
    """Augment crops independently; the result depends on the generator alone, not on the process.

    Args:
        images: RGB, uint8 [h, w, 3] each.
        transform: From `make_transform`.
        rng: Source of all randomness; the global generator of torch stays as it was.

    Returns:
        uint8 [N, 3, height, width].
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**63)))
        return torch.stack([transform(torch.from_numpy(image).permute(2, 0, 1)) for image in images])


def resize(images: Sequence[NDArray[np.uint8]], height: int, width: int) -> Tensor:
    """Bring crops to the input size and change nothing else: uint8 [N, 3, height, width]."""
    transform = v2.Resize((height, width), antialias=True)
    return torch.stack([transform(torch.from_numpy(image).permute(2, 0, 1)) for image in images])
