"""Which boxes are worth keeping, and the cutting of them."""

from collections import Counter
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from evaluation.datasets.images import encode_jpeg
from pretrain.ingest.config import IngestConfig
from pretrain.ingest.detectors.detector import Boxes


def intersection_over_union(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.float64]:
    """IoU of every box of one set with every box of another.

    Args:
        first: [N, >=4] left, top, width, height in pixels.
        second: [M, >=4] likewise.

    Returns:
        float64 [N, M] in [0, 1]; 0 where both boxes have no area.
    """
    a, b = np.asarray(first, dtype=np.float64)[:, None, :4], np.asarray(second, dtype=np.float64)[None, :, :4]
    corner = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    overlap = np.clip(corner - np.maximum(a[..., :2], b[..., :2]), 0, None).prod(axis=-1)
    union = a[..., 2:].prod(axis=-1) + b[..., 2:].prod(axis=-1) - overlap
    return np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0)


def clip_to_image(boxes: Boxes, height: int, width: int) -> Boxes:
    """Cut boxes at the image border; a box outside keeps no area."""
    left = np.clip(boxes[:, 0], 0, width)
    top = np.clip(boxes[:, 1], 0, height)
    right = np.clip(boxes[:, 0] + boxes[:, 2], 0, width)
    bottom = np.clip(boxes[:, 1] + boxes[:, 3], 0, height)
    return np.stack([left, top, right - left, bottom - top, boxes[:, 4]], axis=1).astype(np.float32)


def filter_boxes(boxes: Boxes, config: IngestConfig) -> tuple[Boxes, Counter[str]]:
    """Keep boxes that look like one whole person, and count the others by reason.

    The overlap rule looks at the boxes that passed the other rules, and drops both of a pair: neither shows one person.

    Returns:
        The kept boxes, and how many were dropped as ``score``, ``height``, ``aspect`` or ``overlap``.
    """
    dropped: Counter[str] = Counter()
    aspect = boxes[:, 3] / np.maximum(boxes[:, 2], 1e-6)
    is_kept = np.ones(len(boxes), dtype=np.bool_)
    for reason, keep in (
        ("score", boxes[:, 4] >= config.min_score),
        ("height", boxes[:, 3] >= config.min_height),
        ("aspect", (aspect >= config.min_aspect) & (aspect <= config.max_aspect)),
    ):
        dropped[reason] = int((is_kept & ~keep).sum())
        is_kept &= keep
    boxes = boxes[is_kept]
    overlap = intersection_over_union(boxes, boxes)
    np.fill_diagonal(overlap, 0)
    crowded = (overlap > config.max_overlap).any(axis=1)
    dropped["overlap"] = int(crowded.sum())
    return boxes[~crowded], dropped


def cut(image: NDArray[np.uint8], boxes: Boxes, config: IngestConfig) -> list[dict[str, Any]]:
    """Cut boxes out of a frame and compress them.

    Args:
        image: RGB, uint8 [H, W, 3].
        boxes: Boxes inside the image.
        config: Gives the largest height that is stored and the JPEG quality.

    Returns:
        One ``{jpeg, left, top, width, height, score}`` for each box; the box stays in pixels of the frame.
    """
    crops: list[dict[str, Any]] = []
    for left, top, width, height, score in boxes.tolist():
        x, y = int(left), int(top)
        crop = image[y : max(y + 1, round(top + height)), x : max(x + 1, round(left + width))]
        crops.append(
            {
                "jpeg": encode_jpeg(crop, max_height=config.max_crop_height, quality=config.jpeg_quality),
                "left": left,
                "top": top,
                "width": width,
                "height": height,
                "score": score,
            }
        )
    return crops


def cut_distance(previous: NDArray[np.uint8], current: NDArray[np.uint8]) -> float:
    """How different two frames' colours are: Bhattacharyya distance of hue-saturation-value histograms, in [0, 1]."""
    histograms = []
    for image in (previous, current):
        # Every k-th pixel has the same colours as all of them; averaging all would cost a fifth of the ingestion.
        small = image[:: max(1, image.shape[0] // 64), :: max(1, image.shape[1] // 64)]
        hsv = cv2.cvtColor(np.ascontiguousarray(small), cv2.COLOR_RGB2HSV)
        histogram = cv2.calcHist([hsv], [0, 1, 2], None, [8, 4, 4], [0, 180, 0, 256, 0, 256])
        histograms.append(histogram / histogram.sum())
    return float(cv2.compareHist(histograms[0], histograms[1], cv2.HISTCMP_BHATTACHARYYA))
