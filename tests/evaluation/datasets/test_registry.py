"""Specs to readers, and what each published benchmark counts."""

import pytest

from evaluation.datasets import registry
from evaluation.datasets.registry import BENCHMARKS, read_dataset
from evaluation.datasets.rows import SPLITS, Benchmark, ImageRow


@pytest.fixture
def market(tmp_path):
    folder = tmp_path / "market"
    for name in ("query/0001_c1s1_001051_00.jpg", "bounding_box_test/0001_c2s1_000301_00.jpg"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).touch()
    return folder


def test_bare_folder_and_benchmark_give_the_same_rows(market):
    rows = read_dataset(str(market))
    assert [(row.split, row.identity, row.camera) for row in rows] == [("query", 1, 1), ("gallery", 1, 2)]
    assert rows == read_dataset(f"market1501:{market}", any_counts=True)


def test_manifest_with_and_without_its_kind(tmp_path):
    path = tmp_path / "list.csv"
    path.write_text("path,identity,camera,time_seconds,split\na.jpg,1,1,,query\nb.jpg,1,2,,gallery\n", encoding="utf-8")
    assert read_dataset(str(path)) == read_dataset(f"csv:{path}")
    assert read_dataset(str(path))[0].path == str(tmp_path / "a.jpg")


def test_relative_folder_gives_absolute_paths(market, monkeypatch):
    monkeypatch.chdir(market.parent)
    assert read_dataset(market.name)[0].path.startswith(str(market))
    assert read_dataset(f"market1501:{market.name}", any_counts=True)[0].path.startswith(str(market))


def test_incomplete_copy_is_refused(market):
    with pytest.raises(ValueError, match=r"0 train images where market1501 has 12,936; .* with --any-counts"):
        read_dataset(f"market1501:{market}")


def test_both_splits_are_needed(market):
    (market / "query").rename(market / "probe")
    with pytest.raises(ValueError, match="has no query images; retrieval needs both query and gallery"):
        read_dataset(str(market))
    (market / "bounding_box_test").rename(market / "query")
    with pytest.raises(ValueError, match="has no gallery images"):
        read_dataset(f"market1501:{market}", any_counts=True)


def test_unknown_names(market):
    with pytest.raises(ValueError, match="unknown dataset 'market1051'; perhaps you meant market1501; there are csv, "):
        read_dataset(f"market1051:{market}")
    with pytest.raises(ValueError, match="unknown dataset 'market1501#first'"):
        read_dataset(f"market1501#first:{market}")
    with pytest.raises(ValueError, match="absent: no such dataset folder; give the folder that msmt17 was unpacked to"):
        read_dataset(f"msmt17:{market}/absent")


def test_partitions(market, monkeypatch):
    """The number after # reaches the reader; no number is the first partition."""

    def read(folder, split):
        return [ImageRow(path=folder, identity=1, camera=split, time_seconds=None, split=part) for part in SPLITS]

    monkeypatch.setitem(registry.BENCHMARKS, "drawn", Benchmark(read=read, num_splits=20))
    assert [row.camera for row in read_dataset(f"drawn#19:{market}")] == [19] * 3
    assert [row.camera for row in read_dataset(f"drawn:{market}")] == [0] * 3
    with pytest.raises(ValueError, match="drawn has partitions 0 to 19, got #20"):
        read_dataset(f"drawn#20:{market}")
    with pytest.raises(ValueError, match="market1501 has partitions 0 to 0, got #1"):
        read_dataset(f"market1501#1:{market}")


@pytest.mark.parametrize(
    ("name", "total"),
    [
        ("market1501", 36_036),
        ("dukemtmc-reid", 36_411),
        ("msmt17-combined", 126_441),
        ("cuhk03-np-labelled", 14_096),
        ("cuhk03-np-detected", 14_097),
    ],
)
def test_splits_sum_to_the_published_size(name, total):
    assert sum(BENCHMARKS[name].images.values()) == total


def test_counts_name_known_splits():
    for name, benchmark in BENCHMARKS.items():
        assert {*benchmark.images, *benchmark.identities} <= set(SPLITS), name
