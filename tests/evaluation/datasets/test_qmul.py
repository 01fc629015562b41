"""GRID with and without its partitions, and i-LIDS."""

import logging

import numpy as np
import pytest
from scipy.io import savemat

from evaluation.datasets.layouts import random_half
from evaluation.datasets.qmul import GRID_SEED, ILIDS_SEED, read_grid, read_ilids
from evaluation.datasets.registry import read_dataset


def touch(folder, names):
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).touch()


@pytest.fixture
def grid(tmp_path):
    root = tmp_path / "underground_reid"
    touch(root / "probe", [f"000{person}_1_2500{person}_107_32_106_221.jpeg" for person in (1, 2, 3, 4)])
    true = [f"000{person}_{person + 1}_25023_116_134_128_330.jpeg" for person in (1, 2, 3, 4)]
    touch(root / "gallery", [*true, "0000_1_25698_101_16_87_246.jpeg", "0000_8_26113_116_13_72_212.jpeg"])
    return tmp_path


def partitions(training):
    """The cell array of GRID: a struct with three lists of numbers for each partition."""
    cell = np.empty((1, len(training)), dtype=object)
    for split, people in enumerate(training):
        numbers = np.array([people], np.uint16)
        cell[0, split] = {"probeImIdx": 2 * numbers, "galleryImIdx": 2 * numbers - 1, "personIdx": numbers}
    return {"trainIdxAll": cell, "ftrset": np.zeros((3, 2))}


def expected_grid(training):
    test = [person for person in (1, 2, 3, 4) if person not in training]
    rows = [("train", person, 1) for person in sorted(training)]
    rows += [("train", person, person + 1) for person in sorted(training)]
    rows += [("query", person, 1) for person in test]
    return rows + [("gallery", 0, 1), ("gallery", 0, 8)] + [("gallery", person, person + 1) for person in test]


def seen(rows):
    return [(row.split, row.identity, row.camera) for row in rows]


def test_grid_takes_its_own_partitions(grid, caplog):
    savemat(grid / "underground_reid" / "features_and_partitions.mat", partitions([[2, 4], [1], [3, 1]]))
    for split, training in enumerate([{2, 4}, {1}, {1, 3}]):
        assert seen(read_grid(str(grid), split)) == expected_grid(training)
    assert not caplog.records
    assert read_grid(str(grid)) == read_grid(str(grid / "underground_reid"))


@pytest.mark.parametrize("split", [0, 9])
def test_grid_without_the_file_of_partitions_says_so(grid, caplog, split):
    with caplog.at_level(logging.WARNING):
        rows = read_grid(str(grid), split)
    assert seen(rows) == expected_grid(random_half([1, 2, 3, 4], seed=GRID_SEED, split=split))
    assert f"a random half of ours instead of GRID's own partition {split}" in caplog.text


def test_grid_that_cannot_be_read(grid, tmp_path):
    location = grid / "underground_reid" / "features_and_partitions.mat"
    savemat(location, {"other": 1})
    with pytest.raises(ValueError, match=r"no trainIdxAll of 10 partitions with personIdx"):
        read_grid(str(grid))
    savemat(location, partitions([[1], [2]]))
    with pytest.raises(ValueError, match=r"no trainIdxAll of 10 partitions"):
        read_grid(str(grid), 5)
    location.write_bytes(b"no file of MATLAB, whatever its name says" * 10)
    with pytest.raises(ValueError, match=r"no trainIdxAll of 10 partitions"):
        read_grid(str(grid))
    with pytest.raises(ValueError, match=r"no probe/ in it, nor in underground_reid/"):
        read_grid(str(tmp_path / "absent"))


@pytest.fixture
def ilids(tmp_path):
    counts = {1: 2, 2: 4, 7: 3, 8: 2, 119: 5}
    names = [f"{person:04d}{image:03d}.jpg" for person, count in counts.items() for image in range(1, count + 1)]
    touch(tmp_path / "i-LIDS_Pedestrian" / "Persons", names)
    return tmp_path


@pytest.mark.parametrize("split", range(3))
def test_ilids_draws_two_images_of_each_test_person(ilids, split):
    rows = read_ilids(str(ilids), split)
    assert rows == read_ilids(str(ilids), split)
    training = random_half([1, 2, 7, 8, 119], seed=ILIDS_SEED, split=split)
    counts = {1: 2, 2: 4, 7: 3, 8: 2, 119: 5}
    assert [(row.identity, row.camera) for row in rows if row.split == "train"] == [
        (person, image) for person in sorted(training) for image in range(1, counts[person] + 1)
    ]
    test = sorted(set(counts) - training)
    query, gallery = ([row for row in rows if row.split == part] for part in ("query", "gallery"))
    assert [row.identity for row in query] == [row.identity for row in gallery] == test
    assert all(one.camera != other.camera for one, other in zip(query, gallery, strict=True))
    assert all(row.path.endswith(f"{row.identity:04d}{row.camera:03d}.jpg") for row in rows)


def test_ilids_complete_and_not(tmp_path):
    names = [f"{person:04d}{image:03d}.jpg" for person in range(1, 120) for image in range(1, 5)]
    touch(tmp_path / "Persons", names)
    assert sum(row.split == "train" for row in read_dataset(f"ilids#3:{tmp_path}")) == 4 * 59
    for image in (2, 3, 4):
        (tmp_path / "Persons" / f"0009{image:03d}.jpg").unlink()
    with pytest.raises(ValueError, match=r"person 0009 has one image; a query needs another"):
        read_ilids(str(tmp_path))
    (tmp_path / "Persons" / "person.jpg").touch()
    with pytest.raises(ValueError, match=r"person\.jpg: 1 of 474 names are not like 0001001\.jpg"):
        read_ilids(str(tmp_path))
