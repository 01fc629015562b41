"""YOLOX from an ONNX file."""

from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from cluster import storage
from cluster.errors import InputError
from pretrain.ingest.decoders import Frame, Segment
from pretrain.ingest.detectors.detector import Boxes, suppress


class YoloxDetector:
    """A YOLOX model from an ONNX file (Ge et al., 2021), run by OpenCV; class 0 is the person.

    Expects raw outputs (no grid decoding inside the file) and letterboxed BGR input in [0, 255].
    """

    history_seconds = 0.0

    def __init__(self, *, weights: str, min_height: int = 0) -> None:
        """Read the ONNX file."""
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
