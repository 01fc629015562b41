"""Small labelled datasets: coloured rectangles for people, with a tint that makes a domain."""

from pathlib import Path

import cv2
import numpy as np


def write_people(folder: Path, *, tint: tuple[float, float, float] = (1.0, 1.0, 1.0), people: int = 6, seed: int = 0):
    """Write a folder of Market-1501's layout: training people, and others as queries and gallery, two cameras."""
    rng = np.random.default_rng(seed)
    for split, first in (("bounding_box_train", 1), ("query", 101), ("gallery", 101)):
        target = folder / split
        target.mkdir(parents=True, exist_ok=True)
        for identity in range(first, first + people):
            colours = np.random.default_rng((seed, identity)).integers(40, 255, (2, 3))
            for camera in (1, 2):
                for shot in range(1 if split == "query" else 2):
                    image = np.full((32, 16, 3), 90, np.uint8)
                    image[4:16, 3:13] = colours[0]
                    image[16:30, 4:12] = colours[1]
                    noisy = image * np.array(tint) + rng.normal(0, 12, image.shape)
                    name = f"{identity:04d}_c{camera}s1_{100 * camera + shot:06d}_01.png"
                    cv2.imwrite(str(target / name), np.clip(noisy, 0, 255).astype(np.uint8))
    return folder
