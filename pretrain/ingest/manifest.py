"""People who already have crops enter here: a CSV with one row per crop image becomes the same clips.

Columns: ``path`` (relative ones against the CSV's folder), ``video``, ``frame`` (a whole number, from 1 as in truth
files), ``time_seconds``; optionally ``left, top, width, height`` in pixels of the video, and ``score`` in [0, 1].
"""

import csv
import io
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cluster import storage
from cluster.errors import InputError
from evaluation.datasets.images import decode_image, encode_jpeg
from pretrain.ingest.config import IngestConfig
from pretrain.ingest.extract import close_run, frame_rate, group_by_time

REQUIRED = ("path", "video", "frame", "time_seconds")
BOX = ("left", "top", "width", "height")


@dataclass(frozen=True, slots=True)
class CropRow:
    """One line of the manifest."""

    location: str
    """The crop image."""
    video: str
    """Name of the video."""
    frame: int
    """Frame number in the video."""
    time_seconds: float
    """Time in the video."""
    box: tuple[float, float, float, float] | None
    """Left, top, width, height in pixels of the video, if known."""
    score: float
    """Detector score in [0, 1]; 1 if not given."""


def read_manifest(location: str) -> list[CropRow]:
    """Read a manifest of crops.

    Raises:
        InputError: If the file or a column is missing, it has no rows, or a value cannot be used (with its line).
    """
    if not storage.exists(location):
        raise InputError(f"{location} does not exist; --crops takes a CSV with the columns {','.join(REQUIRED)}")
    table = csv.DictReader(io.StringIO(storage.read_bytes(location).decode("utf-8-sig")))
    missing = [name for name in REQUIRED if name not in (table.fieldnames or ())]
    if missing:
        raise InputError(f"{location} lacks the columns {','.join(missing)}; needed: {','.join(REQUIRED)}")
    folder = location.rsplit("/", 1)[0]
    has_boxes = all(name in (table.fieldnames or ()) for name in BOX)
    rows: list[CropRow] = []
    for line, row in enumerate(table, start=2):
        try:
            rows.append(_parse(row, folder, has_boxes))
        except (TypeError, ValueError) as error:
            raise InputError(f"{location}, line {line}: {error}") from error
    if not rows:
        raise InputError(f"{location} has no rows; one row per crop image is needed")
    return rows


def _parse(row: dict[str, Any], folder: str, has_boxes: bool) -> CropRow:
    path = row["path"] or ""
    if not path or not row["video"]:
        raise InputError("path and video must not be empty")
    absolute = path.startswith("/") or storage.is_remote(path)
    time_seconds = float(row["time_seconds"])
    if not math.isfinite(time_seconds):
        raise InputError(f"time_seconds must be finite, got {time_seconds}")
    left, top, width, height = (float(row[name]) if has_boxes else 0.0 for name in BOX)
    return CropRow(
        location=path if absolute else storage.join(folder, path),
        video=row["video"],
        frame=int(row["frame"]),
        time_seconds=time_seconds,
        box=(left, top, width, height) if has_boxes else None,
        score=float(row.get("score") or 1.0),
    )


def clips_of_crops(rows: Sequence[CropRow], config: IngestConfig) -> tuple[list[dict[str, Any]], Counter[str]]:
    """Turn the crops of one video into clips, under the same rules for people per frame and clip length.

    Rules about boxes (score, height, aspect, overlap) are not applied: whoever cut the crops has chosen them.

    Raises:
        InputError: If an image is missing or cannot be read.
    """
    counts: Counter[str] = Counter()
    by_frame: dict[int, list[CropRow]] = {}
    for row in sorted(rows, key=lambda row: (row.time_seconds, row.frame, row.location)):
        by_frame.setdefault(row.frame, []).append(row)
    kept: list[dict[str, Any]] = []
    for frame, members in by_frame.items():
        counts["frames_sampled"] += 1
        counts["boxes_detected"] += len(members)
        if not config.min_people <= len(members) <= config.max_people:
            counts["frames_few_people" if len(members) < config.min_people else "frames_many_people"] += 1
            counts["boxes_in_dropped_frames"] += len(members)
            continue
        crops = [_crop(row, config) for row in members]
        kept.append({"frame_index": frame, "time_seconds": members[0].time_seconds, "crops": crops})
    clips: list[dict[str, Any]] = []
    fps = frame_rate(row.time_seconds for row in rows)
    for run in group_by_time(kept, config.clip_seconds):
        close_run(run, rows[0].video, fps, clips, counts)
    return clips, counts


def _crop(row: CropRow, config: IngestConfig) -> dict[str, Any]:
    try:
        data = storage.read_bytes(row.location)
    except FileNotFoundError as error:
        raise InputError(f"crop image {row.location} does not exist") from error
    image = decode_image(data)
    if image is None:
        raise InputError(f"crop image {row.location} cannot be read as an image")
    height, width = image.shape[:2]
    left, top, box_width, box_height = row.box or (math.nan, math.nan, float(width), float(height))
    is_good_jpeg = data[:2] == b"\xff\xd8" and height <= config.max_crop_height
    shrunk = {"max_height": config.max_crop_height, "quality": config.jpeg_quality}
    jpeg = data if is_good_jpeg else encode_jpeg(image, **shrunk)
    return {
        "jpeg": jpeg,
        "left": left,
        "top": top,
        "width": box_width,
        "height": box_height,
        "score": row.score,
    }
