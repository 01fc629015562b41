"""Tests of the files of a street: videos, truth, crops."""

import csv
import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from cluster.values import to_json
from evaluation.datasets.registry import read_dataset
from pretrain.street import StreetConfig, write_labelled, write_street
from pretrain.street.cameras import make_camera
from pretrain.street.write import film

pytestmark = pytest.mark.slow

CONFIG = StreetConfig(identities=8, test_identities=4, cameras=3, seconds=3, fps=8)
WITH_TRAIN = replace(CONFIG, train_identities=5)
NAME = re.compile(r"(\d{4})_c(\d)s1_(\d{6})_(\d{2})\.jpg")


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int], list[tuple[int, int]]]:
    folder, progress = tmp_path_factory.mktemp("street"), []
    counts = write_street(CONFIG, str(folder), on_progress=lambda done, total: progress.append((done, total)))
    return folder, counts, progress


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_counts_and_progress(street: tuple):
    folder, counts, progress = street
    assert counts["videos"] == 3
    assert counts["frames"] == 72
    assert counts["boxes"] == len(rows_of(folder / "truth.csv")) > 20
    assert counts["query"] == len(list((folder / "query").iterdir()))
    assert counts["gallery"] == len(list((folder / "gallery").iterdir()))
    assert progress == [(done, 6) for done in range(1, 7)]


def test_videos_decode_to_the_promised_frames(street: tuple):
    folder, _, _ = street
    for number in range(1, 4):
        camera = make_camera(CONFIG.style, number)
        with av.open(str(folder / f"camera{number}.mp4")) as container:
            stream = container.streams.video[0]
            assert stream.codec_context.name == "h264"
            assert stream.average_rate == CONFIG.fps
            frames = list(container.decode(stream))
        assert len(frames) == CONFIG.num_frames
        assert {(f.width, f.height, f.format.name) for f in frames} == {(camera.width, camera.height, "yuv420p")}
        assert [float(f.time) for f in frames] == pytest.approx([i / CONFIG.fps for i in range(len(frames))])
        assert [i for i, f in enumerate(frames) if f.key_frame][:2] == [0, 16]
        truth = next(film(CONFIG, number))[0].astype(float)
        assert np.abs(frames[0].to_ndarray(format="bgr24") - truth).mean() < 8


def test_the_two_truths_agree_and_boxes_lie_inside(street: tuple):
    folder, _, _ = street
    head = (folder / "truth.csv").read_text(encoding="utf-8").splitlines()[0]
    assert head == "video,frame,identity,camera,time_seconds,left,top,width,height"
    assert (folder / "camera1.gt.csv").read_text(encoding="utf-8").splitlines()[
        0
    ] == "frame,identity,left,top,width,height"
    truth = rows_of(folder / "truth.csv")
    columns = ("frame", "identity", "left", "top", "width", "height")
    for number in range(1, 4):
        camera, video = make_camera(CONFIG.style, number), f"camera{number}.mp4"
        here = [row for row in truth if row["video"] == video]
        assert [{c: row[c] for c in columns} for row in here] == rows_of(folder / f"camera{number}.gt.csv")
        for row in here:
            assert int(row["camera"]) == number
            assert float(row["time_seconds"]) == (int(row["frame"]) - 1) / CONFIG.fps
            left, top, width, height = (int(row[c]) for c in columns[2:])
            assert 0 <= left < left + width <= camera.width
            assert 0 <= top < top + height <= camera.height


def test_people_of_the_retrieval_split_are_not_in_the_videos(street: tuple):
    folder, _, _ = street
    trained = {int(row["identity"]) for row in rows_of(folder / "truth.csv")}
    assert trained <= set(range(1, 9))
    names = [NAME.fullmatch(p.name) for split in ("query", "gallery") for p in (folder / split).iterdir()]
    assert all(names)
    assert {int(name[1]) for name in names if name} == set(range(9, 13))
    assert len({name[0] for name in names if name}) == len(names)


def test_each_test_person_has_queries_and_gallery_before_each_camera(street: tuple):
    folder, _, _ = street
    for split, least, most in (("query", 1, 2), ("gallery", 2, 5)):
        per_view = Counter((p.name[:4], p.name[6]) for p in (folder / split).iterdir())
        assert len(per_view) == 12  # four people before three cameras
        assert least <= min(per_view.values()) <= max(per_view.values()) <= most


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int]]:
    folder = tmp_path_factory.mktemp("labelled")
    return folder, write_labelled(WITH_TRAIN, str(folder))


def files_of(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.slow
def test_train_people_add_a_folder_to_a_street_and_change_nothing_else_nor_do_processes(
    street: tuple, labelled: tuple, tmp_path: Path
):
    progress: list[tuple[int, int]] = []
    counts = write_street(WITH_TRAIN, str(tmp_path / "s"), processes=2, on_progress=lambda *step: progress.append(step))
    assert progress == [(done, 9) for done in range(1, 10)]
    assert counts == {**street[1], "train": labelled[1]["train"]}
    before, after = files_of(street[0]), files_of(tmp_path / "s")
    train = {name: content for name, content in after.items() if name.startswith("bounding_box_train/")}
    assert len(train) == counts["train"] > 0 == street[1]["train"]
    assert after == before | train
    crops = {name: content for name, content in after.items() if name.endswith(".jpg")}
    alone = files_of(labelled[0])
    assert json.loads(alone.pop("street.json")) == to_json(WITH_TRAIN)
    assert alone == crops, "the labelled part alone is that of the whole street"


def test_the_labelled_part_reads_as_a_dataset_of_disjoint_people(labelled: tuple):
    folder, counts = labelled
    rows = read_dataset(str(folder))
    assert Counter(row.split for row in rows) == counts
    people = {split: {row.identity for row in rows if row.split == split} for split in counts}
    assert people == {"train": set(range(13, 18)), "query": set(range(9, 13)), "gallery": set(range(9, 13))}
    per_view = Counter((row.identity, row.camera) for row in rows if row.split == "train")
    assert len(per_view) == 15  # five people before three cameras
    assert 2 <= min(per_view.values()) <= max(per_view.values()) == 7
    assert all(NAME.fullmatch(path.name) for path in (folder / "bounding_box_train").iterdir())


@pytest.mark.slow
def test_processes_do_not_change_the_labelled_part_and_an_earlier_one_is_replaced(labelled: tuple, tmp_path: Path):
    write_labelled(replace(CONFIG, test_identities=0, train_identities=1, cameras=2), str(tmp_path))
    assert not (tmp_path / "query").exists()
    assert write_labelled(WITH_TRAIN, str(tmp_path), processes=2) == labelled[1]
    assert files_of(tmp_path) == files_of(labelled[0])


def test_a_street_and_a_labelled_part_do_not_replace_each_other(street: tuple, labelled: tuple, tmp_path: Path):
    with pytest.raises(ValueError, match=r"holds other files and no street\.json"):
        write_labelled(WITH_TRAIN, str(street[0]))
    with pytest.raises(ValueError, match=r"holds other files and no truth\.csv"):
        write_street(CONFIG, str(labelled[0]))
    with pytest.raises(ValueError, match=r"are both 0: raise one"):
        write_labelled(replace(CONFIG, test_identities=0), str(tmp_path / "new"))
    with pytest.raises(ValueError, match=r"processes must be >= 1, got 0"):
        write_labelled(WITH_TRAIN, str(tmp_path / "new"), processes=0)
    assert not (tmp_path / "new").exists()


def test_seed_and_style_change_the_street():
    def first_frame(**fields: int) -> np.ndarray:
        return next(film(StreetConfig(identities=8, cameras=3, seconds=3, **fields), 1))[0]

    assert not np.array_equal(first_frame(), first_frame(seed=1))
    assert first_frame().shape == first_frame(seed=1).shape  # the same camera
    assert first_frame(style=1).shape != first_frame().shape or np.abs(first_frame(style=1) - first_frame()).mean() > 5


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path):
    (tmp_path / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(ValueError, match=r"holds other files and no truth\.csv"):
        write_street(CONFIG, str(tmp_path))
    with pytest.raises(ValueError, match=r"processes must be >= 1, got 0"):
        write_street(CONFIG, str(tmp_path / "new"), processes=0)
    assert (tmp_path / "thesis.txt").read_text(encoding="utf-8") == "mine"
