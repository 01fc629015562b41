"""Boxes that somebody else found."""

import csv
import io
from collections.abc import Iterable

import numpy as np

from cluster import storage
from cluster.errors import InputError
from pretrain.ingest.decoders import Frame, Segment
from pretrain.ingest.detectors.detector import Boxes


class SidecarDetector:
    """Boxes that somebody else found: `NAME.gt.csv` beside `NAME.mp4`, frames counted from 1, score optional."""

    history_seconds = 0.0

    def __init__(self, *, weights: str = "", min_height: int = 0) -> None:
        """Nothing to read before the first video."""
        self._video = ""
        self._boxes: dict[int, list[tuple[float, ...]]] = {}

    def begin(self, segment: Segment, history: Iterable[Frame]) -> None:
        """Read the video's file once."""
        if segment.location != self._video:
            self._boxes = read_sidecar(sidecar_of(segment.location))
            self._video = segment.location

    def detect(self, frame: Frame) -> Boxes:
        """Return the file's boxes of this frame."""
        rows = self._boxes.get(frame.index, [])
        return np.asarray(rows, dtype=np.float32).reshape(-1, 5)


def sidecar_of(video: str) -> str:
    """Return where the boxes of a video are looked for."""
    return video.rsplit(".", 1)[0] + ".gt.csv"


def read_sidecar(location: str) -> dict[int, list[tuple[float, ...]]]:
    """Read a sidecar file: frame number to (left, top, width, height, score).

    Raises:
        InputError: If the file or one of its columns is missing, or a value is no number.
    """
    try:
        text = storage.read_bytes(location).decode("utf-8-sig")
    except FileNotFoundError as error:
        raise InputError(f"detector boxes needs {storage.name_of(location)} beside the video") from error
    rows = csv.DictReader(io.StringIO(text))
    missing = {"frame", "left", "top", "width", "height"} - set(rows.fieldnames or ())
    if missing:
        raise InputError(f"{location} lacks the columns {sorted(missing)}; needed: frame,left,top,width,height[,score]")
    boxes: dict[int, list[tuple[float, ...]]] = {}
    for line, row in enumerate(rows, start=2):
        try:
            box = tuple(float(row[name]) for name in ("left", "top", "width", "height"))
            boxes.setdefault(int(row["frame"]), []).append((*box, float(row.get("score") or 1.0)))
        except (TypeError, ValueError) as error:
            raise InputError(f"{location}, line {line}: not a row of numbers: {row}") from error
    return boxes
