"""VIPeR, PRID 2011, CUHK01 and CUHK02 in their true layouts, with empty files."""

import pytest

from evaluation.datasets.camera_pairs import (
    BENCHMARKS,
    CUHK01_SEED,
    PRID_SEED,
    VIPER_SEED,
    read_cuhk01,
    read_cuhk02,
    read_prid2011,
    read_viper,
)
from evaluation.datasets.layouts import random_half
from evaluation.datasets.registry import read_dataset


def touch(folder, names):
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).touch()


def seen(rows):
    return [(row.split, row.identity, row.camera, row.path.rsplit("/", 1)[1]) for row in rows]


@pytest.fixture
def viper(tmp_path):
    touch(tmp_path / "VIPeR" / "cam_a", ["000_45.bmp", "001_45.bmp", "003_0.bmp", "873_0.bmp"])
    touch(tmp_path / "VIPeR" / "cam_b", ["000_45.bmp", "001_90.bmp", "003_90.bmp", "873_180.bmp"])
    return tmp_path


@pytest.fixture
def prid(tmp_path):
    names = [f"person_{number:04d}.png" for number in (1, 2, 199, 200)]
    touch(tmp_path / "prid_2011" / "single_shot" / "cam_a", [*names, "person_0201.png", "person_0385.png"])
    touch(tmp_path / "prid_2011" / "single_shot" / "cam_b", [*names, "person_0201.png", "person_0749.png"])
    touch(tmp_path / "prid_2011" / "multi_shot" / "cam_a" / "person_0001", ["0001.png"])
    return tmp_path


@pytest.mark.parametrize("split", [0, 4])
def test_viper(viper, split):
    training = random_half([1, 2, 4, 874], seed=VIPER_SEED, split=split)
    names = {1: ("000_45", "000_45"), 2: ("001_45", "001_90"), 4: ("003_0", "003_90"), 874: ("873_0", "873_180")}
    expected = [("train", person, 1 + c, f"{names[person][c]}.bmp") for c in (0, 1) for person in sorted(training)]
    for c, part in enumerate(("query", "gallery")):
        expected += [(part, person, 1 + c, f"{names[person][c]}.bmp") for person in names if person not in training]
    rows = read_viper(str(viper), split)
    assert seen(rows) == expected
    assert rows == read_viper(str(viper / "VIPeR"), split)
    assert rows[0].path.startswith(str(viper / "VIPeR" / "cam_a"))
    assert all(row.time_seconds is None for row in rows)


def test_prid_has_the_others_of_the_second_camera_as_distractors(prid):
    training = random_half([1, 2, 199, 200], seed=PRID_SEED, split=2)
    test = [person for person in (1, 2, 199, 200) if person not in training]
    name = "person_{:04d}.png".format
    expected = [("train", person, camera, name(person)) for camera in (1, 2) for person in sorted(training)]
    expected += [("query", person, 1, name(person)) for person in test]
    expected += [("gallery", person, 2, name(person)) for person in test]
    expected += [("gallery", 0, 2, name(201)), ("gallery", 0, 2, name(749))]
    assert seen(read_prid2011(str(prid), 2)) == expected
    assert seen(read_prid2011(str(prid / "prid_2011"), 2)) == expected


def test_cuhk01_keeps_both_images_of_a_camera(tmp_path):
    touch(tmp_path / "campus", [f"{person:04d}{image:03d}.png" for person in (1, 2, 971) for image in (1, 2, 3, 4)])
    (person,) = random_half([1, 2, 971], seed=CUHK01_SEED, split=1)
    rest = [other for other in (1, 2, 971) if other != person]
    expected = [("train", person, (1, 1, 2, 2)[i - 1], f"{person:04d}{i:03d}.png") for i in (1, 2, 3, 4)]
    expected += [("query", other, 1, f"{other:04d}{image:03d}.png") for other in rest for image in (1, 2)]
    expected += [("gallery", other, 2, f"{other:04d}{image:03d}.png") for other in rest for image in (3, 4)]
    assert seen(read_cuhk01(str(tmp_path), 1)) == expected


def test_cuhk02_numbers_people_and_cameras_over_all_pairs(tmp_path):
    people = {"P1": (1, 2), "P2": (2,), "P3": (5,), "P4": (1,), "P5": (1, 7)}
    for pair, numbers in people.items():
        for camera in ("cam1", "cam2"):
            touch(tmp_path / "Dataset" / pair / camera, [f"{n:03d}_{i}.png" for n in numbers for i in (1, 2)])
    rows = read_cuhk02(str(tmp_path))
    of_first = [(row.split, row.identity, row.camera) for row in rows if row.path.endswith("_1.png")]
    assert of_first == [
        *[("train", identity, camera) for camera in (1, 2) for identity in (1, 2)],
        *[("train", 3, 3), ("train", 3, 4), ("train", 4, 5), ("train", 4, 6), ("train", 5, 7), ("train", 5, 8)],
        *[("query", 6, 9), ("query", 7, 9), ("gallery", 6, 10), ("gallery", 7, 10)],
    ]
    assert len(rows) == 2 * len(of_first)
    assert rows == read_cuhk02(str(tmp_path / "Dataset"))


def test_people_of_training_and_test_are_apart_in_all_partitions(viper):
    for split in range(10):
        rows = read_viper(str(viper), split)
        people = {part: {row.identity for row in rows if row.split == part} for part in ("train", "query", "gallery")}
        assert not people["train"] & people["query"]
        assert people["query"] == people["gallery"]


def test_counts_of_complete_copies(tmp_path):
    numbers = range(632)
    for camera in ("cam_a", "cam_b"):
        touch(tmp_path / "viper" / camera, [f"{number:03d}_0.bmp" for number in numbers])
    touch(tmp_path / "prid" / "single_shot" / "cam_a", [f"person_{number:04d}.png" for number in range(1, 386)])
    touch(tmp_path / "prid" / "single_shot" / "cam_b", [f"person_{number:04d}.png" for number in range(1, 750)])
    assert len(read_dataset(f"viper#9:{tmp_path / 'viper'}")) == 2 * 632
    assert len(read_dataset(f"prid2011#9:{tmp_path / 'prid'}")) == 200 + 100 + 649
    (tmp_path / "viper" / "cam_b" / "000_0.bmp").unlink()
    with pytest.raises(ValueError, match=r"where viper has (632|316)"):
        read_dataset(f"viper:{tmp_path / 'viper'}")
    with pytest.raises(ValueError, match="viper has partitions 0 to 9, got #10"):
        read_dataset(f"viper#10:{tmp_path / 'viper'}")


def test_numbers_of_the_papers_add_up():
    total = {name: sum(BENCHMARKS[name].images.values()) for name in ("viper", "cuhk01", "cuhk02")}
    assert total == {"viper": 2 * 632, "cuhk01": 4 * 971, "cuhk02": 4 * 1_816}
    assert BENCHMARKS["cuhk02"].identities["train"] == 971 + 306 + 107 + 193


def test_what_is_refused(tmp_path, viper):
    with pytest.raises(ValueError, match=r"no single_shot/ in it, nor in prid_2011/"):
        read_prid2011(str(tmp_path))
    with pytest.raises(ValueError, match=r"campus: no images there; it should hold CUHK01's images"):
        read_cuhk01(str(tmp_path))
    with pytest.raises(ValueError, match=r"no P5/cam1/ in it, nor in Dataset/"):
        read_cuhk02(str(tmp_path))
    (viper / "VIPeR" / "cam_b" / "someone.bmp").touch()
    with pytest.raises(ValueError, match=r"someone\.bmp: 1 of 5 names are not like 000_45\.bmp"):
        read_viper(str(viper))
    touch(tmp_path / "campus", ["0001001.png", "0001005.png"])
    with pytest.raises(ValueError, match=r"0001005\.png: 1 of 2 names are not like 0001001\.png"):
        read_cuhk01(str(tmp_path))
