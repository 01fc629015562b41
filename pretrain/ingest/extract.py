"""One segment of video in, its clips out. Knows nothing of Ray."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from pretrain.ingest.clips import make_clip
from pretrain.ingest.config import IngestConfig
from pretrain.ingest.crops import clip_to_image, cut, cut_distance, filter_boxes
from pretrain.ingest.decoders import Decoder, Frame, Segment
from pretrain.ingest.detectors.detector import Detector

COUNTS = (
    "frames_sampled",
    "frames_kept",
    "frames_few_people",
    "frames_many_people",
    "frames_alone",
    "boxes_detected",
    "boxes_score",
    "boxes_height",
    "boxes_aspect",
    "boxes_overlap",
    "boxes_in_dropped_frames",
    "crops",
    "clips",
)
"""What is counted. Frames sampled are the sum of the other frames; boxes detected are crops plus the other boxes."""


def extract_clips(
    segment: Segment, decoder: Decoder, detector: Detector, config: IngestConfig
) -> tuple[list[dict[str, Any]], Counter[str]]:
    """Decode a segment once, detect and cut the people, and group frames into clips.

    Returns:
        Rows of the clips schema, and counts by the names in `COUNTS`.

    Raises:
        ValueError: If the video cannot be decoded or the detector cannot serve it.
    """
    counts: Counter[str] = Counter()
    detector.begin(segment, _history(segment, decoder, config.stride, detector.history_seconds))
    clips: list[dict[str, Any]] = []
    run: list[dict[str, Any]] = []
    previous: Frame | None = None
    for frame in decoder.frames(segment, config.stride):
        counts["frames_sampled"] += 1
        if previous is not None and cut_distance(previous.image, frame.image) > config.max_cut_distance:
            close_run(run, segment.video_id, segment.fps, clips, counts)
            run = []
        previous = frame
        crops = _people(frame, detector, config, counts)
        if not crops:
            continue
        if run and frame.time_seconds - run[0]["time_seconds"] > config.clip_seconds:
            close_run(run, segment.video_id, segment.fps, clips, counts)
            run = []
        run.append({"frame_index": frame.index, "time_seconds": frame.time_seconds, "crops": crops})
    close_run(run, segment.video_id, segment.fps, clips, counts)
    return clips, counts


def _history(segment: Segment, decoder: Decoder, stride: int, seconds: float) -> Iterator[Frame]:
    if seconds <= 0:
        return
    for frame in decoder.frames(segment, stride):
        if frame.time_seconds - segment.seconds(0) > seconds:
            return
        yield frame


def _people(frame: Frame, detector: Detector, config: IngestConfig, counts: Counter[str]) -> list[dict[str, Any]]:
    """Detect, filter and cut; empty if the frame is dropped."""
    height, width = frame.image.shape[:2]
    found = clip_to_image(detector.detect(frame), height, width)
    boxes, dropped = filter_boxes(found, config)
    counts["boxes_detected"] += len(found)
    counts.update({f"boxes_{reason}": count for reason, count in dropped.items()})
    if not config.min_people <= len(boxes) <= config.max_people:
        counts["frames_few_people" if len(boxes) < config.min_people else "frames_many_people"] += 1
        counts["boxes_in_dropped_frames"] += len(boxes)
        return []
    return cut(frame.image, boxes, config)


def close_run(
    run: list[dict[str, Any]], video_id: str, fps: float, clips: list[dict[str, Any]], counts: Counter[str]
) -> None:
    """Turn a run of kept frames into a clip; a frame alone makes no pair and is dropped."""
    boxes = sum(len(frame["crops"]) for frame in run)
    if len(run) < 2:
        counts["frames_alone"] += len(run)
        counts["boxes_in_dropped_frames"] += boxes
        return
    counts["frames_kept"] += len(run)
    counts["crops"] += boxes
    counts["clips"] += 1
    clips.append(make_clip(video_id, fps, run))


def group_by_time(frames: Iterable[dict[str, Any]], clip_seconds: float) -> Iterator[list[dict[str, Any]]]:
    """Split frames in order of time into runs of at most a length."""
    run: list[dict[str, Any]] = []
    for frame in frames:
        if run and frame["time_seconds"] - run[0]["time_seconds"] > clip_seconds:
            yield run
            run = []
        run.append(frame)
    if run:
        yield run


def frame_rate(times: Iterable[float]) -> float:
    """Estimate a frame rate, 1/s, from the median distance of distinct times; 1 if there are fewer than two."""
    steps = np.diff(np.unique(np.fromiter(times, dtype=np.float64)))
    return float(1.0 / np.median(steps)) if len(steps) else 1.0
