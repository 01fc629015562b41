"""Crops that exist already become the same kind of clips."""

import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from evaluation.datasets.images import decode_image
from evaluation.embedding.histogram import HistogramEmbedder
from pretrain.data.truth import TrueFrame
from pretrain.ingest.clips import ClipReader, write_clips
from pretrain.ingest.config import IngestConfig
from pretrain.ingest.manifest import clips_of_crops, read_manifest
from pretrain.validation.auditor import Auditor
from tests.pretrain.ingest.films import film, people_at

CONFIG = IngestConfig(clip_seconds=1.0)
HEADER = "path,video,frame,time_seconds"


def write_crops(folder: Path, *, boxes: bool, frames: int = 20, ending: str = "png") -> Path:
    """Cut the people out of every fifth frame of a film, as another program would."""
    lines = [HEADER + (",left,top,width,height,score" if boxes else "")]
    (folder / "crops").mkdir(parents=True, exist_ok=True)
    for number, image in list(enumerate(film(frames), start=1))[::5]:
        for person, box in enumerate(people_at(number, 2).astype(int).tolist()):
            left, top, width, height = box
            name = f"crops/{number:04d}_{person}.{ending}"
            cv2.imwrite(str(folder / name), image[top : top + height, left : left + width, ::-1])
            tail = f",{left},{top},{width},{height},0.75" if boxes else ""
            lines.append(f"{name},cam.mp4,{number},{(number - 1) / 10}{tail}")
    path = folder / "manifest.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_crops_become_clips_like_those_of_a_video(tmp_path: Path):
    rows = read_manifest(str(write_crops(tmp_path, boxes=True)))
    clips, counts = clips_of_crops(rows, CONFIG)
    assert [[frame["frame_index"] for frame in clip["frames"]] for clip in clips] == [[1, 6, 11]]
    assert counts["frames_sampled"] == counts["frames_kept"] + counts["frames_alone"] == 4
    assert counts["boxes_detected"] == counts["crops"] + counts["boxes_in_dropped_frames"] == 8
    assert clips[0]["video_id"] == "cam.mp4"
    assert clips[0]["fps"] == pytest.approx(2.0)
    crop = clips[0]["frames"][1]["crops"][0]
    assert [crop[name] for name in ("left", "top", "width", "height")] == people_at(6, 2)[0].tolist()
    assert crop["score"] == 0.75
    assert decode_image(crop["jpeg"]).shape == (54, 28, 3)
    location = str(tmp_path / "x.parquet")
    write_clips(location, clips)
    assert ClipReader().read(location, 0) == clips[0], "the schema of the clips takes them as they are"


def test_jpeg_files_are_stored_as_they_are_unless_they_are_too_high(tmp_path: Path):
    rows = read_manifest(str(write_crops(tmp_path, boxes=False, ending="jpg")))
    original = (tmp_path / "crops" / "0001_0.jpg").read_bytes()
    clips, _ = clips_of_crops(rows, CONFIG)
    assert clips[0]["frames"][0]["crops"][0]["jpeg"] == original
    clips, _ = clips_of_crops(rows, IngestConfig(max_crop_height=27))
    assert decode_image(clips[0]["frames"][0]["crops"][0]["jpeg"]).shape == (27, 14, 3)


def test_without_boxes_the_place_is_unknown_and_the_audit_says_so(tmp_path: Path):
    clips, _ = clips_of_crops(read_manifest(str(write_crops(tmp_path, boxes=False))), CONFIG)
    crop = clips[0]["frames"][0]["crops"][0]
    assert math.isnan(crop["left"])
    assert math.isnan(crop["top"])
    assert (crop["width"], crop["height"], crop["score"]) == (28, 54, 1)
    frames = {number: TrueFrame(np.array([0, 1]), people_at(number, 2)) for number in range(1, 21)}
    auditor = Auditor(HistogramEmbedder(), {"": frames}, interval=0.5, reliability="sim", reliability_temperature=0.1)
    with pytest.raises(ValueError, match=r"made from crops without boxes, .*; give left,top,width,height in"):
        auditor.add(clips[0])


def test_rows_may_come_in_any_order(tmp_path: Path):
    rows = read_manifest(str(write_crops(tmp_path, boxes=True)))
    assert clips_of_crops(rows[::-1], CONFIG) == clips_of_crops(rows, CONFIG)


def test_too_few_and_too_many_people_are_counted(tmp_path: Path):
    rows = read_manifest(str(write_crops(tmp_path, boxes=True)))
    clips, counts = clips_of_crops(rows[1:], CONFIG)
    assert counts["frames_few_people"] == 1
    assert counts["boxes_detected"] == 7 == counts["crops"] + counts["boxes_in_dropped_frames"]
    clips, counts = clips_of_crops(rows, IngestConfig(min_people=1, max_people=1))
    assert clips == []
    assert counts["frames_many_people"] == 4


def test_paths_are_relative_to_the_manifest(tmp_path: Path):
    (tmp_path / "m.csv").write_text(
        f"{HEADER}\ndeep/a.png,v,1,0\n/abs/b.png,v,1,0\ns3://bucket/c.png,v,1,0\n", encoding="utf-8"
    )
    assert [row.location for row in read_manifest(str(tmp_path / "m.csv"))] == [
        str(tmp_path / "deep" / "a.png"),
        "/abs/b.png",
        "s3://bucket/c.png",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,video\na,b\n", "lacks the columns frame,time_seconds; needed: path,video,frame,time_seconds"),
        ("", "lacks the columns path,video,frame,time_seconds"),
        (HEADER + "\n", "has no rows; one row per crop image is needed"),
        (HEADER + "\na.png,v,1,0\nb.png,v,one,0\n", "line 3: invalid literal for int"),
        (HEADER + "\na.png,v,1,soon\n", "line 2: could not convert string to float: 'soon'"),
        (HEADER + "\na.png,v,1,nan\n", "line 2: time_seconds must be finite, got nan"),
        (HEADER + "\n,v,1,0\n", "line 2: path and video must not be empty"),
        (HEADER + "\na.png,v\n", "line 2: "),
        (HEADER + ",left,top,width,height\na.png,v,1,0,1,2,3,\n", "line 2: could not convert string to float: ''"),
    ],
)
def test_a_broken_manifest_is_refused(tmp_path: Path, text: str, message: str):
    (tmp_path / "m.csv").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_manifest(str(tmp_path / "m.csv"))


def test_a_missing_manifest_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="does not exist; --crops takes a CSV with the columns path,video"):
        read_manifest(str(tmp_path / "m.csv"))


def test_images_that_cannot_be_used_are_named(tmp_path: Path):
    rows = read_manifest(str(write_crops(tmp_path, boxes=True)))
    broken = tmp_path / "crops" / "0006_1.png"
    broken.write_text("no image", encoding="utf-8")
    with pytest.raises(ValueError, match=r"0006_1\.png cannot be read as an image"):
        clips_of_crops(rows, CONFIG)
    broken.unlink()
    with pytest.raises(ValueError, match=r"0006_1\.png does not exist"):
        clips_of_crops(rows, CONFIG)
