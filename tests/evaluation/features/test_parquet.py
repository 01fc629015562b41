"""The features file: a round trip, what other tools may write, and what is refused."""

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evaluation.features import parquet
from evaluation.features.files import read_features
from evaluation.features.parquet import OPTIONAL, REQUIRED, write_features
from evaluation.features.table import Features, concatenate
from tests.evaluation.features.people import make_features


def rewrite(location, change):
    """Apply a change to the columns of a written file, as another tool's file would differ."""
    table = pq.read_table(location)
    columns = {name: table[name] for name in (*REQUIRED, *OPTIONAL)}
    change(columns)
    pq.write_table(pa.table(columns), location)


@pytest.fixture
def location(tmp_path):
    path = str(tmp_path / "new" / "features.parquet")
    write_features(path, make_features())
    return path


def test_round_trip_is_exact(location):
    written, read = make_features(), read_features(location)
    for field in dataclasses.fields(Features):
        np.testing.assert_array_equal(getattr(read, field.name), getattr(written, field.name))
        assert getattr(read, field.name).dtype == getattr(written, field.name).dtype


def test_the_file_is_what_the_design_promises(location):
    schema = pq.read_schema(location)
    assert schema.field("feature").type == pa.list_(pa.float32(), 4)
    kinds = {"identity": "int64", "camera": "int64", "time_seconds": "double", "path": "string"}
    kinds |= {"split": "string", "model_fingerprint": "string"}
    assert {name: str(schema.field(name).type) for name in kinds} == kinds
    assert pq.read_table(location)["time_seconds"].null_count == 3


@pytest.mark.parametrize("kind", [pa.list_(pa.float64()), pa.large_list(pa.float32()), pa.list_(pa.float64(), 4)])
def test_other_list_types_are_read(location, kind):
    def change(columns):
        columns["feature"] = pa.array(columns["feature"].to_pylist(), kind)
        columns["identity"] = columns["identity"].cast(pa.int32())
        columns["split"] = columns["split"].dictionary_encode()
        columns["time_seconds"] = pa.nulls(6)
        columns["extra"] = columns["identity"]

    rewrite(location, change)
    read = read_features(location)
    np.testing.assert_array_equal(read.feature, make_features().feature)
    assert read.split.tolist() == make_features().split.tolist()
    assert np.isnan(read.time_seconds).all()


def test_select_keeps_order_and_names_what_is_there():
    features = make_features()
    assert features.select("gallery").path.tolist() == ["/images/1.jpg", "/images/3.jpg", "/images/5.jpg"]
    with pytest.raises(ValueError, match="there are no train images, only: gallery, query"):
        features.select("train")


def test_missing_file_folder_and_garbage(tmp_path):
    with pytest.raises(ValueError, match="no such features file; write one with: python -m evaluation embed"):
        read_features(str(tmp_path / "absent.parquet"))
    with pytest.raises(ValueError, match="no such features file"):
        read_features(str(tmp_path))
    (tmp_path / "garbage.parquet").write_bytes(b"garbage")
    with pytest.raises(ValueError, match=r"garbage\.parquet: not a Parquet file"):
        read_features(str(tmp_path / "garbage.parquet"))


@pytest.mark.parametrize("name", REQUIRED)
def test_missing_column_is_named(location, name):
    rewrite(location, lambda columns: columns.pop(name))
    with pytest.raises(ValueError, match=f"has no column {name}; a features file has feature, identity"):
        read_features(location)


def test_what_may_be_absent(location):
    rewrite(location, lambda columns: [columns.pop(name) for name in OPTIONAL])
    read = read_features(location)
    assert np.isnan(read.time_seconds).all()
    assert read.path.tolist() == [f"row {row}" for row in range(6)]
    assert set(read.model_fingerprint) == {"unknown"}


def test_more_rows_than_are_read_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "ROWS_AT_ONCE", 4)
    path = str(tmp_path / "f.parquet")
    write_features(path, make_features(11))
    np.testing.assert_array_equal(read_features(path).feature, make_features(11).feature)


def test_neighbouring_rows_share_memory_and_others_do_not():
    features = make_features(10, split=np.array(["query"] * 4 + ["gallery"] * 6, object))
    assert np.shares_memory(features.select("gallery").feature, features.feature)
    assert not np.shares_memory(features.take(np.array([1, 3])).feature, features.feature)
    assert features.select("query", "gallery").path.tolist() == features.path.tolist()


def test_tables_are_put_together():
    both = concatenate([make_features(3), make_features(2, seed=1)])
    assert len(both) == 5
    with pytest.raises(ValueError, match="features of 4 and 5 components cannot be in one gallery"):
        concatenate([make_features(3), make_features(3, 5)])


def uneven():
    return pa.array([[1.0, 2.0]] * 4 + [[1.0]] + [[1.0, 2.0]], pa.list_(pa.float32()))


@pytest.mark.parametrize(
    ("name", "column", "message"),
    [
        ("feature", pa.array([1.0] * 6), "column feature must hold lists of floats, got double"),
        ("feature", pa.array([[1]] * 6), "column feature must hold lists of floats, got lists of int64"),
        ("feature", uneven(), "the feature of row 4 has 1 components and that of row 0 has 2"),
        ("feature", pa.array([[1.0], None] * 3), "column feature has empty values, the first in row 1"),
        ("feature", pa.array([[]] * 6, pa.list_(pa.float32())), r"features must be \[N, D\] with N, D > 0"),
        (
            "feature",
            pa.array([[1.0], [np.nan]] * 3),
            r"3 features hold NaN or infinity, the first in row 1 \(/images/1",
        ),
        ("identity", pa.array(["a"] * 6), "column identity must hold integers, got string"),
        ("identity", pa.array([1, -2] * 3), r"identities must be >= -1 \(-1 is junk\), got -2"),
        ("identity", pa.array([1, None] * 3), "column identity has 3 empty values, the first in row 1"),
        ("camera", pa.array([1.5] * 6), "column camera must hold integers, got double"),
        ("time_seconds", pa.array(["noon"] * 6), "column time_seconds must hold floats, got string"),
        ("split", pa.array([1] * 6), "column split must hold strings, got int64"),
        ("path", pa.array(["a", None] * 3), "column path has 3 empty values, the first in row 1"),
    ],
)
def test_wrong_columns_are_refused(location, name, column, message):
    rewrite(location, lambda columns: columns.update({name: column}))
    with pytest.raises(ValueError, match=message):
        read_features(location)


def test_empty_file_is_refused(location):
    pq.write_table(pq.read_table(location).slice(0, 0), location)
    with pytest.raises(ValueError, match="there are no rows"):
        read_features(location)


def test_arrays_of_unequal_length_are_refused():
    with pytest.raises(ValueError, match="6 features need as many values of camera, got 2"):
        make_features(camera=np.array([1, 2]))
