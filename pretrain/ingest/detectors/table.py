"""The detectors by name: the one list that the configuration and the command line know."""

from typing import Any

from cluster.extensions import Entry, Table

_HERE = "pretrain.ingest.detectors"


def _is_detector(found: Any) -> bool:
    return callable(found) and all(callable(getattr(found, name, None)) for name in ("begin", "detect"))


DETECTORS: Table = Table(
    "detector",
    {
        "motion": f"{_HERE}.motion:MotionDetector",
        "hog": f"{_HERE}.hog:HogDetector",
        "yolox": Entry(f"{_HERE}.yolox:YoloxDetector", needs=("weights",)),
        "boxes": f"{_HERE}.sidecar:SidecarDetector",
    },
    wanted="a class with begin and detect, as pretrain.ingest.detectors.detector.Detector has them",
    fits=_is_detector,
    words=("weights",),
)
"""``weights``: needs a file, --detector-weights."""
