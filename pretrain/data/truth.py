"""Who really is in a frame: true boxes, and to whom a mined box belongs.

Shape legend: B boxes of a frame.
"""

import csv
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cluster import storage
from cluster.errors import InputError
from pretrain.ingest.crops import intersection_over_union

MIN_OVERLAP = 0.5
"""A mined crop belongs to the true box that it overlaps most, if the IoU is at least this."""
NOBODY = -1
"""Identity of a crop that belongs to no true box."""


@dataclass(frozen=True, slots=True)
class TrueFrame:
    """Who really is in a frame."""

    identities: NDArray[np.int64]
    """[B]."""
    boxes: NDArray[np.float64]
    """[B, 4] left, top, width, height in pixels."""


def read_truth(location: str) -> dict[str, dict[int, TrueFrame]]:
    """Read true boxes: by video name (empty if the file has no column ``video``), then by frame number from 1.

    Raises:
        InputError: If the file or a column is missing, or a value is no number.
    """
    if not storage.exists(location):
        raise InputError(f"{location} does not exist; --truth takes a CSV with frame,identity,left,top,width,height")
    table = csv.DictReader(io.StringIO(storage.read_bytes(location).decode("utf-8-sig")))
    columns = ("frame", "identity", "left", "top", "width", "height")
    missing = [name for name in columns if name not in (table.fieldnames or ())]
    if missing:
        raise InputError(f"{location} lacks the columns {','.join(missing)}; needed: [video,]{','.join(columns)}")
    rows: dict[tuple[str, int], list[tuple[float, ...]]] = {}
    for line, row in enumerate(table, start=2):
        try:
            values = tuple(float(row[name]) for name in columns[1:])
            rows.setdefault((row.get("video") or "", int(row["frame"])), []).append(values)
        except (TypeError, ValueError) as error:
            raise InputError(f"{location}, line {line}: not a row of numbers: {row}") from error
    truth: dict[str, dict[int, TrueFrame]] = {}
    for (video, frame), members in rows.items():
        array = np.array(members)
        truth.setdefault(video, {})[frame] = TrueFrame(array[:, 0].astype(np.int64), array[:, 1:])
    return truth


def truth_of_video(truth: dict[str, dict[int, TrueFrame]], video_id: str) -> dict[int, TrueFrame]:
    """Find a video's truth by its id, its file name, or its name without the ending.

    Raises:
        InputError: If the file names videos and this one is not among them.
    """
    name = video_id.rsplit("/", 1)[-1]
    for key in (video_id, name, name.rsplit(".", 1)[0], ""):
        if key in truth:
            return truth[key]
    raise InputError(f"the truth has no video {video_id!r}; it has: {', '.join(sorted(truth)[:5])}")


def assign_identities(boxes: NDArray[np.float64], frame: TrueFrame | None) -> NDArray[np.int64]:
    """Give each mined box the identity of the true box that it overlaps most, `NOBODY` below `MIN_OVERLAP`."""
    if frame is None or not len(boxes):
        return np.full(len(boxes), NOBODY, dtype=np.int64)
    overlap = intersection_over_union(boxes, frame.boxes)
    best = overlap.argmax(axis=1)
    return np.where(overlap[np.arange(len(boxes)), best] >= MIN_OVERLAP, frame.identities[best], NOBODY)


def has_boxes(frame: dict[str, Any]) -> bool:
    """Say whether it is known where the crops of a clip's frame were."""
    return not any(np.isnan(crop["left"]) for crop in frame["crops"])


def boxes_of(frame: dict[str, Any]) -> NDArray[np.float64]:
    """Return the boxes of a clip's frame, [B, 4] left, top, width, height in pixels.

    Raises:
        InputError: If the clips were made from crops without boxes.
    """
    if not has_boxes(frame):
        raise InputError(
            "these clips were made from crops without boxes, which audit and --loss.reliability track need; "
            "give left,top,width,height in the manifest, or choose another reliability"
        )
    return np.array(
        [[crop[name] for name in ("left", "top", "width", "height")] for crop in frame["crops"]], dtype=np.float64
    )
