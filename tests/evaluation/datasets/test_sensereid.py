"""SenseReID in its true layout, with empty files."""

import pytest

from cluster import storage
from evaluation.datasets.sensereid import read_sensereid


@pytest.fixture
def sensereid(tmp_path):
    for folder, names in {
        "test_probe": ["00000_0.jpg", "00193_1.jpg"],
        "test_gallery": ["00000_1.jpg", "00193_0.jpg", "01716_1.jpg"],
    }.items():
        (tmp_path / "SenseReID" / folder).mkdir(parents=True)
        for name in names:
            (tmp_path / "SenseReID" / folder / name).touch()
    return tmp_path


def test_identities_count_from_one(sensereid):
    rows = read_sensereid(str(sensereid))
    assert [(row.split, row.identity, row.camera) for row in rows] == [
        ("query", 1, 0),
        ("query", 194, 1),
        ("gallery", 1, 1),
        ("gallery", 194, 0),
        ("gallery", 1717, 1),
    ]
    assert rows == read_sensereid(str(sensereid / "SenseReID"))
    assert rows[0].path == str(sensereid / "SenseReID" / "test_probe" / "00000_0.jpg")


def test_what_is_refused(sensereid, tmp_path):
    with pytest.raises(ValueError, match=r"no test_probe/ in it, nor in SenseReID/"):
        read_sensereid(str(tmp_path / "absent"))
    (sensereid / "SenseReID" / "test_gallery" / "somebody.jpg").touch()
    with pytest.raises(ValueError, match=r"somebody\.jpg: 1 of 4 names are not like 00001_1\.jpg"):
        read_sensereid(str(sensereid))


def test_object_store(sensereid):
    storage.upload_folder(str(sensereid), "memory://sets")
    try:
        there = read_sensereid("memory://sets")
    finally:
        storage.remove("memory://sets")
    assert [row.identity for row in there] == [row.identity for row in read_sensereid(str(sensereid))]
    assert all(storage.is_remote(row.path) for row in there)
