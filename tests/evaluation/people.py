"""A small benchmark in Market-1501's layout: plain figures whose colours a histogram half recognises."""

from pathlib import Path

import cv2
import numpy as np


def write_market(folder: Path, *, num_identities: int = 6, num_cameras: int = 3, seed: int = 0) -> None:
    """Write one image per identity and camera (camera 1 into query/), two distractors and one junk image."""
    rng = np.random.default_rng(seed)
    colours = rng.integers(40, 216, (num_identities + 1, 3))
    for identity in range(num_identities + 1):
        for camera in range(1, num_cameras + 1):
            part = "query" if camera == 1 and identity else "bounding_box_test"
            _write(folder / part / f"{identity:04d}_c{camera}s1_{camera:06d}_00.jpg", colours[identity], rng)
    _write(folder / "bounding_box_test" / "-1_c1s1_000001_00.jpg", colours[1], rng)


def _write(path, colour, rng):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = colour + rng.integers(-25, 26, 3) + rng.normal(0, 20, (48, 24, 3))
    cv2.imwrite(str(path), np.clip(pixels, 0, 255).astype(np.uint8))
