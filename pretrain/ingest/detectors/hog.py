"""OpenCV's own people detector."""

from collections.abc import Iterable

import cv2
import numpy as np

from pretrain.ingest.decoders import Frame, Segment
from pretrain.ingest.detectors.detector import NO_BOXES, Boxes, suppress


class HogDetector:
    """OpenCV's built-in HOG + linear SVM people detector (Dalal and Triggs, 2005): no weights to fetch, and slow.

    Its window is 64x128 pixels with a margin around the person, so the frame is enlarged until the smallest wanted
    person fits the window, and the margin is cut off the boxes.
    """

    history_seconds = 0.0

    def __init__(self, *, weights: str = "", min_height: int) -> None:
        """Set up; its weights come with OpenCV."""
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
