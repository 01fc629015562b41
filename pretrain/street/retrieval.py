"""Query and gallery crops of people whom no training video shows, named as Market-1501 names its crops.

They come from the same cameras: each test person walks past three cameras or four, among the other test people, who
hide parts of one another; frames go through the same imaging chain and the same codec; and the box that is cut out is
off by a few percent, as a detector's would be.
"""

import io
import os
from dataclasses import dataclass

import cv2
import numpy as np

from pretrain.street.cameras import make_camera
from pretrain.street.codec import read_video, write_video
from pretrain.street.config import StreetConfig, generator
from pretrain.street.people import make_person
from pretrain.street.scene import Scene, Seen
from pretrain.street.walks import retrieval_walks

STEP_SECONDS = 0.5
"""Frames of the split are so far apart."""
SPACING_SECONDS = 2.6
"""A test person comes by once in so long; with walks of about ten seconds, four are in view."""
MIN_VISIBLE = 0.5
"""A crop shows at least this fraction of the body."""
MAX_CROPS = 7
"""Crops of one person before one camera, spread evenly over the walk; two of them are queries."""
JITTER = 0.05
"""Standard deviation of each side of the box, as a fraction of its width or height."""
JPEG_QUALITY = 92
MARKET_FPS = 25
"""Names count frames at the rate of Market-1501, whatever the rate of the video: readers take time from them."""


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
    counts = [write_camera_crops(config, number, out) for number in range(1, config.cameras + 1)]
    return {split: sum(count[split] for count in counts) for split in ("query", "gallery")}


def write_camera_crops(config: StreetConfig, number: int, out: str) -> dict[str, int]:
    """Write one camera's part of the split, see `write_retrieval`."""
    first = config.identities + 1
    people = {i: make_person(config.style, config.seed, i) for i in range(first, first + config.test_identities)}
    camera = make_camera(config.style, number)
    walks = retrieval_walks(config, camera, people, spacing_seconds=SPACING_SECONDS)
    if not walks:
        return {"query": 0, "gallery": 0}
    for split in ("query", "gallery"):
        os.makedirs(os.path.join(out, split), exist_ok=True)
    end = max(walk.start_seconds + walk.seconds for walk in walks)
    scene = Scene(camera, walks, config.style, config.seed)
    begin = min(walk.start_seconds for walk in walks)
    views = [scene.frame(begin + step * STEP_SECONDS) for step in range(int((end - begin) / STEP_SECONDS) + 1)]
    stream = io.BytesIO()
    write_video(stream, (frame for frame, _ in views), size=(camera.width, camera.height), fps=config.fps)
    stream.seek(0)
    crops = _choose([seen for _, seen in views])
    counts = {"query": 0, "gallery": 0}
    for step, frame in enumerate(read_video(stream)):
        for crop in crops.get(step, []):
            stamp = round(step * STEP_SECONDS * MARKET_FPS) + 1
            name = f"{crop.identity:04d}_c{number}s1_{stamp:06d}_01.jpg"
            rng = generator(config.style, config.seed, f"jitter {number} {step}", crop.identity)
            picture = _cut(frame, crop.seen, rng)
            path = os.path.join(out, crop.split, name)
            if not cv2.imwrite(path, picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]):
                raise OSError(f"{path}: could not be written; is the disk full?")
            counts[crop.split] += 1
    return counts


def _choose(views: list[list[Seen]]) -> dict[int, list[_Crop]]:
    """Choose the crops of each person by step: evenly over the walk, the second and the last but one as queries."""
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
            split = "query" if order in queries else "gallery"
            chosen.setdefault(step, []).append(_Crop(identity, step, split, seen))
    return chosen


def _cut(frame: np.ndarray, seen: Seen, rng: np.random.Generator) -> np.ndarray:
    left, top, right, bottom = (rng.normal(0, JITTER, 4) * ([seen.width, seen.height] * 2)).tolist()
    x0, y0 = max(0, round(seen.left + left)), max(0, round(seen.top + top))
    x1 = min(frame.shape[1], round(seen.left + seen.width + right))
    y1 = min(frame.shape[0], round(seen.top + seen.height + bottom))
    return frame[y0 : max(y1, y0 + 8), x0 : max(x1, x0 + 4)]
