"""Complete copies of a benchmark pass, all others are named with what is missing."""

import pytest

from evaluation.datasets.rows import Benchmark, ImageRow, check_counts, list_images


def row(split, identity):
    return ImageRow(path="/a.jpg", identity=identity, camera=1, time_seconds=None, split=split)


ROWS = [row("train", 3), row("train", 3), row("query", 1), row("gallery", 1), row("gallery", 0), row("gallery", -1)]


def benchmark(images, identities):
    return Benchmark(read=lambda folder, split: ROWS, images=images, identities=identities)


def test_complete_copy():
    """Junk and distractors are images and no identities; a split without a number may hold any."""
    check_counts("b", "/b", ROWS, benchmark({"train": 2, "query": 1, "gallery": 3}, {"train": 1, "gallery": 1}))
    check_counts("b", "/b", ROWS, benchmark({}, {}))


def test_incomplete_copy_says_all_that_is_wrong():
    complete = benchmark({"train": 2_000, "query": 1, "gallery": 4}, {"train": 1, "gallery": 2})
    expected = (
        r"/b: 2 train images where b has 2,000; 3 gallery images where b has 4; 1 gallery identities where b has 2: "
        r".* take it as it is with --any-counts"
    )
    with pytest.raises(ValueError, match=expected):
        check_counts("b", "/b", ROWS, complete)


def test_list_images_is_sorted_and_finds_images_alone(tmp_path):
    for name in ("b.JPG", "a/c.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert list_images(str(tmp_path), what="x") == [str(tmp_path / "a/c.png"), str(tmp_path / "b.JPG")]
    for absent in ("absent", "a/empty"):
        with pytest.raises(ValueError, match="no images there; it should hold the queries of X"):
            list_images(str(tmp_path / absent), what="the queries of X")
