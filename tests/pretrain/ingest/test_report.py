"""The report of an ingestion: every input with its outcome, and counts that add up."""

from pathlib import Path
from typing import Any

import pytest

from cluster import storage
from cluster.values import to_json
from pretrain.ingest.clips import SCHEMA_VERSION, require_clips
from pretrain.ingest.config import IngestConfig
from pretrain.ingest.extract import COUNTS
from pretrain.ingest.report import write_report

CONFIG = IngestConfig(detector="boxes", stride=5)


def assert_adds_up(report: dict[str, Any]) -> None:
    totals = report["totals"]
    assert totals["videos"] == len(report["videos"]) == totals["done"] + totals["partial"] + totals["quarantined"]
    for name in COUNTS:
        assert totals[name] == sum(video["counts"][name] for video in report["videos"])
    for counts in (totals, *(video["counts"] for video in report["videos"])):
        frames = ("frames_kept", "frames_few_people", "frames_many_people", "frames_alone")
        assert counts["frames_sampled"] == sum(counts[name] for name in frames)
        boxes = ("crops", "boxes_score", "boxes_height", "boxes_aspect", "boxes_overlap", "boxes_in_dropped_frames")
        assert counts["boxes_detected"] == sum(counts[name] for name in boxes)


def test_a_video_with_some_failed_segments_is_partial(tmp_path: Path):
    out = str(tmp_path)
    for name, error, crops in (("a1", "", 5), ("a2", "decoding failed", 0), ("b1", "no boxes", 0)):
        storage.write_json(
            f"{out}/segments/{name}.json",
            {"error": error, "counts": {**dict.fromkeys(COUNTS, 0), "crops": crops, "boxes_detected": crops}},
        )
    segments = {"a1": "a", "a2": "a", "b1": "b"}
    report = write_report(out, CONFIG, {"a": "/a", "b": "/b", "c": "/c"}, segments, {"c": "not a video"})
    assert [(video["outcome"], video["reason"]) for video in report["videos"]] == [
        ("partial", "1 of 2 segments failed: decoding failed"),
        ("quarantined", "no boxes"),
        ("quarantined", "not a video"),
    ]
    assert report["totals"]["crops"] == 5
    assert (report["schema_version"], report["config"]) == (SCHEMA_VERSION, to_json(CONFIG))
    assert_adds_up(report)
    assert require_clips(out) == report
    with pytest.raises(
        ValueError, match=r"none of the 2 inputs could be used; /b: no boxes; all reasons are in .*report"
    ):
        write_report(out, CONFIG, {"b": "/b", "c": "/c"}, {"b1": "b"}, {"c": "not a video"})
    assert require_clips(out)["totals"]["quarantined"] == 2, "the report is there all the same"
