"""Detectors: what they find on drawn scenes, on real footage if it is there, and what they refuse."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from pretrain.ingest.crops import intersection_over_union
from pretrain.ingest.decoders import Frame, PyAvDecoder, Segment, probe, split
from pretrain.ingest.detectors.detector import make_detector, suppress
from pretrain.ingest.detectors.motion import MotionDetector
from pretrain.ingest.detectors.sidecar import SidecarDetector, read_sidecar, sidecar_of
from tests.pretrain.ingest.films import film, people_at, wall

DATA = Path(__file__).parents[4] / "shared" / "data"
FOOTAGE = pytest.mark.skipif(not (DATA / "yolox_nano.onnx").exists(), reason="no real footage beside the repository")


def segment_at(location: str) -> Segment:
    return Segment("v", location, 1, np.arange(4, dtype=np.int64), 0, 0.1, 10.0)


def as_frames(images: list[np.ndarray]) -> list[Frame]:
    return [Frame(number, (number - 1) / 10, image) for number, image in enumerate(images, start=1)]


def test_motion_finds_people_who_walk_past_a_still_wall():
    frames = as_frames(film(200, people=2, empty=100))[::5]
    # The number in the corner changes too; cover it, so that people are all that moves.
    for frame in frames:
        frame.image[:16, :160] = 0
    detector = MotionDetector()
    detector.begin(segment_at("v.mp4"), frames)
    for frame in frames[20:]:
        boxes = detector.detect(frame)
        overlap = intersection_over_union(people_at(frame.index, 2), boxes)
        assert (overlap.max(axis=1) >= 0.5).all(), f"frame {frame.index}"
        assert len(boxes) == 2
        assert (boxes[:, 4] > 0.9).all(), "a rectangle fills its box"


def test_motion_finds_nothing_where_nothing_moves():
    rng = np.random.default_rng(0)
    noisy = [np.clip(wall() + rng.normal(0, 2, wall().shape), 0, 255).astype(np.uint8) for _ in range(30)]
    detector = MotionDetector()
    detector.begin(segment_at("v.mp4"), as_frames(noisy[:20]))
    assert all(detector.detect(frame).shape == (0, 5) for frame in as_frames(noisy[20:]))


def test_motion_forgets_the_last_segment():
    frames = as_frames(film(20))
    detector = MotionDetector()
    detector.begin(segment_at("a.mp4"), frames)
    first = [detector.detect(frame) for frame in frames]
    detector.begin(segment_at("b.mp4"), as_frames([wall(5)] * 20))
    detector.begin(segment_at("a.mp4"), frames)
    again = [detector.detect(frame) for frame in frames]
    assert all(np.array_equal(one, two) for one, two in zip(first, again, strict=True))


def test_sidecar_boxes_are_those_of_the_frame(tmp_path: Path):
    assert sidecar_of("s3://bucket/day.1/x.mp4") == "s3://bucket/day.1/x.gt.csv"
    (tmp_path / "x.gt.csv").write_text(
        "frame,left,top,width,height,score\n2,1,2,3,4,0.5\n2,5,6,7,8,\n4,1,1,1,1,1\n", encoding="utf-8"
    )
    detector = SidecarDetector()
    detector.begin(segment_at(str(tmp_path / "x.mp4")), [])
    image = np.zeros((8, 8, 3), np.uint8)
    assert detector.detect(Frame(2, 0.1, image)).tolist() == [[1, 2, 3, 4, 0.5], [5, 6, 7, 8, 1]]
    assert detector.detect(Frame(1, 0.0, image)).shape == (0, 5)


def test_sidecar_scores_may_be_left_out(tmp_path: Path):
    path = tmp_path / "x.gt.csv"
    path.write_text("height,width,top,left,frame\n4,3,2,1,9\n", encoding="utf-8")
    assert read_sidecar(str(path)) == {9: [(1, 2, 3, 4, 1)]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("frame,left,top,width\n1,2,3,4\n", r"lacks the columns \['height'\]; needed: frame,left"),
        ("", r"lacks the columns"),
        ("frame,left,top,width,height\n1,2,3,4,5\n2,2,x,4,5\n", "line 3: not a row of numbers"),
        ("frame,left,top,width,height\n1,2\n", "line 2: not a row of numbers"),
        ("frame,left,top,width,height\n1.5,2,3,4,5\n", "line 2: not a row of numbers"),
    ],
)
def test_a_broken_sidecar_is_refused(tmp_path: Path, text: str, message: str):
    path = tmp_path / "x.gt.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_sidecar(str(path))


def test_a_missing_sidecar_is_named(tmp_path: Path):
    with pytest.raises(ValueError, match=r"detector boxes needs x\.gt\.csv beside the video"):
        SidecarDetector().begin(segment_at(str(tmp_path / "x.mp4")), [])


def test_suppression_keeps_the_best_of_boxes_that_overlap():
    boxes = np.array([[0, 0, 10, 20, 0.7], [1, 0, 10, 20, 0.9], [100, 0, 10, 20, 0.2]], np.float32)
    assert suppress(boxes, max_overlap=0.5).tolist() == boxes[[1, 2]].tolist()
    assert len(suppress(boxes, max_overlap=0.95)) == 3
    assert suppress(boxes[:0], max_overlap=0.5).shape == (0, 5)


def test_hog_runs_on_a_small_frame():
    detector = make_detector("hog", weights="", min_height=96)
    image = cv2.resize(film(1)[0], (160, 160))
    boxes = detector.detect(Frame(1, 0.0, image))
    assert boxes.shape[1] == 5
    assert boxes.dtype == np.float32
    assert ((boxes[:, 4] >= 0) & (boxes[:, 4] <= 1)).all()


def test_yolox_refuses_a_file_that_is_no_model(tmp_path: Path):
    path = tmp_path / "model.onnx"
    path.write_text("no model", encoding="utf-8")
    for weights in (str(path), str(tmp_path / "absent.onnx")):
        with pytest.raises(ValueError, match=f"{weights} cannot be read as an ONNX model; give the file of a YOLOX"):
            make_detector("yolox", weights=weights, min_height=64)


@FOOTAGE
@pytest.mark.parametrize(
    ("name", "options", "share"), [("yolox", str(DATA / "yolox_nano.onnx"), 0.6), ("hog", "", 0.3)]
)
def test_detectors_find_people_on_real_footage(name: str, options: str, share: float):
    video = DATA / "PETS09-S2L1.mp4"
    truth = read_sidecar(str(DATA / "PETS09-S2L1.gt.csv"))
    segment = split("v", str(video), probe(str(video)), 1000.0)[0]
    detector = make_detector(name, weights=options, min_height=64)
    detector.begin(segment, [])
    found = total = 0
    for frame in PyAvDecoder().frames(segment, 60):
        if frame.index > (400 if name == "yolox" else 130):
            break
        boxes = detector.detect(frame)
        real = np.array(truth[frame.index])
        total += len(real)
        found += int((intersection_over_union(real, boxes).max(axis=1, initial=0) >= 0.5).sum())
    assert total >= 10
    assert found / total >= share
