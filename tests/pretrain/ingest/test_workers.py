"""A decoding process: clips and counts, or a reason, for each segment."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from cluster import storage
from cluster.values import to_json
from pretrain.ingest.clips import ClipReader, make_clip
from pretrain.ingest.config import IngestConfig
from pretrain.ingest.extract import COUNTS
from pretrain.ingest.manifest import read_manifest
from pretrain.ingest.pipeline import _row_to_json, probe_row
from pretrain.ingest.workers import MAX_ATTEMPTS, ConvertCrops, ExtractSegment, SegmentWorker
from tests.pretrain.ingest.films import people_at, write_folder
from tests.pretrain.ingest.test_manifest import write_crops

CONFIG = IngestConfig(detector="boxes", stride=5, clip_seconds=1.0, segment_seconds=4.0, min_height=40)


class Clerk(SegmentWorker):
    """Makes a clip of what the row says, or refuses it."""

    def clips(self, row: dict[str, Any]) -> tuple[list[dict[str, Any]], Counter[str]]:
        if row["reason"]:
            raise ValueError(row["reason"])
        box = {"jpeg": b"", "left": 0.0, "top": 0.0, "width": 1.0, "height": 2.0, "score": 1.0}
        frames = [{"frame_index": n, "time_seconds": float(n), "crops": [box]} for n in (1, 2)]
        return [make_clip(row["video_id"], 1.0, frames)] * row["clips"], Counter(crops=2 * row["clips"], other=7)


def clerk(out: Path) -> Clerk:
    return Clerk(str(out), to_json(CONFIG))


def row_of(name: str, *, clips: int = 1, reason: str = "") -> dict[str, Any]:
    return {"name": name, "video_id": "a.mp4", "clips": clips, "reason": reason}


def counts_of(out: Path, name: str) -> dict[str, Any]:
    return json.loads((out / "segments" / f"{name}.json").read_text(encoding="utf-8"))


def test_a_segment_leaves_its_clips_and_its_counts(tmp_path: Path):
    assert clerk(tmp_path)(row_of("s1")) == {"name": "s1", "note": "a.mp4: 2 crops"}
    assert ClipReader().read(str(tmp_path / "clips" / "s1.parquet"), 0)["video_id"] == "a.mp4"
    assert counts_of(tmp_path, "s1") == {
        "video_id": "a.mp4",
        "error": "",
        "counts": {**dict.fromkeys(COUNTS, 0), "crops": 2},
    }


def test_a_segment_without_people_has_counts_and_no_file(tmp_path: Path):
    clerk(tmp_path)(row_of("s1", clips=0))
    assert not (tmp_path / "clips").exists()
    assert counts_of(tmp_path, "s1")["error"] == ""


def test_wrong_input_is_a_reason_and_the_next_segment_goes_on(tmp_path: Path):
    worker = clerk(tmp_path)
    worker(row_of("s1", reason="no key frame"))
    worker(row_of("s2"))
    assert counts_of(tmp_path, "s1")["error"] == "no key frame"
    assert set(counts_of(tmp_path, "s1")["counts"].values()) == {0}
    assert counts_of(tmp_path, "s2")["error"] == ""
    assert [path.name for path in (tmp_path / "clips").iterdir()] == ["s2.parquet"]


def test_a_bug_is_no_reason(tmp_path: Path):
    with pytest.raises(KeyError):
        clerk(tmp_path)({"name": "s1", "video_id": "a.mp4"})
    assert not (tmp_path / "segments").exists(), "so the segment is done again"


def test_a_segment_that_ended_its_process_too_often_is_given_up_untried(tmp_path: Path):
    worker = clerk(tmp_path)
    storage.write_bytes(str(tmp_path / "attempts" / "s1"), str(MAX_ATTEMPTS - 1).encode())
    worker(row_of("s1"))
    assert counts_of(tmp_path, "s1")["error"] == "", "the last attempt is a real one"
    worker(row_of("s1", clips=5))
    assert counts_of(tmp_path, "s1")["error"] == (
        f"ended the decoding process {MAX_ATTEMPTS} times (crash, or no end within the time limit)"
    )
    assert counts_of(tmp_path, "s1")["counts"]["crops"] == 0


def test_a_video_becomes_the_clips_of_its_people(tmp_path: Path):
    films = write_folder(tmp_path / "films")
    first = probe_row({"video_id": "a.mp4", "location": str(films / "a.mp4")}, CONFIG.segment_seconds)[0]
    clips, counts = ExtractSegment(str(tmp_path / "out"), to_json(CONFIG)).clips(first)
    boxes = [crop["left"] for clip in clips for frame in clip["frames"] for crop in frame["crops"]]
    numbers = [frame["frame_index"] for clip in clips for frame in clip["frames"]]
    assert boxes == pytest.approx([box[0] for number in numbers for box in people_at(number, 2)])
    assert (counts["crops"], counts["clips"]) == (len(boxes), len(clips))


def test_crops_of_a_manifest_travel_as_json(tmp_path: Path):
    rows = read_manifest(str(write_crops(tmp_path, boxes=True, frames=100)))
    text = json.dumps([_row_to_json(row) for row in rows])
    clips, counts = ConvertCrops(str(tmp_path / "out"), to_json(CONFIG)).clips({"rows": text})
    assert counts["clips"] == len(clips) > 0
    assert {clip["video_id"] for clip in clips} == {"cam.mp4"}
