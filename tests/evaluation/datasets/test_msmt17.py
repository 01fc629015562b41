"""MSMT17: both releases, both training sets, identities that overlap nowhere, and what is refused."""

import pytest

from evaluation.datasets.msmt17 import read_msmt17, read_msmt17_combined

LISTS = {
    "train": ["0000/0000_000_01_0303morning_0008_0.jpg 0", "1040/1040_001_15_0113noon_0100_2.jpg 1040"],
    "val": ["0000/0000_007_02_0303afternoon_0009_1.jpg 0"],
    "query": ["0000/0000_002_03_0303morning_0010_0.jpg 0"],
    "gallery": ["0000/0000_003_04_0303morning_0011_0.jpg 0", "3059/3059_004_05_0303morning_0012_0.jpg 3059"],
}


def write(folder, train="train", test="test"):
    for split, lines in LISTS.items():
        (folder / f"list_{split}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        for line in lines:
            path = folder / (train if split in ("train", "val") else test) / line.split()[0]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    return str(folder)


def facts(rows):
    return [(row.split, row.identity, row.camera) for row in rows]


@pytest.mark.parametrize("folders", [("train", "test"), ("mask_train_v2", "mask_test_v2")])
def test_rows_of_both_releases(tmp_path, folders):
    rows = read_msmt17(write(tmp_path, *folders))
    assert facts(rows) == [
        ("train", 1, 1),
        ("train", 1041, 15),
        ("query", 1042, 3),
        ("gallery", 1042, 4),
        ("gallery", 4101, 5),
    ]
    assert rows[0].path == str(tmp_path / folders[0] / "0000" / "0000_000_01_0303morning_0008_0.jpg")
    assert rows[2].path.startswith(str(tmp_path / folders[1]))
    assert all(row.time_seconds is None for row in rows)


def test_combined_adds_validation_to_train(tmp_path):
    folder = write(tmp_path)
    alone, combined = facts(read_msmt17(folder)), facts(read_msmt17_combined(folder))
    assert combined == [*alone[:2], ("train", 1, 2), *alone[2:]]


def test_no_release_or_two(tmp_path):
    with pytest.raises(ValueError, match=r"has neither train/ \(V1\) nor mask_train_v2/ \(V2\)"):
        read_msmt17(str(tmp_path))
    write(tmp_path)
    (tmp_path / "mask_train_v2").mkdir()
    (tmp_path / "mask_train_v2" / "a.jpg").touch()
    with pytest.raises(ValueError, match="has both train/"):
        read_msmt17(str(tmp_path))


def test_lists_and_images_have_to_be_there(tmp_path):
    folder = write(tmp_path)
    (tmp_path / "list_query.txt").rename(tmp_path / "list_probe.txt")
    with pytest.raises(ValueError, match=r"list_query\.txt: no such list"):
        read_msmt17(folder)
    (tmp_path / "test" / LISTS["gallery"][0].split()[0]).unlink()
    (tmp_path / "list_probe.txt").rename(tmp_path / "list_query.txt")
    with pytest.raises(ValueError, match=r"list_gallery\.txt: 1 of 2 images are not there, such as .*0000_003_04"):
        read_msmt17(folder)


@pytest.mark.parametrize(
    "line", ["0000/0000_000_01_0303morning_0008_0.jpg", "portrait.jpg 3", "1041/1041_0_1_x.jpg 1041"]
)
def test_lines_that_cannot_be_read(tmp_path, line):
    folder = write(tmp_path)
    (tmp_path / "list_train.txt").write_text(f"{LISTS['train'][0]}\n{line}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"list_train\.txt, line 2: .* is no image and identity of MSMT17"):
        read_msmt17(folder)
