"""Storage on a local disk and on an object store (fsspec's memory file system stands in; S3 has its own test)."""

import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from cluster import storage


@pytest.fixture(params=["local", "remote"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty folder of each kind."""
    if request.param == "local":
        yield str(tmp_path)
        return
    name = f"memory://{uuid.uuid4().hex}"
    yield name
    system = fsspec.filesystem("memory")
    if system.exists(name):
        system.rm(name, recursive=True)


def test_locations_become_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/someone")
    assert storage.resolve("a/../b") == str(tmp_path / "b")
    assert storage.resolve(Path("b")) == str(tmp_path / "b")
    assert storage.resolve("~/b") == "/home/someone/b"
    assert storage.resolve("file:///x/y/") == "/x/y"
    assert storage.resolve("s3://bucket/x/") == "s3://bucket/x"
    with pytest.raises(ValueError, match="a location must not be empty"):
        storage.resolve("")
    with pytest.raises(ValueError, match=r"s4://b: unknown kind of storage 's4'; use a path or an s3:// URL"):
        storage.resolve("s4://b")


def test_names_and_parts():
    assert storage.join("s3://b/x/", "y", "z.json") == "s3://b/x/y/z.json"
    assert storage.name_of("s3://b/x/") == "x"
    assert storage.name_of("/a/b.mp4") == "b.mp4"
    assert storage.is_remote("s3://b")
    assert not storage.is_remote("/a")
    assert not storage.is_remote("file:///a")


def test_what_is_written_is_read(place: str):
    location = storage.join(place, "deep", "er", "a.bin")
    assert not storage.exists(location)
    storage.write_bytes(location, b"one")
    storage.write_bytes(location, b"two!")
    assert storage.read_bytes(location) == b"two!"
    assert storage.exists(location)
    assert storage.is_folder(storage.join(place, "deep"))
    assert not storage.is_folder(location)
    with storage.open_for_reading(location) as stream:
        stream.seek(3)
        assert stream.read() == b"!"
    storage.write_bytes(location, b"")
    assert storage.read_bytes(location) == b""
    with pytest.raises(FileNotFoundError):
        storage.read_bytes(storage.join(place, "absent"))


def test_json_keeps_values_and_refuses_what_others_cannot_read(place: str):
    location = storage.join(place, "a.json")
    storage.write_json(location, {"a": [1, 2.5, None, "é"]})
    assert storage.read_json(location) == {"a": [1, 2.5, None, "é"]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        storage.write_json(location, float("nan"))
    assert storage.read_json(location) == {"a": [1, 2.5, None, "é"]}, "the old content stays"
    storage.write_bytes(location, b'{"a": ')
    with pytest.raises(ValueError, match=r"a\.json is not valid JSON .*; restore it or write it again"):
        storage.read_json(location)


def test_lists_are_sorted_complete_and_filtered(place: str):
    for name in ("b.MP4", "a/c.mp4", "a/d.txt"):
        storage.write_bytes(storage.join(place, name), b"x")
    everything = storage.list_files(place)
    assert [location.rsplit("/", 1)[1] for location in everything] == ["c.mp4", "d.txt", "b.MP4"]
    assert all(storage.read_bytes(location) == b"x" for location in everything), "they are locations again"
    assert storage.list_files(place, (".mp4",)) == [everything[0], everything[2]]
    assert storage.list_files(storage.join(place, "absent")) == []


def test_removing_twice_is_fine(place: str):
    storage.write_bytes(storage.join(place, "a", "b"), b"x")
    for _ in range(2):
        storage.remove(storage.join(place, "a"))
    assert storage.list_files(place) == []


def test_a_local_copy_has_the_content(place: str):
    storage.write_bytes(storage.join(place, "f", "a.txt"), b"1")
    storage.write_bytes(storage.join(place, "f", "g", "b.txt"), b"2")
    with storage.local_copy(storage.join(place, "f", "a.txt")) as path:
        assert Path(path).read_bytes() == b"1"
    with storage.local_copy(storage.join(place, "f")) as path:
        assert sorted(name.name for name in Path(path).rglob("*.txt")) == ["a.txt", "b.txt"]
    assert os.path.exists(path) == (not storage.is_remote(place)), "a download goes, the file itself stays"


def test_a_folder_appears_whole_and_replaces_its_own_kind(place: str):
    target = storage.join(place, "model")
    for text in ("old", "new"):
        with storage.folder_to_publish(target, replaces="mark.json") as folder:
            Path(folder, "mark.json").write_text(text, encoding="utf-8")
            Path(folder, "sub").mkdir()
            Path(folder, "sub", f"{text}.txt").write_text(text, encoding="utf-8")
            if text == "old":
                assert not storage.exists(target), "nothing is seen before the end"
    assert storage.read_bytes(storage.join(target, "mark.json")) == b"new"
    assert storage.exists(storage.join(target, "sub", "new.txt"))


def test_a_folder_that_failed_leaves_the_old_one(place: str):
    target = storage.join(place, "model")
    storage.write_bytes(storage.join(target, "mark.json"), b"old")

    def fail() -> None:
        with storage.folder_to_publish(target, replaces="mark.json") as folder:
            Path(folder, "mark.json").write_text("half", encoding="utf-8")
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        fail()
    assert [storage.read_bytes(location) for location in storage.list_files(place)] == [b"old"]


def test_somebody_elses_folder_is_never_replaced(place: str):
    storage.write_bytes(storage.join(place, "thesis.tex"), b"years of work")
    with (
        pytest.raises(
            ValueError, match=r"holds other files and no mark\.json; it would be replaced: give another --out"
        ),
        storage.folder_to_publish(place, replaces="mark.json"),
    ):
        pytest.fail("the block must not be entered")
    assert storage.exists(storage.join(place, "thesis.tex"))


def test_local_folders_can_be_read_by_others(tmp_path: Path):
    with storage.folder_to_publish(str(tmp_path / "m"), replaces="a") as folder:
        Path(folder, "a").write_text(json.dumps(1), encoding="utf-8")
    assert (tmp_path / "m").stat().st_mode & 0o777 == 0o755
    assert [path.name for path in tmp_path.iterdir()] == ["m"]
