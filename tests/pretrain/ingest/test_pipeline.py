"""Ingestion on Ray: good and broken inputs, a second run, a decoder that kills its process, any number of workers."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cluster import storage
from cluster.console import run_cli
from cluster.values import to_json
from pretrain.__main__ import COMMANDS
from pretrain.ingest.clips import ClipReader, list_clips
from pretrain.ingest.config import IngestConfig
from pretrain.ingest.pipeline import (
    claim,
    prepare_crops,
    prepare_videos,
    probe_row,
    run_segments,
    segment_name,
)
from pretrain.ingest.report import write_report
from pretrain.ingest.workers import MAX_ATTEMPTS
from tests.pretrain.ingest.films import people_at, write_folder
from tests.pretrain.ingest.fragile import FragileSegment
from tests.pretrain.ingest.test_manifest import write_crops
from tests.pretrain.ingest.test_report import assert_adds_up

CONFIG = IngestConfig(detector="boxes", stride=5, clip_seconds=1.0, segment_seconds=4.0, min_height=40)
SEGMENTS = {"a.mp4": 3, "yard/b.mp4": 3}
"""Of 4 s, 4 s and 2 s."""


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("films"))


@pytest.fixture(scope="module")
def prepared(ray_cluster: None, films: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    out = str(tmp_path_factory.mktemp("prepared") / "clips")
    return out, prepare_videos([str(films)], out, CONFIG, workers=2)


def work_of(films: Path, *names: str) -> list[dict[str, Any]]:
    """The rows that the pool of actors gets."""
    rows = [
        row
        for name in names
        for row in probe_row({"video_id": name, "location": str(films / name)}, CONFIG.segment_seconds)
    ]
    return [{"name": segment_name(row["video_id"], row["first_frame"]), **row} for row in rows if not row["error"]]


def read_all(out: str) -> list[dict[str, Any]]:
    reader = ClipReader()
    return [reader.read(address.location, address.row_group) for address in list_clips(out)]


def snapshot(folder: str) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in Path(folder).rglob("*") if path.is_file()}


def test_a_probe_gives_a_row_for_each_segment_or_the_reason_why_not(films: Path):
    rows = work_of(films, "a.mp4", "cut.mp4")
    assert [(row["video_id"], row["first_frame"], row["is_last"]) for row in rows] == [
        ("a.mp4", 1, False),
        ("a.mp4", 41, False),
        ("a.mp4", 81, True),
    ]
    broken = probe_row({"video_id": "cut.mp4", "location": str(films / "cut.mp4")}, 4.0)
    assert [(row["is_last"], len(row["timestamps"])) for row in broken] == [(True, 0)]
    assert "truncated or not a video" in broken[0]["error"]
    assert set(broken[0]) == set(rows[0]) - {"name"}, "one schema for both"


def test_segments_are_named_alike_in_every_run():
    assert segment_name("a.mp4", 41) == segment_name("a.mp4", 41)
    assert len({segment_name(video, first) for video in ("a", "b") for first in (1, 41)}) == 4


def test_a_directory_is_taken_for_one_configuration_and_its_inputs(tmp_path: Path):
    out = str(tmp_path / "out")
    claim(out, CONFIG, {"a": "/x/a"})
    storage.write_json(f"{out}/attempts/name", 3)
    claim(out, CONFIG, {"a": "/x/a", "b": "/x/b"})
    assert not storage.exists(f"{out}/attempts"), "a new start gives every segment new attempts"
    with pytest.raises(ValueError, match=r"clips directory with other settings \(stride: 5 -> 2\); go on with"):
        claim(out, replace(CONFIG, stride=2), {"a": "/x/a", "b": "/x/b"})
    with pytest.raises(
        ValueError, match=r"holds clips of 1 other inputs \(b of /x/b\); name these too, or use another"
    ):
        claim(out, CONFIG, {"a": "/x/a"})
    with pytest.raises(ValueError, match=r"holds clips of 1 other inputs \(a of /x/a\)"):
        claim(out, CONFIG, {"a": "/elsewhere/a", "b": "/x/b"})
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(ValueError, match=r"mine holds other files and no config\.json of a clips directory"):
        claim(str(tmp_path / "mine"), CONFIG, {})


@pytest.mark.ray
def test_good_videos_are_done_and_broken_ones_quarantined_with_a_reason(prepared: tuple[str, dict[str, Any]]):
    out, report = prepared
    outcome = {video["video_id"]: (video["outcome"], video["segments"]) for video in report["videos"]}
    assert outcome == {
        "a.mp4": ("done", 3),
        "yard/b.mp4": ("done", 3),
        "cut.mp4": ("quarantined", 0),
        "notes.mp4": ("quarantined", 0),
    }
    for video in report["videos"]:
        assert ("truncated or not a video" in video["reason"]) == (video["outcome"] == "quarantined")
    assert_adds_up(report)
    assert report["totals"]["frames_sampled"] == 2 * 20
    assert report["totals"]["boxes_detected"] == 20 * 2 + 20 * 3
    assert report["config"] == to_json(CONFIG)
    assert storage.read_json(f"{out}/report.json") == report
    assert not storage.exists(f"{out}/attempts")


@pytest.mark.ray
def test_the_clips_hold_the_people_of_their_frames(prepared: tuple[str, dict[str, Any]]):
    out, report = prepared
    clips = read_all(out)
    assert len(clips) == report["totals"]["clips"]
    assert len({clip["clip_id"] for clip in clips}) == len(clips)
    assert Counter(Path(address.location).name for address in list_clips(out)).keys() == {
        f"{segment_name(video, first)}.parquet" for video in SEGMENTS for first in (1, 41, 81)
    }
    for clip in clips:
        people = 2 if clip["video_id"] == "a.mp4" else 3
        for frame in clip["frames"]:
            boxes = np.array([[crop[name] for name in ("left", "top", "width", "height")] for crop in frame["crops"]])
            assert boxes == pytest.approx(people_at(frame["frame_index"], people))
            assert frame["time_seconds"] == pytest.approx((frame["frame_index"] - 1) / 10)


@pytest.mark.ray
def test_a_second_run_does_nothing_new_and_reports_the_same(
    prepared: tuple[str, dict[str, Any]],
    films: Path,
    capsys: pytest.CaptureFixture[str],
):
    """Through the command line: inputs that cannot be used are named on standard error, and the exit code is 0."""
    out, report = prepared
    before = {name: time for name, time in snapshot(out).items() if "/clips/c" in name or "/segments/" in name}
    options = ["--detector", "boxes", "--clip-seconds", "1", "--segment-seconds", "4", "--min-height", "40"]
    with pytest.raises(SystemExit) as stop:
        run_cli("prog", COMMANDS, ["prepare", str(films), "--out", out, *options])
    streams = capsys.readouterr()
    assert stop.value.code == 0
    assert json.loads(streams.out.splitlines()[-1]) == {"out": out, **report["totals"]}
    assert f"quarantined: {films}/notes.mp4: cannot be opened as a video" in streams.err
    after = snapshot(out)
    assert before == {name: after[name] for name in before}
    assert storage.read_json(f"{out}/report.json") == report


@pytest.mark.ray
def test_one_worker_and_two_give_the_same_clips(prepared: tuple[str, dict[str, Any]], films: Path, tmp_path: Path):
    out, report = prepared
    alone = str(tmp_path / "alone")
    assert prepare_videos([str(films)], alone, CONFIG, workers=1)["totals"] == report["totals"]
    assert read_all(alone) == read_all(out)


@pytest.mark.ray
def test_a_segment_that_kills_its_process_is_given_up_and_the_rest_is_done(
    prepared: tuple[str, dict[str, Any]], films: Path, tmp_path: Path
):
    out = str(tmp_path / "out")
    work = work_of(films, *SEGMENTS)
    run_segments(work, FragileSegment, out, CONFIG, 2)
    killer = segment_name("a.mp4", 41)
    assert storage.read_bytes(f"{out}/attempts/{killer}") == str(MAX_ATTEMPTS + 1).encode()
    locations = {name: str(films / name) for name in SEGMENTS}
    report = write_report(out, CONFIG, locations, {row["name"]: row["video_id"] for row in work}, {})
    assert [(video["video_id"], video["outcome"]) for video in report["videos"]] == [
        ("a.mp4", "partial"),
        ("yard/b.mp4", "done"),
    ]
    assert "1 of 3 segments failed: ended the decoding process 3 times" in report["videos"][0]["reason"]
    others = [clip for clip in read_all(prepared[0]) if (clip["video_id"], _segment(clip)) != ("a.mp4", 41)]
    assert read_all(out) == others


def _segment(clip: dict[str, Any]) -> int:
    return 1 + 40 * ((clip["frames"][0]["frame_index"] - 1) // 40)


@pytest.mark.ray
def test_nothing_usable_is_an_error_with_a_report(ray_cluster: None, films: Path, tmp_path: Path):
    out = str(tmp_path / "out")
    with pytest.raises(
        ValueError, match=r"none of the 2 inputs could be used; .*cut\.mp4: cannot be opened as a video"
    ):
        prepare_videos([str(films / "cut.mp4"), str(films / "notes.mp4")], out, CONFIG, workers=1)
    assert storage.read_json(f"{out}/report.json")["totals"]["quarantined"] == 2


@pytest.mark.ray
def test_crops_that_exist_already_become_clips(ray_cluster: None, tmp_path: Path):
    manifest = write_crops(tmp_path, boxes=True, frames=100)
    out = str(tmp_path / "out")
    report = prepare_crops(str(manifest), out, CONFIG, workers=2)
    assert [(video["video_id"], video["outcome"], video["segments"]) for video in report["videos"]] == [
        ("cam.mp4", "done", 3)
    ]
    assert_adds_up(report)
    assert report["totals"]["boxes_detected"] == 40
    clips = read_all(out)
    assert len(clips) == report["totals"]["clips"] > 3
    assert all(1 <= len(frame["crops"]) <= 2 for clip in clips for frame in clip["frames"])
