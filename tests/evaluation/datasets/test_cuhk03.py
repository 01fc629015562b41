"""CUHK03: the unpacked MATLAB file pixel by pixel, both protocols, and what is refused."""

import io
import json

import fsspec
import h5py
import numpy as np
import pytest

from evaluation.datasets.cuhk03 import (
    read_classic_detected,
    read_classic_labelled,
    read_detected,
    read_labelled,
)
from evaluation.datasets.cuhk03_unpack import unpack_cuhk03
from evaluation.datasets.images import read_image

SEEN = {
    "labeled": {(1, 1, 1), (1, 1, 6), (1, 2, 1), (2, 1, 5), (2, 1, 10)},
    "detected": {(1, 1, 2), (1, 2, 7), (2, 1, 3)},
}
"""Pair, identity and index of each image in the file."""
TEST_SETS = [[[1, 1]], [[1, 2], [2, 1]]]


def pixels(pair, identity, index):
    """An image of its own size and colours: uint8 [H, W, 3]."""
    return np.random.default_rng((pair, identity, index)).integers(0, 256, (6 + index, 4, 3), np.uint8)


def write_mat(target):
    """Write what MATLAB 7.3 writes: cells are arrays of references, and the axes of every array are reversed."""
    with h5py.File(target, "w") as file:
        cells = file.create_group("#refs#")

        def store(array):
            return cells.create_dataset(str(len(cells)), data=np.asarray(array).T).ref

        def cell(references):
            return np.array(references, h5py.ref_dtype)

        empty = store(np.array([[0], [0]], np.uint64))
        for boxes, seen in SEEN.items():
            pairs = []
            for pair, num_identities in ((1, 2), (2, 1)):
                grid = [
                    [store(pixels(pair, i, j)) if (pair, i, j) in seen else empty for j in range(1, 11)]
                    for i in range(1, num_identities + 1)
                ]
                pairs.append([store(cell(grid))])
            file[boxes] = cell(pairs).T
        file["testsets"] = cell([[store(np.array(rows, float))] for rows in TEST_SETS]).T


@pytest.fixture
def unpacked(tmp_path):
    write_mat(tmp_path / "cuhk-03.mat")
    out = tmp_path / "out"
    assert unpack_cuhk03(str(tmp_path / "cuhk-03.mat"), str(out)) == {"labeled": 5, "detected": 3}
    return out


def write_np(folder):
    for part in ("bounding_box_train", "query", "bounding_box_test"):
        (folder / part).mkdir(parents=True)
        (folder / part / "0003_c2_s1_01_06.png").touch()
    return str(folder)


def facts(rows):
    return [(row.split, row.identity, row.camera, row.time_seconds) for row in rows]


def test_unpacked_images_are_those_of_the_file(unpacked):
    for boxes, seen in SEEN.items():
        names = {f"{pair}_{i:03d}_{1 + (j > 5)}_{j:02d}.png": (pair, i, j) for pair, i, j in seen}
        assert {path.name for path in (unpacked / f"images_{boxes}").iterdir()} == set(names)
        for name, key in names.items():
            np.testing.assert_array_equal(read_image(str(unpacked / f"images_{boxes}" / name)), pixels(*key))
    assert json.loads((unpacked / "splits.json").read_text(encoding="utf-8")) == TEST_SETS


def test_unpacking_between_object_stores_and_again():
    data = io.BytesIO()
    write_mat(data)
    system = fsspec.filesystem("memory")
    system.pipe_file("/cuhk03-test/cuhk-03.mat", data.getvalue())
    try:
        for _ in range(2):
            unpack_cuhk03("memory://cuhk03-test/cuhk-03.mat", "memory://cuhk03-test/out")
        rows = read_classic_detected("memory://cuhk03-test/out", 1)
    finally:
        system.rm("/cuhk03-test", recursive=True)
    assert len(rows) == 5


def test_classic_partitions(unpacked):
    assert facts(read_classic_labelled(str(unpacked), 0)) == [
        ("train", 1002, 1, None),
        ("train", 2001, 1, None),
        ("train", 2001, 2, None),
        ("query", 1001, 1, None),
        ("query", 1001, 2, None),
        ("gallery", 1001, 1, None),
        ("gallery", 1001, 2, None),
    ]
    rows = read_classic_detected(str(unpacked), 1)
    assert facts(rows[:1]) == [("train", 1001, 1, None)]
    assert [row.path for row in rows if row.split == "query"] == [row.path for row in rows if row.split == "gallery"]
    assert rows[0].path == str(unpacked / "images_detected" / "1_001_1_02.png")


def test_classic_folders_that_cannot_be_used(unpacked, tmp_path):
    with pytest.raises(ValueError, match="has partitions 0 to 1, got #2"):
        read_classic_labelled(str(unpacked), 2)
    with pytest.raises(ValueError, match=r"splits\.json: no such file; write the folder from cuhk-03\.mat"):
        read_classic_labelled(str(tmp_path), 0)
    (unpacked / "images_labeled" / "1_001_3_01.png").touch()
    with pytest.raises(ValueError, match=r"1 of 6 names are not like 1_001_2_06\.png"):
        read_classic_labelled(str(unpacked), 0)


@pytest.mark.parametrize(("read", "boxes"), [(read_labelled, "labeled"), (read_detected, "detected")])
def test_new_protocol_from_either_folder(tmp_path, read, boxes):
    within = write_np(tmp_path / boxes)
    rows = read(str(tmp_path))
    assert facts(rows) == [(split, 3, 2, None) for split in ("train", "query", "gallery")]
    assert rows == read(within)


def test_files_that_cannot_be_unpacked(tmp_path):
    mat, out = tmp_path / "cuhk-03.mat", tmp_path / "out"
    with pytest.raises(ValueError, match=r"no such file; give cuhk-03\.mat"):
        unpack_cuhk03(str(mat), str(out))
    mat.write_bytes(b"MATLAB 5.0 MAT-file")
    with pytest.raises(ValueError, match=r"is no MATLAB 7\.3 file"):
        unpack_cuhk03(str(mat), str(out))
    with h5py.File(mat, "w") as file:
        file["labeled"] = 0
    with pytest.raises(ValueError, match="has no detected, testsets"):
        unpack_cuhk03(str(mat), str(out))
    assert not out.exists()


def test_other_peoples_files_stay(tmp_path):
    write_mat(tmp_path / "cuhk-03.mat")
    with pytest.raises(ValueError, match="holds other files"):
        unpack_cuhk03(str(tmp_path / "cuhk-03.mat"), str(tmp_path))
