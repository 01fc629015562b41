"""VeRi-776 and VehicleID in their true layouts, with empty files."""

import pytest

from evaluation.datasets.registry import read_dataset
from evaluation.datasets.vehicles import BENCHMARKS, read_vehicleid, read_veri


@pytest.fixture
def veri(tmp_path):
    for folder, names in {
        "image_train": ["0001_c001_00016450_0.jpg"],
        "image_query": ["0002_c002_00030600_0.jpg"],
        "image_test": ["0002_c002_00030600_0.jpg", "0002_c002_00030605_1.jpg", "0776_c020_00084280_0.jpg"],
    }.items():
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / name).touch()
    return tmp_path


def test_veri(veri):
    rows = read_veri(str(veri))
    assert [(row.split, row.identity, row.camera) for row in rows] == [
        ("train", 1, 1),
        ("query", 2, 2),
        ("gallery", 2, 2),
        ("gallery", 2, 2),
        ("gallery", 776, 20),
    ]
    assert rows[1].path == str(veri / "image_query" / "0002_c002_00030600_0.jpg")
    assert all(row.time_seconds is None for row in rows)


def test_veri_that_cannot_be_read(veri, tmp_path):
    with pytest.raises(ValueError, match="1 train images where veri-776 has 37,778"):
        read_dataset(f"veri-776:{veri}")
    (veri / "image_test" / "car.jpg").touch()
    with pytest.raises(ValueError, match=r"car\.jpg: 1 of 4 names are not like 0002_c002_00030600_0\.jpg"):
        read_veri(str(veri))
    with pytest.raises(ValueError, match=r"image_train: no images there; it should hold the train images of VeRi-776"):
        read_veri(str(tmp_path / "absent"))


@pytest.fixture
def vehicleid(tmp_path):
    (tmp_path / "image").mkdir()
    (tmp_path / "train_test_split").mkdir()
    (tmp_path / "train_test_split" / "train_list.txt").write_text("0000005 7\n0000002 0\n", encoding="utf-8")
    (tmp_path / "train_test_split" / "test_list_800.txt").write_text(
        "0000009 30\n0000001 30\n0000008 31\n0000003 30\n0000004 31\n\n", encoding="utf-8"
    )
    return tmp_path


def test_vehicleid(vehicleid):
    rows = read_vehicleid(str(vehicleid), num_vehicles=800)
    assert [(row.split, row.identity, row.camera, row.path[-11:]) for row in rows] == [
        ("train", 1, 2, "0000002.jpg"),
        ("train", 8, 5, "0000005.jpg"),
        ("query", 31, 3, "0000003.jpg"),
        ("query", 32, 6, "0000008.jpg"),
        ("query", 31, 7, "0000009.jpg"),
        ("gallery", 31, 1, "0000001.jpg"),
        ("gallery", 32, 4, "0000004.jpg"),
    ]
    assert rows[0].path == str(vehicleid / "image" / "0000002.jpg")
    assert rows == read_dataset(f"vehicleid-small:{vehicleid}", any_counts=True)


def test_vehicleid_that_cannot_be_read(vehicleid, tmp_path):
    with pytest.raises(ValueError, match=r"test_list_1600\.txt: no such list"):
        read_dataset(f"vehicleid-medium:{vehicleid}")
    with pytest.raises(ValueError, match=r"absent: no image/ in it"):
        read_vehicleid(str(tmp_path / "absent"), num_vehicles=800)
    for wrong in ("0000005", "0000005 7 8", "0000005 car", "0000002 3"):
        (vehicleid / "train_test_split" / "train_list.txt").write_text(f"0000002 0\n{wrong}\n", encoding="utf-8")
        with pytest.raises(ValueError, match=rf"train_list\.txt, line 2: '{wrong}' is no new image and vehicle"):
            read_vehicleid(str(vehicleid), num_vehicles=800)


def test_the_gallery_has_one_image_of_each_vehicle():
    for name, num_vehicles, num_images in (("small", 800, 6_493), ("medium", 1_600, 13_377), ("large", 2_400, 19_777)):
        images = BENCHMARKS[f"vehicleid-{name}"].images
        assert images["gallery"] == num_vehicles
        assert images["query"] + images["gallery"] == num_images
