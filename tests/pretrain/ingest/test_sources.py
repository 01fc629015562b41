"""Which videos a command line means, and their names."""

from pathlib import Path

import pytest

from pretrain.ingest.sources import find_videos


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def found(*inputs: Path | str) -> dict[str, str]:
    return {source.video_id: source.location for source in find_videos([str(path) for path in inputs])}


def test_a_folder_gives_its_videos_sorted_and_named_below_it(tmp_path: Path):
    touch(tmp_path, "b.mp4", "a/c.MKV", "a/notes.txt", "a/x.gt.csv")
    assert list(found(tmp_path)) == ["a/c.MKV", "b.mp4"]
    assert found(tmp_path)["b.mp4"] == str(tmp_path / "b.mp4")


def test_names_do_not_depend_on_where_the_folder_is(tmp_path: Path):
    touch(tmp_path / "here", "a/1.mp4", "b/1.mp4")
    touch(tmp_path / "there", "a/1.mp4", "b/1.mp4")
    assert list(found(tmp_path / "here")) == list(found(tmp_path / "there")) == ["a/1.mp4", "b/1.mp4"]


def test_every_video_counts_once(tmp_path: Path):
    touch(tmp_path, "a.mp4", "b.mp4")
    assert list(found(tmp_path, tmp_path / "a.mp4", f"{tmp_path}/./b.mp4")) == ["a.mp4", "b.mp4"]


def test_a_named_file_is_taken_whatever_its_ending(tmp_path: Path):
    touch(tmp_path, "recording.dat")
    assert found(tmp_path / "recording.dat") == {"recording.dat": str(tmp_path / "recording.dat")}


def test_files_with_a_common_beginning_of_their_names_keep_whole_names(tmp_path: Path):
    touch(tmp_path, "cam1/a.mp4", "cam12/a.mp4")
    assert list(found(tmp_path / "cam1", tmp_path / "cam12")) == ["cam1/a.mp4", "cam12/a.mp4"]


def test_urls_are_named_like_files():
    import fsspec

    system = fsspec.filesystem("memory")
    for name in ("/films/cam1/a.mp4", "/films/cam12/a.mp4"):
        system.pipe_file(name, b"x")
    try:
        assert found("memory://films") == {
            "cam1/a.mp4": "memory:///films/cam1/a.mp4",
            "cam12/a.mp4": "memory:///films/cam12/a.mp4",
        }
    finally:
        system.rm("/films", recursive=True)


def test_what_is_no_input_is_refused(tmp_path: Path):
    touch(tmp_path, "empty/notes.txt", "a.mp4")
    with pytest.raises(ValueError, match=r"absent does not exist; give video files, folders or s3:// prefixes"):
        find_videos([str(tmp_path / "absent")])
    with pytest.raises(ValueError, match=r"empty holds no video; looked for files ending in \.mp4"):
        find_videos([str(tmp_path / "empty")])
    with pytest.raises(ValueError, match="no videos given"):
        find_videos([])
    with pytest.raises(ValueError, match="unknown kind of storage 's4'"):
        find_videos(["s4://bucket"])
