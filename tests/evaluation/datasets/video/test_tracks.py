"""The within-camera benchmark: which crops, which part, and that they show whom they name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster import storage
from evaluation.datasets.images import read_image
from evaluation.datasets.registry import read_dataset
from evaluation.datasets.video.annotated_video import AnnotatedVideo, TrackBox
from evaluation.datasets.video.tracks import crop_tracks, plan_crops, within_camera_parts
from tests.evaluation.datasets.video import drawn_sequence as drawn


def parts_as_loop(seconds, gap_seconds):
    part = [None] * len(seconds)
    for i in range(len(seconds)):
        if i == 0:
            part[i] = "query"
        elif seconds[i] - seconds[0] >= gap_seconds:
            part[i] = "gallery"
    if "gallery" not in part:
        part[0] = "gallery"
    return part


@given(st.lists(st.integers(0, 100), min_size=1, max_size=20, unique=True), st.integers(1, 60))
def test_parts_as_defined(ticks, gap):
    seconds = [tick / 4 for tick in sorted(ticks)]
    assert within_camera_parts(seconds, gap / 4) == parts_as_loop(seconds, gap / 4)


def test_parts_in_a_closed_form():
    assert within_camera_parts([5.0, 5.5, 6.9, 7.0, 9.0], 2.0) == ["query", None, None, "gallery", "gallery"]
    assert within_camera_parts([5.0, 6.9], 2.0) == ["gallery", None]
    assert within_camera_parts([5.0], 2.0) == ["gallery"]


def video_of(*boxes):
    tracked = tuple(
        TrackBox(frame=frame, identity=identity, left=left, top=top, width=10, height=20)
        for frame, identity, left, top in boxes
    )
    return AnnotatedVideo(location="", image_suffix="", fps=1.0, width=100, height=50, boxes=tracked)


def test_boxes_outside_the_picture_and_low_ones_are_left_out():
    video = video_of((1, 1, -6, 0), (2, 1, -5, 0), (3, 1, 0, 35), (4, 1, 95, 29), (5, 1, 96, 29), (6, 1, 40, -5))
    plan = plan_crops(video, every=1, min_height=20, gap_seconds=2)
    assert {box.frame: part for box, part in plan.items()} == {2: "query", 4: "gallery"}
    lower = plan_crops(video, every=1, min_height=15, gap_seconds=2)
    assert {box.frame: part for box, part in lower.items()} == {2: "query", 4: "gallery", 6: "gallery"}
    sparse = plan_crops(video, every=3, min_height=20, gap_seconds=2)
    assert {box.frame: part for box, part in sparse.items()} == {4: "gallery"}


@pytest.fixture(params=["sequence", "video"])
def source(request, tmp_path):
    return str(drawn.write_sequence(tmp_path / "MOT") if request.param == "sequence" else drawn.write_video(tmp_path))


def test_crops_and_their_manifest(source, tmp_path):
    manifest = crop_tracks(source, str(tmp_path / "out"), every=2, min_height=30, gap_seconds=2.0)
    assert manifest == str(tmp_path / "out" / "manifest.csv")
    rows = read_dataset("csv:" + manifest)
    expected = [("query", 1, 1, 1)]
    expected += [("gallery", 1, 2, frame) for frame in (9, 11, 13, 15, 17)] + [("gallery", 2, 2, 3)]
    assert [(row.split, row.identity, row.camera, row.time_seconds) for row in rows] == [
        (part, identity, camera, (frame - 1) / drawn.FPS) for part, identity, camera, frame in expected
    ]
    for row, (_, identity, _, frame) in zip(rows, expected, strict=True):
        assert row.path == str(tmp_path / "out" / "images" / f"{identity:04d}_{frame:06d}.jpg")
        image = read_image(row.path)
        left, _, width, height = drawn.box_of(identity, frame)
        assert image.shape == (height, min(width, drawn.WIDTH - left), 3)
        assert image[2:-2, 2:-2].mean((0, 1)) == pytest.approx(drawn.COLOURS[identity], abs=25)
    assert len(list((tmp_path / "out" / "images").iterdir())) == len(rows)


def test_made_again_and_elsewhere(source, tmp_path):
    out = str(tmp_path / "out")
    crop_tracks(source, out, every=1, min_height=30, gap_seconds=1.0)
    crop_tracks(source, out, every=4, min_height=30, gap_seconds=1.0)
    assert len(storage.list_files(out)) == len(read_dataset(f"csv:{out}/manifest.csv")) + 1
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").touch()
    with pytest.raises(ValueError, match=r"mine holds other files and no manifest\.csv"):
        crop_tracks(source, str(tmp_path / "mine"), every=1, min_height=30)


def test_object_store(tmp_path):
    folder = drawn.write_sequence(tmp_path / "MOT")
    storage.upload_folder(str(folder), "memory://tracks/MOT")
    try:
        manifest = crop_tracks("memory://tracks/MOT", "memory://tracks/out", every=2, min_height=30)
        rows = read_dataset("csv:" + manifest)
        assert [row.split for row in rows].count("query") == 1
        assert read_image(rows[0].path).shape[0] == 40
    finally:
        storage.remove("memory://tracks")


def test_what_is_refused(source, tmp_path):
    out = str(tmp_path / "out")
    for settings in ({"every": 0, "min_height": 1}, {"every": 1, "min_height": 0}):
        with pytest.raises(ValueError, match="every and min_height must be >= 1 and gap_seconds > 0"):
            crop_tracks(source, out, **settings)
    with pytest.raises(ValueError, match="gap_seconds > 0, got 1, 1, 0"):
        crop_tracks(source, out, every=1, min_height=1, gap_seconds=0)
    with pytest.raises(ValueError, match=r"nobody is seen again 60 s later at 30 pixels; lower gap_seconds"):
        crop_tracks(source, out, every=1, min_height=30, gap_seconds=60)
    assert not storage.exists(out)
