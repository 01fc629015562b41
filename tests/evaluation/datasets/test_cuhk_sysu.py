"""CUHK-SYSU: two cameras made of none, the subset of lifelong re-identification, and what is refused."""

import pytest

from evaluation.datasets.cuhk_sysu import read_cuhk_sysu, read_cuhk_sysu_lreid


@pytest.fixture
def folder(tmp_path):
    names = {
        "train": [f"00007_s{100 + i}_{i:07d}_0.jpg" for i in range(4)] + [f"00009_s20_{i:07d}_1.jpg" for i in range(3)],
        "query": ["11934_s5_0000000_0.jpg"],
        "gallery": ["11934_s6_0000001_1.jpg"],
        "combine": ["00007_s100_0000000_0.jpg"],
    }
    for part, files in names.items():
        (tmp_path / part).mkdir()
        for name in files:
            (tmp_path / part / name).touch()
    return tmp_path


def facts(rows):
    return [(row.split, row.identity, row.camera, row.time_seconds) for row in rows]


def test_queries_have_a_camera_of_their_own(folder):
    rows = read_cuhk_sysu(str(folder))
    assert facts(rows[:7]) == [("train", 7, 1, None)] * 4 + [("train", 9, 1, None)] * 3
    assert facts(rows[7:]) == [("query", 11934, 2, None), ("gallery", 11934, 1, None)]
    assert rows[7].path == str(folder / "query" / "11934_s5_0000000_0.jpg")


def test_lifelong_subset_trains_on_four_images_or_more(folder):
    rows = read_cuhk_sysu(str(folder))
    assert read_cuhk_sysu_lreid(str(folder)) == rows[:4] + rows[7:]


def test_names_that_cannot_be_read(folder):
    (folder / "query" / "p5.jpg").touch()
    with pytest.raises(ValueError, match=r"p5\.jpg: 1 of 2 names are not like 00042_s1234_0000017_0\.jpg"):
        read_cuhk_sysu(str(folder))


def test_every_folder_has_to_be_there(folder):
    (folder / "gallery").rename(folder / "answers")
    with pytest.raises(
        ValueError, match="gallery: no images there; it should hold the gallery images of cuhksysu4reid"
    ):
        read_cuhk_sysu(str(folder))
