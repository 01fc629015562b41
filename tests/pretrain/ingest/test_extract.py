"""From a segment to clips, with a decoder and a detector that say exactly what the test wants."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from pretrain.ingest.config import IngestConfig
from pretrain.ingest.crops import intersection_over_union
from pretrain.ingest.decoders import Frame, PyAvDecoder, Segment, probe, split
from pretrain.ingest.detectors.motion import MotionDetector
from pretrain.ingest.detectors.sidecar import SidecarDetector
from pretrain.ingest.extract import COUNTS, extract_clips, frame_rate, group_by_time
from tests.pretrain.ingest.films import film, people_at, wall, write_film, write_sidecar

CONFIG = IngestConfig(stride=5, clip_seconds=2.0, detector="boxes")
GOOD = (10.0, 10.0, 40.0, 100.0, 0.9)
SCENES = {"day": wall(), "night": wall() // 8}


@dataclass
class Reel:
    """A decoder of still scenes."""

    scenes: list[str]

    def frames(self, segment: Segment, stride: int) -> Iterator[Frame]:
        for position in segment.sampled(stride).tolist():
            yield Frame(segment.first_frame + position, segment.seconds(position), SCENES[self.scenes[position]])


@dataclass
class Script:
    """A detector that reads from a script: frame number to people, side by side."""

    people: dict[int, int]
    extra: list[tuple[float, ...]] = field(default_factory=list)
    history_seconds: float = 0.0
    seen: list[int] = field(default_factory=list)

    def begin(self, segment: Segment, history: Iterable[Frame]) -> None:
        self.seen = [frame.index for frame in history]

    def detect(self, frame: Frame) -> np.ndarray:
        count = self.people.get(frame.index, 2)
        rows = [(10.0 + 45 * person, *GOOD[1:]) for person in range(count)] + self.extra
        return np.array(rows, dtype=np.float32).reshape(-1, 5)


def segment_of(frames: int) -> Segment:
    return Segment("v.mp4", "v.mp4", 1, np.arange(frames, dtype=np.int64), 0, 0.1, 10.0)


def assert_counts_add_up(counts: dict[str, int], clips: list[dict]) -> None:
    """The sentence below `COUNTS`, as sums."""
    assert set(counts) <= set(COUNTS)
    rest = ("frames_kept", "frames_few_people", "frames_many_people", "frames_alone")
    assert counts["frames_sampled"] == sum(counts[name] for name in rest)
    rest = ("crops", "boxes_score", "boxes_height", "boxes_aspect", "boxes_overlap", "boxes_in_dropped_frames")
    assert counts["boxes_detected"] == sum(counts[name] for name in rest)
    assert counts["clips"] == len(clips)
    assert counts["frames_kept"] == sum(len(clip["frames"]) for clip in clips)
    assert counts["crops"] == sum(len(frame["crops"]) for clip in clips for frame in clip["frames"])


def numbers(clips: list[dict]) -> list[list[int]]:
    return [[frame["frame_index"] for frame in clip["frames"]] for clip in clips]


def test_clips_are_no_longer_than_the_limit():
    clips, counts = extract_clips(segment_of(100), Reel(["day"] * 100), Script({}), CONFIG)
    assert numbers(clips) == [[1, 6, 11, 16, 21], [26, 31, 36, 41, 46], [51, 56, 61, 66, 71], [76, 81, 86, 91, 96]]
    for clip in clips:
        assert clip["frames"][-1]["time_seconds"] - clip["frames"][0]["time_seconds"] <= CONFIG.clip_seconds + 1e-9
        assert clip["fps"] == 10.0
    assert_counts_add_up(counts, clips)


def test_a_shot_cut_ends_a_clip():
    scenes = ["day"] * 12 + ["night"] * 28
    clips, counts = extract_clips(segment_of(40), Reel(scenes), Script({}), CONFIG)
    assert numbers(clips) == [[1, 6, 11], [16, 21, 26, 31, 36]]
    assert_counts_add_up(counts, clips)


def test_a_cut_in_a_dropped_frame_still_counts():
    scenes = ["day"] * 10 + ["night"] * 5 + ["day"] * 10
    clips, counts = extract_clips(segment_of(25), Reel(scenes), Script({11: 0}), CONFIG)
    assert numbers(clips) == [[1, 6], [16, 21]]
    assert_counts_add_up(counts, clips)


def test_frames_with_too_few_or_too_many_people_are_dropped():
    config = IngestConfig(stride=5, clip_seconds=2.0, max_people=3)
    clips, counts = extract_clips(segment_of(25), Reel(["day"] * 25), Script({6: 1, 11: 4, 16: 3}), config)
    assert numbers(clips) == [[1, 16, 21]]
    assert (counts["frames_few_people"], counts["frames_many_people"]) == (1, 1)
    assert counts["boxes_in_dropped_frames"] == 5
    assert_counts_add_up(counts, clips)


def test_a_frame_alone_is_counted_as_alone():
    clips, counts = extract_clips(segment_of(30), Reel(["day"] * 30), Script({}), CONFIG)
    assert numbers(clips) == [[1, 6, 11, 16, 21]]
    assert counts["frames_alone"] == 1
    assert counts["boxes_in_dropped_frames"] == 2
    assert_counts_add_up(counts, clips)


def test_every_dropped_box_is_counted():
    extra = [(200.0, 10, 40, 100, 0.1), (240.0, 10, 5, 10, 0.9), (260.0, 10, 50, 20, 0.9), (0.0, 130, 70, 100, -1.0)]
    crowd = [(150.0, 10, 40, 100, 0.9), (155.0, 10, 40, 100, 0.9)]
    clips, counts = extract_clips(segment_of(40), Reel(["day"] * 40), Script({16: 0}, extra + crowd), CONFIG)
    assert counts["boxes_score"] == 2 * 8
    assert counts["boxes_height"] == 2 * 8
    assert counts["boxes_overlap"] == 2 * 8
    assert_counts_add_up(counts, clips)


def test_a_detector_sees_as_much_history_as_it_asks_for():
    script = Script({}, history_seconds=1.5)
    extract_clips(segment_of(60), Reel(["day"] * 60), script, CONFIG)
    assert script.seen == [1, 6, 11, 16]


def test_nothing_detected_is_counted_and_no_error():
    clips, counts = extract_clips(segment_of(20), Reel(["day"] * 20), Script(dict.fromkeys(range(1, 21), 0)), CONFIG)
    assert clips == []
    assert counts["frames_few_people"] == counts["frames_sampled"] == 4
    assert_counts_add_up(counts, clips)


@pytest.mark.parametrize("detector", [MotionDetector, SidecarDetector])
def test_a_real_film_gives_the_people_in_it(tmp_path: Path, detector: type):
    video = write_film(tmp_path / "v.mp4", film(100, people=2, empty=40), gop=20)
    write_sidecar(video, 100, 2)
    segment = split("v.mp4", str(video), probe(str(video)), 100.0)[0]
    config = IngestConfig(stride=5, clip_seconds=2.0, min_height=40)
    clips, counts = extract_clips(segment, PyAvDecoder(), detector(), config)
    assert_counts_add_up(counts, clips)
    assert counts["frames_kept"] >= 9
    for frame in (frame for clip in clips for frame in clip["frames"]):
        boxes = np.array([[crop[name] for name in ("left", "top", "width", "height")] for crop in frame["crops"]])
        overlap = intersection_over_union(people_at(frame["frame_index"], 2), boxes)
        assert (overlap.max(axis=1) >= (0.5 if detector is MotionDetector else 0.999)).all()


def test_frames_are_grouped_by_time():
    frames = [{"time_seconds": time} for time in (0.0, 1.0, 2.0, 2.5, 5.0)]
    assert [[frame["time_seconds"] for frame in run] for run in group_by_time(frames, 2.0)] == [[0, 1, 2], [2.5], [5]]
    assert list(group_by_time([], 2.0)) == []


def test_the_frame_rate_is_the_median_of_steps():
    assert frame_rate([0, 0.1, 0.2, 0.3, 9.0]) == pytest.approx(10)
    assert frame_rate([3.0, 3.0]) == 1.0
