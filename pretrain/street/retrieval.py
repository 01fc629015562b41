"""Labelled crops of people whom no video shows, named as Market-1501 names its crops, in its folders.

Two parts: ``test`` is the retrieval split, query and gallery; ``train`` shows other people, for learning with labels.
Both come from the cameras of the videos: each person of a part walks past three cameras or four, among the others of
that part, who hide parts of one another; frames go through the same imaging chain and the same codec; and the box that
is cut out is off by a few percent, as a detector's would be.
"""

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from pretrain.street.cameras import make_camera
from pretrain.street.codec import read_video, write_video
from pretrain.street.config import StreetConfig, generator
from pretrain.street.people import make_person
from pretrain.street.scene import Scene, Seen
from pretrain.street.walks import retrieval_walks

STEP_SECONDS = 0.5
"""Frames of a part are so far apart."""
SPACING_SECONDS = 2.6
"""A person of the part comes by once in so long; with walks of about ten seconds, four are in view."""
MIN_VISIBLE = 0.5
"""A crop shows at least this fraction of the body."""
MAX_CROPS = 7
"""Crops of one person before one camera, spread evenly over the walk; of a test person two are queries."""
JITTER = 0.05
"""Standard deviation of each side of the box, as a fraction of its width or height."""
JPEG_QUALITY = 92
MARKET_FPS = 25
"""Names count frames at the rate of Market-1501, whatever the rate of the video: readers take time from them."""

Part = Literal["test", "train"]
FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "gallery"}
"""Split to folder; `evaluation.datasets.market` reads them."""
SPLITS: dict[Part, tuple[str, ...]] = {"test": ("query", "gallery"), "train": ("train",)}


@dataclass(frozen=True, slots=True)
class _Crop:
    identity: int
    step: int
    split: str
    seen: Seen


def write_retrieval(config: StreetConfig, out: str) -> dict[str, int]:
    """Write the retrieval split alone, into ``query/`` and ``gallery/`` below a local folder.

    Returns:
        The number of files: ``query`` and ``gallery``.
    """
    counts = [write_camera_crops(config, number, out, "test") for number in range(1, config.cameras + 1)]
    return {split: sum(count[split] for count in counts) for split in SPLITS["test"]}


def write_camera_crops(config: StreetConfig, number: int, out: str, part: Part) -> dict[str, int]:
    """Write what one camera shows of a part into `FOLDERS` below ``out``; return the number of files of each split."""
    numbers = config.train_people if part == "train" else config.test_people
    people = {i: make_person(config.style, config.seed, i) for i in numbers}
    camera = make_camera(config.style, number)
    walks = retrieval_walks(config, camera, people, spacing_seconds=SPACING_SECONDS, part=part)
    counts = dict.fromkeys(SPLITS[part], 0)
    if not walks:
        return counts
    for split in counts:
        os.makedirs(os.path.join(out, FOLDERS[split]), exist_ok=True)
    end = max(walk.start_seconds + walk.seconds for walk in walks)
    scene = Scene(camera, walks, config.style, config.seed)
    begin = min(walk.start_seconds for walk in walks)
    views: list[list[Seen]] = []

    def frames() -> Iterator[np.ndarray]:
        for step in range(int((end - begin) / STEP_SECONDS) + 1):
            frame, seen = scene.frame(begin + step * STEP_SECONDS)
            views.append(seen)
            yield frame

    stream = io.BytesIO()
    write_video(stream, frames(), size=(camera.width, camera.height), fps=config.fps)
    stream.seek(0)
    crops = _choose(views, part)
    for step, frame in enumerate(read_video(stream)):
        for crop in crops.get(step, []):
            stamp = round(step * STEP_SECONDS * MARKET_FPS) + 1
            name = f"{crop.identity:04d}_c{number}s1_{stamp:06d}_01.jpg"
            rng = generator(config.style, config.seed, f"jitter {number} {step}", crop.identity)
            picture = _cut(frame, crop.seen, rng)
            path = os.path.join(out, FOLDERS[crop.split], name)
            if not cv2.imwrite(path, picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]):
                raise OSError(f"{path}: could not be written; is the disk full?")
            counts[crop.split] += 1
    return counts


def _choose(views: list[list[Seen]], part: Part) -> dict[int, list[_Crop]]:
    """Choose the crops of each person by step: evenly over the walk.

    In ``test``, the second and the last but one are queries.
    """
    candidates: dict[int, list[tuple[int, Seen]]] = {}
    for step, people in enumerate(views):
        for seen in people:
            if seen.visible >= MIN_VISIBLE:
                candidates.setdefault(seen.identity, []).append((step, seen))
    chosen: dict[int, list[_Crop]] = {}
    for identity, found in candidates.items():
        count = min(MAX_CROPS, len(found))
        picks = np.unique(np.linspace(0, len(found) - 1, count).round().astype(int)).tolist()
        queries = {1, count - 2} if count >= 4 else {0}
        for order, pick in enumerate(picks):
            step, seen = found[pick]
            split = "train" if part == "train" else "query" if order in queries else "gallery"
            chosen.setdefault(step, []).append(_Crop(identity, step, split, seen))
    return chosen


def _cut(frame: np.ndarray, seen: Seen, rng: np.random.Generator) -> np.ndarray:
    left, top, right, bottom = (rng.normal(0, JITTER, 4) * ([seen.width, seen.height] * 2)).tolist()
    x0, y0 = max(0, round(seen.left + left)), max(0, round(seen.top + top))
    x1 = min(frame.shape[1], round(seen.left + seen.width + right))
    y1 = min(frame.shape[0], round(seen.top + seen.height + bottom))
    return frame[y0 : max(y1, y0 + 8), x0 : max(x1, x0 + 4)]
