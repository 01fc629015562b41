"""Market-1501, its distractors and DukeMTMC-reID: rows, clocks, and what is refused."""

import fsspec
import pytest

from evaluation.datasets.market import read_duke, read_market, read_market_500k, sequence_clock

MARKET = {
    "query": ["0001_c1s1_001050_00.jpg"],
    "bounding_box_test": ["-1_c1s1_000400_03.jpg", "0000_c6s4_002200_01.jpg", "0001_c2s1_000300_00.jpg", "Thumbs.db"],
    "bounding_box_train": ["0002_c1s2_000450_03.PNG"],
}
DUKE = {
    "bounding_box_train": ["0001_c5_f0005994.jpg"],
    "query": ["0005_c2_f0046985.jpg"],
    "bounding_box_test": ["7139_c8_f0000001.jpg", "0005_c1_f0000452.jpg"],
}


def write(folder, tree):
    for part, names in tree.items():
        (folder / part).mkdir(parents=True)
        for name in names:
            (folder / part / name).touch()
    return str(folder)


def facts(rows):
    return [(row.split, row.identity, row.camera, row.time_seconds) for row in rows]


def test_market_rows(tmp_path):
    rows = read_market(write(tmp_path, MARKET))
    assert facts(rows) == [
        ("train", 2, 1, 60.0),  # after sequence 1 of camera 1, whose largest frame is 1050
        ("query", 1, 1, 42.0),
        ("gallery", -1, 1, 16.0),
        ("gallery", 0, 6, 88.0),
        ("gallery", 1, 2, 12.0),
    ]
    assert rows[1].path == str(tmp_path / "query" / "0001_c1s1_001050_00.jpg")


def test_market_on_an_object_store():
    system = fsspec.filesystem("memory")
    for part, names in MARKET.items():
        for name in names:
            system.pipe_file(f"/market-test/{part}/{name}", b"")
    try:
        rows = read_market("memory://market-test")
    finally:
        system.rm("/market-test", recursive=True)
    assert [row.split for row in rows] == ["train", "query", "gallery", "gallery", "gallery"]
    assert rows[1].path.startswith("memory://")
    assert rows[1].path.endswith("/market-test/query/0001_c1s1_001050_00.jpg")


def test_folder_of_any_size_with_other_names(tmp_path):
    tree = {"query": ["0001_c3.jpg", "2_c003_x.webp"], "gallery": ["0001_c1_s1_01.png", "0001_c2s1_000050.jpg"]}
    assert facts(read_market(write(tmp_path, tree))) == [
        ("query", 1, 3, None),
        ("query", 2, 3, None),
        ("gallery", 1, 1, None),
        ("gallery", 1, 2, 2.0),
    ]


def test_sequences_are_laid_end_to_end():
    """Four sequences of 100 frames; the program published with TLift gives 100, 200, 400, 800 frames."""
    ends = sequence_clock([(1, sequence, 100) for sequence in (1, 2, 3, 4)])
    assert ends == [100 / 25, 200 / 25, 300 / 25, 400 / 25]


def test_each_camera_has_a_clock_of_its_own():
    stamps = [(2, 3, 50), (1, 1, 25), None, (2, 1, 75), (1, 6, 25), (2, 3, 0)]
    assert sequence_clock(stamps) == [5.0, 1.0, None, 3.0, 2.0, 3.0]


def test_distractors_are_nobody_from_a_camera_without_queries(tmp_path):
    folder = write(tmp_path, {**MARKET, "images": ["0000_c1s1_000001_00.jpg", "0007.jpg"]})
    rows = read_market_500k(folder)
    assert rows[:-2] == read_market(folder)
    assert facts(rows[-2:]) == [("gallery", 0, 7, None)] * 2


def test_distractors_have_to_be_there(tmp_path):
    with pytest.raises(ValueError, match=r"images: no images there; .* unpack distractors_500k\.zip beside query/"):
        read_market_500k(write(tmp_path, MARKET))


def test_duke_rows_on_one_clock(tmp_path):
    assert facts(read_duke(write(tmp_path, DUKE))) == [
        ("train", 1, 5, pytest.approx(100.0)),
        ("query", 5, 2, pytest.approx((46985 + 3606) / 59.94)),
        ("gallery", 5, 1, pytest.approx(100.0)),
        ("gallery", 7139, 8, pytest.approx(46766 / 59.94)),
    ]


def test_folders_that_cannot_be_used(tmp_path):
    folder = write(tmp_path, MARKET)
    for read in (read_market, read_duke):
        with pytest.raises(ValueError, match="absent: no such dataset folder; give a folder with query/"):
            read(folder + "/absent")
        with pytest.raises(ValueError, match="has no images below query/"):
            read(folder + "/query")
    with pytest.raises(ValueError, match=r"names are not like 0005_c2_f0046985\.jpg"):
        read_duke(folder)
    (tmp_path / "query" / "someone.jpg").touch()
    with pytest.raises(ValueError, match=r"1 of 6 names say no identity and camera, such as someone\.jpg; rename"):
        read_market(folder)


def test_duke_has_eight_cameras(tmp_path):
    with pytest.raises(ValueError, match="1 of 1 names are not like"):
        read_duke(write(tmp_path, {"query": ["0005_c9_f0046985.jpg"]}))
