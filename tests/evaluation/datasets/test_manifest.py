"""Market-1501 folders and CSV manifests to rows, and what is refused."""

import pytest

from evaluation.datasets import read_dataset

HEADER = "path,identity,camera,time_seconds,split\n"


@pytest.fixture
def market(tmp_path):
    names = {
        "query": ["0001_c1s1_001051_00.jpg"],
        "bounding_box_test": [
            "-1_c1s1_000401_03.jpg",
            "0000_c6s4_002202_01.jpg",
            "0001_c2s1_000301_00.jpg",
            "Thumbs.db",
        ],
        "bounding_box_train": ["0002_c3s1_000451_03.PNG"],
    }
    for folder, files in names.items():
        (tmp_path / folder).mkdir()
        for name in files:
            (tmp_path / folder / name).touch()
    return tmp_path


def manifest(tmp_path, text, header=HEADER):
    path = tmp_path / "list.csv"
    path.write_text(header + text)
    return str(path)


@pytest.mark.parametrize("prefix", ["market1501:", ""])
def test_market_folder(market, prefix):
    rows = read_dataset(f"{prefix}{market}")
    assert [(row.split, row.identity, row.camera) for row in rows] == [
        ("train", 2, 3),
        ("query", 1, 1),
        ("gallery", -1, 1),
        ("gallery", 0, 6),
        ("gallery", 1, 2),
    ]
    assert rows[1].path == str(market / "query" / "0001_c1s1_001051_00.jpg")
    assert all(row.time_seconds is None for row in rows)


def test_gallery_folder_name_and_absent_train(market):
    (market / "bounding_box_test").rename(market / "gallery")
    for name in (market / "bounding_box_train").iterdir():
        name.unlink()
    assert [row.split for row in read_dataset(str(market))] == ["query"] + ["gallery"] * 3


def test_relative_folder_gives_absolute_paths(market, monkeypatch):
    monkeypatch.chdir(market.parent)
    assert read_dataset(market.name)[1].path.startswith(str(market))


def test_market_folders_that_cannot_be_used(market):
    with pytest.raises(ValueError, match="no such dataset folder; give a folder with query/"):
        read_dataset(str(market / "absent"))
    with pytest.raises(ValueError, match="has no images below query/"):
        read_dataset(str(market / "query"))
    (market / "query" / "someone.jpg").touch()
    with pytest.raises(ValueError, match=r"1 of 6 names say no identity and camera, such as someone\.jpg"):
        read_dataset(str(market))


def test_manifest_with_integers(tmp_path):
    text = "a.jpg,7,1,12.5,query\n\n/b.jpg,-1,2,,gallery\ns3://bucket/c.jpg,0,2,,train\n"
    rows = read_dataset(manifest(tmp_path, text))
    assert [row.path for row in rows] == [str(tmp_path / "a.jpg"), "/b.jpg", "s3://bucket/c.jpg"]
    assert [(row.identity, row.camera, row.time_seconds) for row in rows] == [(7, 1, 12.5), (-1, 2, None), (0, 2, None)]


def test_manifest_with_names_numbers_them_in_sorted_order(tmp_path):
    text = "a.jpg,zoe,north,,query\nb.jpg,adam,south,,gallery\nc.jpg,zoe,south,,gallery\nd.jpg,-1,north,,gallery\n"
    rows = read_dataset("csv:" + manifest(tmp_path, text))
    assert [(row.identity, row.camera) for row in rows] == [(2, 1), (1, 2), (2, 2), (-1, 1)]


def test_manifest_from_a_spreadsheet(tmp_path):
    path = manifest(tmp_path, '"a, b.jpg", 1 ,1,,query\r\nc.jpg,1,2,,gallery\r\n', "\ufeff" + HEADER)
    assert read_dataset(path)[0].path == str(tmp_path / "a, b.jpg")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.jpg,1,1,,probe\n", "line 2: unknown split 'probe'; it must be one of train, query, gallery"),
        ("a.jpg,1,1,,query\n\na.jpg,-2,1,,query\n", "line 4: identity must be >= -1, got -2"),
        ("a.jpg,1,1,soon,query\n", "line 2: time_seconds 'soon' is no number"),
        ("a.jpg,1,1,nan,query\n", "line 2: time_seconds 'nan' is no number"),
        ("a.jpg,,1,,query\n", "line 2: no identity; fill the line in"),
        ("a.jpg,1,1\n", "line 2: no split"),
        (",1,1,,query\n", "line 2: no path"),
        ("", "lists no images"),
        ("a.jpg,1,1,,query\n", "has no gallery images; retrieval needs both"),
        ("a.jpg,1,1,,gallery\n", "has no query images"),
    ],
)
def test_manifests_that_cannot_be_used(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read_dataset(manifest(tmp_path, text))


def test_missing_columns_files_and_kinds(tmp_path):
    with pytest.raises(ValueError, match="has no column camera, split; it needs path,identity"):
        read_dataset(manifest(tmp_path, "a,1,2\n", "path,identity,time_seconds\n"))
    with pytest.raises(ValueError, match="no such manifest; give a CSV file"):
        read_dataset("csv:" + str(tmp_path / "absent"))
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="is not UTF-8 text"):
        read_dataset(str(tmp_path / "binary.csv"))
    with pytest.raises(ValueError, match="unknown kind of dataset 'veri'; use market1501:FOLDER"):
        read_dataset("veri:/data")
