"""CSV manifests to rows, and what is refused."""

import pytest

from evaluation.datasets.manifest import read_manifest

HEADER = "path,identity,camera,time_seconds,split\n"


def manifest(tmp_path, text, header=HEADER):
    path = tmp_path / "list.csv"
    path.write_text(header + text, encoding="utf-8")
    return str(path)


def test_manifest_with_integers(tmp_path):
    text = "a.jpg,7,1,12.5,query\n\n/b.jpg,-1,2,,gallery\ns3://bucket/c.jpg,0,2,,train\n"
    rows = read_manifest(manifest(tmp_path, text))
    assert [row.path for row in rows] == [str(tmp_path / "a.jpg"), "/b.jpg", "s3://bucket/c.jpg"]
    assert [(row.identity, row.camera, row.time_seconds) for row in rows] == [(7, 1, 12.5), (-1, 2, None), (0, 2, None)]


def test_manifest_with_names_numbers_them_in_sorted_order(tmp_path):
    text = "a.jpg,zoe,north,,query\nb.jpg,adam,south,,gallery\nc.jpg,zoe,south,,gallery\nd.jpg,-1,north,,gallery\n"
    rows = read_manifest(manifest(tmp_path, text))
    assert [(row.identity, row.camera) for row in rows] == [(2, 1), (1, 2), (2, 2), (-1, 1)]


def test_manifest_from_a_spreadsheet(tmp_path):
    path = manifest(tmp_path, '"a, b.jpg", 1 ,1,,query\r\nc.jpg,1,2,,gallery\r\n', "\ufeff" + HEADER)
    assert read_manifest(path)[0].path == str(tmp_path / "a, b.jpg")


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
    ],
)
def test_manifests_that_cannot_be_used(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read_manifest(manifest(tmp_path, text))


def test_missing_columns_and_files(tmp_path):
    with pytest.raises(ValueError, match="has no column camera, split; it needs path,identity"):
        read_manifest(manifest(tmp_path, "a,1,2\n", "path,identity,time_seconds\n"))
    with pytest.raises(ValueError, match="no such manifest; give a CSV file"):
        read_manifest(str(tmp_path / "absent"))
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="is not UTF-8 text"):
        read_manifest(str(tmp_path / "binary.csv"))
