"""People detectors behind one small protocol: a frame in, boxes with scores out.

Every detector is told about a segment before its first frame, because a background model has to see the scene first
and a sidecar file belongs to one video.
"""

import csv
import io
from collections.abc import Iterable
from typing import Any, Literal, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from cluster import storage
from cluster.errors import InputError
from pretrain.ingest.decoders import Frame, Segment

Boxes = NDArray[np.float32]
"""float32 [N, 5]: left, top, width, height in pixels, and a score in [0, 1]."""

NO_BOXES: Boxes = np.zeros((0, 5), dtype=np.float32)


class Detector(Protocol):
    """Finds people in the frames of one segment after another."""

    history_seconds: float
    """How much of a segment `begin` wants to look at before the first frame."""

    def begin(self, segment: Segment, history: Iterable[Frame]) -> None:
        """Get ready for a segment.

        Args:
            segment: What comes next.
            history: The sampled frames of the segment's first `history_seconds`.

        Raises:
            InputError: If the segment cannot be served (no sidecar file, say).
        """
        ...

    def detect(self, frame: Frame) -> Boxes:
        """Return the boxes of a frame."""
        ...


class MotionDetector:
    """Moving things in front of a fixed camera, by OpenCV's Gaussian mixture background subtraction (MOG2).

    It learns the background from the start of each segment, shadows are removed, and blobs become boxes. Two people
    who overlap become one box; its shape mostly fails the aspect filter. The score is how full the box is, relative to
    the half that a walking person fills.
    """

    history_seconds = 12.0

    def begin(self, segment: Segment, history: Iterable[Frame]) -> None:
        """Learn the background from the segment's first seconds."""
        self._subtractor = cv2.createBackgroundSubtractorMOG2(history=150, varThreshold=12, detectShadows=True)
        for frame in history:
            self._subtractor.apply(_smooth(frame.image))

    def detect(self, frame: Frame) -> Boxes:
        """Return one box for each blob that differs from the background."""
        foreground = self._subtractor.apply(_smooth(frame.image))
        mask = np.where(foreground == 255, np.uint8(255), np.uint8(0))
        height = mask.shape[0]
        speck = max(2, height // 160)
        mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((speck, speck), np.uint8))
        # People break apart at the belt and the neck more than they join sideways: close along the vertical.
        closing = np.ones((max(5, height // 24), max(3, height // 120)), np.uint8)
        mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, closing)
        _, _, stats, _ = cv2.connectedComponentsWithStats(mask)
        blobs = stats[1:]
        boxes = np.zeros((len(blobs), 5), dtype=np.float32)
        boxes[:, :4] = blobs[:, :4]
        area = np.maximum(blobs[:, cv2.CC_STAT_WIDTH] * blobs[:, cv2.CC_STAT_HEIGHT], 1)
        boxes[:, 4] = np.minimum(1.0, blobs[:, cv2.CC_STAT_AREA] / area / 0.5)
        return boxes[blobs[:, cv2.CC_STAT_HEIGHT] >= height / 20]


def _smooth(image: NDArray[np.uint8]) -> NDArray[Any]:
    """Take out the sensor noise, so that a lower threshold finds clothes that look like the background."""
    return cv2.GaussianBlur(image, (5, 5), 0)


class HogDetector:
    """OpenCV's built-in HOG + linear SVM people detector (Dalal and Triggs, 2005): no weights to fetch, and slow.

    Its window is 64x128 pixels with a margin around the person, so the frame is enlarged until the smallest wanted
    person fits the window, and the margin is cut off the boxes.
    """

    history_seconds = 0.0

    def __init__(self, min_height: int) -> None:
        self._hog = cv2.HOGDescriptor()
        self._hog.setSVMDetector(cv2.HOGDescriptor.getDefaultPeopleDetector())  # type: ignore[attr-defined]
        self._scale = max(1.0, 96.0 / min_height)

    def begin(self, segment: Segment, history: Iterable[Frame]) -> None:
        """Nothing to learn."""

    def detect(self, frame: Frame) -> Boxes:
        """Return boxes whose score is the logistic function of twice the SVM's margin."""
        image = cv2.resize(frame.image, None, fx=self._scale, fy=self._scale)
        found, margins = self._hog.detectMultiScale(image, winStride=(8, 8), padding=(8, 8), scale=1.05)
        if not len(found):
            return NO_BOXES
        boxes = np.zeros((len(found), 5), dtype=np.float32)
        windows = np.asarray(found, dtype=np.float32) / self._scale
        cut = np.array([0.2, 0.1, -0.4, -0.2], dtype=np.float32) * windows[:, [2, 3, 2, 3]]
        boxes[:, :4] = windows + cut
        boxes[:, 4] = 1.0 / (1.0 + np.exp(-2.0 * np.ravel(margins)))
        return suppress(boxes, max_overlap=0.4)


class YoloxDetector:
    """A YOLOX model from an ONNX file (Ge et al., 2021), run by OpenCV; class 0 is the person.

    Expects raw outputs (no grid decoding inside the file) and letterboxed BGR input in [0, 255].
    """

    history_seconds = 0.0

    def __init__(self, weights: str) -> None:
        with storage.local_copy(weights) as path:
            try:
                self._network: Any = cv2.dnn.readNetFromONNX(path)
            except cv2.error as error:
                raise InputError(
                    f"{weights} cannot be read as an ONNX model; give the file of a YOLOX model"
                ) from error
        self._size = 416
        self._grid, self._stride = _yolox_grid(self._size)

    def begin(self, segment: Segment, history: Iterable[Frame]) -> None:
        """Nothing to learn."""

    def detect(self, frame: Frame) -> Boxes:
        """Return boxes scored by objectness times the probability of a person."""
        height, width = frame.image.shape[:2]
        scale = min(self._size / height, self._size / width)
        canvas = np.full((self._size, self._size, 3), 114, dtype=np.uint8)
        small = cv2.resize(frame.image, (round(width * scale), round(height * scale)))
        canvas[: small.shape[0], : small.shape[1]] = small[:, :, ::-1]
        self._network.setInput(np.ascontiguousarray(canvas.transpose(2, 0, 1)[None].astype(np.float32)))
        output = self._network.forward()[0]
        if len(output) != len(self._grid):
            raise InputError(
                f"the YOLOX file gives {len(output)} cells for a 416x416 input, expected {len(self._grid)}"
            )
        centre = (output[:, :2] + self._grid) * self._stride / scale
        size = np.exp(output[:, 2:4]) * self._stride / scale
        score = output[:, 4] * output[:, 5]
        boxes = np.concatenate([centre - size / 2, size, score[:, None]], axis=1).astype(np.float32)
        return suppress(boxes[score > 0.05], max_overlap=0.5)


def _yolox_grid(size: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Cell corners [A, 2] and strides [A, 1] of YOLOX's three output levels, in the order of its rows."""
    cells: list[NDArray[Any]] = []
    strides: list[NDArray[Any]] = []
    for stride in (8, 16, 32):
        count = size // stride
        y, x = np.meshgrid(np.arange(count), np.arange(count), indexing="ij")
        cells.append(np.stack([x.ravel(), y.ravel()], axis=1))
        strides.append(np.full((count * count, 1), stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(strides).astype(np.float32)


class SidecarDetector:
    """Boxes that somebody else found: `NAME.gt.csv` beside `NAME.mp4`, frames counted from 1, score optional."""

    history_seconds = 0.0

    def __init__(self) -> None:
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


def suppress(boxes: Boxes, *, max_overlap: float) -> Boxes:
    """Keep the best-scored of boxes that overlap (non-maximum suppression at an IoU)."""
    if not len(boxes):
        return NO_BOXES
    kept = cv2.dnn.NMSBoxes(boxes[:, :4].tolist(), boxes[:, 4].tolist(), 0.0, max_overlap)
    return boxes[np.asarray(kept, dtype=np.int64).ravel()]


def make_detector(name: Literal["motion", "hog", "yolox", "boxes"], *, weights: str, min_height: int) -> Detector:
    """Make a detector by name."""
    if name == "motion":
        return MotionDetector()
    if name == "hog":
        return HogDetector(min_height)
    if name == "yolox":
        return YoloxDetector(weights)
    return SidecarDetector()
