"""Moving things in front of a fixed camera."""

from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pretrain.ingest.decoders import Frame, Segment
from pretrain.ingest.detectors.detector import Boxes


class MotionDetector:
    """Moving things in front of a fixed camera, by OpenCV's Gaussian mixture background subtraction (MOG2).

    It learns the background from the start of each segment, shadows are removed, and blobs become boxes. Two people
    who overlap become one box; its shape mostly fails the aspect filter. The score is how full the box is, relative to
    the half that a walking person fills.
    """

    history_seconds = 12.0

    def __init__(self, *, weights: str = "", min_height: int = 0) -> None:
        """Nothing to set up: it needs neither."""

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
