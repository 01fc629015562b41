"""People detectors behind one small protocol: a frame in, boxes with scores out.

Every detector is told about a segment before its first frame, because a background model has to see the scene first
and a sidecar file belongs to one video.
"""

from collections.abc import Iterable
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from pretrain.ingest.decoders import Frame, Segment
from pretrain.ingest.detectors.table import DETECTORS

Boxes = NDArray[np.float32]
"""float32 [N, 5]: left, top, width, height in pixels, and a score in [0, 1]."""

NO_BOXES: Boxes = np.zeros((0, 5), dtype=np.float32)


class Detector(Protocol):
    """Finds people in the frames of one segment after another.

    A class of the table is called with ``weights``, the location of its file or an empty text, and ``min_height``, of
    the smallest wanted person in pixels; what it has no use for it leaves alone.
    """

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


def suppress(boxes: Boxes, *, max_overlap: float) -> Boxes:
    """Keep the best-scored of boxes that overlap (non-maximum suppression at an IoU)."""
    if not len(boxes):
        return NO_BOXES
    kept = cv2.dnn.NMSBoxes(boxes[:, :4].tolist(), boxes[:, 4].tolist(), 0.0, max_overlap)
    return boxes[np.asarray(kept, dtype=np.int64).ravel()]


def make_detector(name: str, *, weights: str, min_height: int) -> Detector:
    """Make a detector by name.

    Raises:
        InputError: If there is no such detector, or its weights cannot be read.
    """
    return DETECTORS.load(name)(weights=weights, min_height=min_height)
