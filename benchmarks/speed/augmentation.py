"""Augmenting a batch of crops, over torchvision's transforms crop by crop."""

import statistics
import time

import numpy as np
import torch
from torchvision.transforms import v2

from pretrain.data.augment import augment
from pretrain.data.config import AugmentConfig

BUDGET = 1.0
REPEATS = 5


def per_crop(config: AugmentConfig, height: int, width: int) -> v2.Compose:
    """Return the same augmentation made of torchvision's transforms, for one crop."""
    colours = v2.ColorJitter(config.jitter, config.jitter, config.jitter, config.jitter / 4)
    kernel = max(3, round(height / 40) // 2 * 2 + 1)
    return v2.Compose(
        [
            v2.Resize((height, width), antialias=True),
            v2.RandomHorizontalFlip(config.flip_probability),
            v2.Pad(round(config.padding_pixels * height / 256)),
            v2.RandomCrop((height, width)),
            v2.RandomApply([colours], config.jitter_probability),
            v2.RandomGrayscale(config.grayscale_probability),
            v2.RandomApply([v2.GaussianBlur(kernel, (0.1, kernel / 3))], config.blur_probability),
            v2.RandomErasing(config.erasing_probability, scale=(0.02, 0.3), value=[124, 116, 104]),  # pyright: ignore[reportArgumentType] - one value per channel is allowed
        ]
    )


def batch_against_crops(count: int, height: int, width: int) -> dict[str, float]:
    """CPU time of torchvision crop by crop over ours, on one thread; crops have the input size already."""
    torch.set_num_threads(1)
    config = AugmentConfig()
    images = list(np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8))
    transform = per_crop(config, height, width)
    seconds: list[tuple[float, float]] = []
    with torch.random.fork_rng(devices=[]):
        for repeat in range(1 + REPEATS):
            torch.manual_seed(repeat)
            start = time.thread_time()
            torch.stack([transform(torch.from_numpy(image).permute(2, 0, 1)) for image in images])
            middle = time.thread_time()
            augment(images, config, height, width, np.random.default_rng(repeat))
            seconds.append((middle - start, time.thread_time() - middle))
    ratios = [crops / batch for crops, batch in seconds[1:]]  # the first warms up
    return {
        "ratio": statistics.median(ratios),
        "lowest": min(ratios),
        "highest": max(ratios),
        "milliseconds_of_ours": 1000 * statistics.median(batch for _, batch in seconds[1:]),
    }
