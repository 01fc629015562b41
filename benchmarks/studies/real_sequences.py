"""Real sequences for the reliability study: clips by a real detector, and retrieval over time from the true boxes.

The people of the retrieval split are those of the clips: what is learned needs no labels, so nothing is given away but
their looks. A camera of the split is a block of time: a query finds its person in other blocks, seconds away.
"""

import os

import cv2

from cluster import storage
from pretrain.data.truth import read_truth
from pretrain.ingest.config import IngestConfig
from pretrain.ingest.crops import intersection_over_union
from pretrain.ingest.decoders import PyAvDecoder, probe, split

VIDEOS = ("PETS09-S2L1", "MOT16-09")
BLOCK_SECONDS, SHOWN_SECONDS, STEP_SECONDS = 4.0, 1.5, 0.5
"""Of each block, its first part is shown, a crop of a person at each step: blocks are at least the rest apart."""
MIN_HEIGHT, MAX_OVERLAP = 64, 0.3
"""Boxes that are lower, or overlap another one more, are not shown."""


def real_ingest(data: str) -> IngestConfig:
    """Return how the clips are cut: by the detector beside the videos, every frame."""
    weights = storage.join(data, "yolox_nano.onnx")
    return IngestConfig(
        detector="yolox", detector_weights=weights, stride=1, clip_seconds=3.0, min_height=48, min_score=0.3
    )


def copy_of(data: str, out: str) -> None:
    """Write the sequences' retrieval split and ``truth.csv`` into a local folder, with the videos, as a street has."""
    lines = ["video,frame,identity,left,top,width,height"]
    for number, name in enumerate(VIDEOS, start=1):
        for folder in ("query", "gallery"):
            os.makedirs(f"{out}/{folder}", exist_ok=True)
        storage.write_bytes(f"{out}/{name}.mp4", storage.read_bytes(f"{data}/{name}.mp4"))
        rows = storage.read_bytes(f"{data}/{name}.gt.csv").decode().split()[1:]
        lines += [f"{name}.mp4,{row}" for row in rows]
        _write_crops(f"{out}/{name}.mp4", f"{data}/{name}.gt.csv", out, first_identity=1000 * number)
    storage.write_bytes(f"{out}/truth.csv", "\n".join(lines).encode())


def _write_crops(video: str, truth: str, out: str, *, first_identity: int) -> None:
    people = read_truth(truth)[""]
    shown: dict[tuple[int, int], int] = {}
    last = -STEP_SECONDS
    [segment] = split("video", video, probe(video), 1e9)
    for frame in PyAvDecoder().frames(segment, stride=1):
        block, within = divmod(frame.time_seconds, BLOCK_SECONDS)
        there = people.get(frame.index)
        if within > SHOWN_SECONDS or frame.time_seconds < last + STEP_SECONDS or there is None:
            continue
        last = frame.time_seconds
        overlap = intersection_over_union(there.boxes, there.boxes)
        for row, (identity, box) in enumerate(zip(there.identities.tolist(), there.boxes.tolist(), strict=True)):
            hidden = max((value for other, value in enumerate(overlap[row]) if other != row), default=0.0)
            if box[3] < MIN_HEIGHT or hidden > MAX_OVERLAP:
                continue
            before = shown.get((int(block), identity), 0)
            shown[int(block), identity] = before + 1
            left, top, right, bottom = (max(0, round(v)) for v in (box[0], box[1], box[0] + box[2], box[1] + box[3]))
            crop = cv2.cvtColor(frame.image[top:bottom, left:right], cv2.COLOR_RGB2BGR)
            folder = "gallery" if before else "query"
            cv2.imwrite(
                f"{out}/{folder}/{first_identity + identity:04d}_c{int(block) + 1}s1_{frame.index:06d}.jpg", crop
            )
