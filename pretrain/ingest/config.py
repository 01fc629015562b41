"""How videos become clips: one frozen value, written beside the clips."""

from dataclasses import dataclass
from typing import Annotated, Literal

from cluster.errors import InputError
from cluster.values import require
from pretrain.ingest.detectors.table import DETECTORS


@dataclass(frozen=True, kw_only=True, slots=True)
class IngestConfig:
    """How videos become clips. A clips directory holds clips of one such configuration only."""

    detector: Annotated[str, DETECTORS] = "motion"
    """motion: fixed cameras, no weights. hog: OpenCV's people detector. yolox: an ONNX file. boxes: NAME.gt.csv."""
    detector_weights: str = ""
    """File of a detector that needs one, such as the ONNX file of `yolox` (path or URL)."""
    decoder: Literal["pyav", "decord"] = "pyav"
    """PyAV measured better on memory and on broken files; decord is unmaintained."""
    stride: int = 5
    """Keep every stride-th frame."""
    clip_seconds: float = 4.0
    """Longest time from the first to the last frame of a clip; bounds the interval of training pairs."""
    segment_seconds: float = 60.0
    """A video is split into pieces of about this length, so that one file can keep many workers busy."""
    min_score: float = 0.6
    """Drop detections below this score in [0, 1]."""
    min_height: int = 64
    """Drop boxes lower than this, in pixels of the video."""
    min_aspect: float = 1.2
    """Drop boxes with a smaller height / width."""
    max_aspect: float = 4.5
    """Drop boxes with a larger height / width."""
    max_overlap: float = 0.5
    """Drop boxes whose IoU with another box of the frame is above this."""
    min_people: int = 2
    """Drop frames with fewer boxes left."""
    max_people: int = 12
    """Drop frames with more boxes left."""
    max_cut_distance: float = 0.6
    """Start a new clip where neighbouring frames' HSV histograms are farther apart (Bhattacharyya, in [0, 1])."""
    max_crop_height: int = 384
    """Crops higher than this many pixels are made smaller before they are stored."""
    jpeg_quality: int = 92
    """JPEG quality of stored crops, 1 to 100."""
    segment_timeout_seconds: float = 900.0
    """A segment that takes longer is given up: some corrupt files make decoders spin for ever."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        require(self.stride >= 1, "stride", ">= 1 frame", self.stride)
        require(self.clip_seconds > 0, "clip-seconds", "> 0", self.clip_seconds)
        require(self.segment_seconds >= self.clip_seconds, "segment-seconds", ">= clip-seconds", self.segment_seconds)
        require(0 <= self.min_score <= 1, "min-score", "in [0, 1]", self.min_score)
        require(self.min_height >= 1, "min-height", ">= 1 pixel", self.min_height)
        require(0 < self.min_aspect < self.max_aspect, "min-aspect", "in (0, max-aspect)", self.min_aspect)
        require(0 <= self.max_overlap <= 1, "max-overlap", "in [0, 1]", self.max_overlap)
        require(0 <= self.max_cut_distance <= 1, "max-cut-distance", "in [0, 1]", self.max_cut_distance)
        require(1 <= self.min_people <= self.max_people, "min-people", "in [1, max-people]", self.min_people)
        require(1 <= self.jpeg_quality <= 100, "jpeg-quality", "in [1, 100]", self.jpeg_quality)
        require(self.max_crop_height >= 16, "max-crop-height", ">= 16 pixels", self.max_crop_height)
        require(self.segment_timeout_seconds > 0, "segment-timeout-seconds", "> 0", self.segment_timeout_seconds)
        DETECTORS.require(self.detector, "detector")
        if "weights" in DETECTORS.needs(self.detector) and not self.detector_weights:
            raise InputError(f"detector {self.detector} needs its file: add --detector-weights FILE")
