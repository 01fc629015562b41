"""The clips directory as files."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from evaluation.datasets.images import encode_jpeg
from pretrain.ingest.clips import SCHEMA, SCHEMA_VERSION, ClipReader, list_clips, make_clip, require_clips, write_clips


def make_frame(index: int, people: int = 2) -> dict:
    image = np.full((40, 20, 3), index % 256, np.uint8)
    crop = {"left": 1.0, "top": 2.0, "width": 20.0, "height": 40.0, "score": 0.5}
    jpeg = encode_jpeg(image, max_height=100)
    return {"frame_index": index, "time_seconds": index / 10, "crops": [{"jpeg": jpeg, **crop}] * people}


def make_clips(count: int, video: str = "v.mp4") -> list[dict]:
    return [
        make_clip(video, 10.0, [make_frame(10 * number + 1), make_frame(10 * number + 6)]) for number in range(count)
    ]


def finish(folder: Path, **report: object) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "report.json").write_text(json.dumps({"schema_version": SCHEMA_VERSION, **report}), encoding="utf-8")
    return str(folder)


def test_clips_come_back_as_they_were(tmp_path: Path):
    clips = make_clips(3)
    location = str(tmp_path / "clips" / "a.parquet")
    write_clips(location, clips)
    file = pq.ParquetFile(location)
    assert file.metadata.num_row_groups == 3, "one row group each, so that a clip can be read alone"
    assert file.schema_arrow.equals(SCHEMA)
    reader = ClipReader()
    assert [reader.read(location, row) for row in (2, 0, 1)] == [clips[2], clips[0], clips[1]]
    assert [path.name for path in (tmp_path / "clips").iterdir()] == ["a.parquet"], "no temporary file stays"


def test_the_id_follows_from_video_and_frames_alone():
    one, two = make_clips(2)
    assert one["clip_id"] == make_clip("v.mp4", 25.0, [make_frame(1, 3), make_frame(6)])["clip_id"]
    assert one["clip_id"] == "059a1f559c1f9d02", "stored clips keep their names from version to version"
    assert one["clip_id"] != two["clip_id"]
    assert one["clip_id"] != make_clips(1, "w.mp4")[0]["clip_id"]


def test_listing_is_in_a_fixed_order(tmp_path: Path):
    directory = finish(tmp_path / "out")
    for name, video in (("b", "w.mp4"), ("a", "v.mp4")):
        write_clips(f"{directory}/clips/{name}.parquet", make_clips(2, video))
    found = list_clips(directory)
    assert [(Path(address.location).stem, address.row_group, address.video_id) for address in found] == [
        ("a", 0, "v.mp4"),
        ("a", 1, "v.mp4"),
        ("b", 0, "w.mp4"),
        ("b", 1, "w.mp4"),
    ]
    assert ClipReader().read(found[3].location, found[3].row_group)["clip_id"] == found[3].clip_id


def test_only_finished_clips_of_this_version_are_read(tmp_path: Path):
    with pytest.raises(
        ValueError, match=r"holds no finished clips \(no report.json\); run: python -m pretrain prepare"
    ):
        require_clips(str(tmp_path / "absent"))
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ValueError, match="holds no finished clips"):
        list_clips(str(tmp_path / "begun"))
    with pytest.raises(ValueError, match="has version 99, and this program reads up to 1; update"):
        require_clips(finish(tmp_path / "old", schema_version=99))
    (tmp_path / "old" / "report.json").write_text("[]", encoding="utf-8")
    with pytest.raises(ValueError, match="has 0 where its version should be"):
        require_clips(str(tmp_path / "old"))
    (tmp_path / "old" / "report.json").write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match="is not valid JSON"):
        require_clips(str(tmp_path / "old"))
    assert require_clips(finish(tmp_path / "old", totals={"clips": 3}))["totals"] == {"clips": 3}


def test_a_directory_without_clips_points_at_its_report(tmp_path: Path):
    with pytest.raises(ValueError, match=r"holds no clips: no two people were seen together; look at its report.json"):
        list_clips(finish(tmp_path / "out"))


def test_the_reader_keeps_few_files_open(tmp_path: Path):
    locations = [str(tmp_path / f"{number}.parquet") for number in range(4)]
    for number, location in enumerate(locations):
        write_clips(location, make_clips(1, f"{number}.mp4"))
    reader = ClipReader(keep_open=2)
    for location in (*locations, locations[2], locations[0], locations[0]):
        assert reader.read(location, 0)["video_id"] == Path(location).stem + ".mp4"
    assert list(reader._files) == [locations[2], locations[0]], "the two that were used last"
