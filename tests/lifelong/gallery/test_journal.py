"""Of several writers one creates the next manifest; numbers that were taken stay taken."""

import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from cluster import storage
from lifelong.gallery import journal
from lifelong.gallery.durable import create_file, new_file
from lifelong.gallery.manifest import Manifest, Tombstone, from_json, now, to_json, with_model
from tests.lifelong.gallery.rows import make_gallery


def begin(location):
    journal.create_first(str(location), with_model(journal.blank(4), "a", ""))
    return str(location)


def count_up(manifest):
    return replace(manifest, next_item=manifest.next_item + 1)


def test_manifests_survive_json(tmp_path):
    manifest = make_gallery(tmp_path / "g", 1).manifest
    manifest = replace(manifest, tombstones=(Tombstone(identity=3, items=(1, 5), deleted=now()),), dropped=("x",))
    assert from_json(to_json(manifest)) == manifest
    with pytest.raises(ValueError, match="the manifest has version 2, and this program reads up to 1; update"):
        from_json(to_json(manifest) | {"format": 2})
    with pytest.raises(ValueError, match="Manifest has unknown or missing fields: colour"):
        from_json(to_json(manifest) | {"colour": "red"})


def test_a_name_is_given_once(tmp_path):
    location = str(tmp_path / "folder" / "file")
    create_file(location, b"first")
    with pytest.raises(FileExistsError):
        create_file(location, b"second")
    assert storage.read_bytes(location) == b"first"
    with pytest.raises(FileNotFoundError), new_file(str(tmp_path / "folder" / "other")) as path:
        (Path(path).parent / "absent").read_bytes()
    assert os.listdir(tmp_path / "folder") == ["file"]


def test_no_change_makes_no_manifest(tmp_path):
    location = begin(tmp_path)
    assert journal.change(location, lambda manifest: manifest) == journal.read_newest(location)
    assert journal.numbers(location) == [1]


def test_threads_lose_no_change(tmp_path):
    location = begin(tmp_path)
    threads = [
        threading.Thread(target=lambda: [journal.change(location, count_up) for _ in range(10)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    newest = journal.read_newest(location)
    assert (newest.number, newest.next_item) == (41, 40)


def test_a_writer_that_was_overtaken_reads_again(tmp_path):
    location = begin(tmp_path)
    seen = []

    def slow(manifest: Manifest) -> Manifest:
        seen.append(manifest.next_item)
        if len(seen) == 1:
            journal.change(location, count_up)
        return count_up(manifest)

    assert journal.change(location, slow).next_item == 2
    assert seen == [0, 1]


def test_a_repeated_request_finds_its_own_upload(tmp_path, monkeypatch):
    location = begin(tmp_path)

    def twice(where, data):
        create_file(where, data)
        create_file(where, data)  # as when the answer to the first was lost on its way

    monkeypatch.setattr(journal, "create_file", twice)
    assert journal.change(location, count_up).next_item == 1
    assert journal.numbers(location) == [1, 2]


def test_a_slow_writer_does_not_take_a_number_that_was_cleared(tmp_path, monkeypatch):
    location = begin(tmp_path)
    clock = iter([0.0, 7200.0, 7200.0, 7201.0])
    monkeypatch.setattr(journal.time, "time", lambda: next(clock))
    assert journal.change(location, count_up).number == 2
    assert next(clock, None) is None


def test_old_manifests_go_and_young_ones_stay(tmp_path):
    location = begin(tmp_path)
    for _ in range(30):
        journal.change(location, count_up)
    assert journal.numbers(location) == list(range(1, 32))
    for number in range(1, 6):
        os.utime(journal.file_of(location, number), (0, 0))
    journal.change(location, count_up)
    assert journal.numbers(location) == list(range(6, 33))


def test_emptied_manifests_keep_their_numbers(tmp_path):
    location = begin(tmp_path)
    for _ in range(3):
        journal.change(location, count_up)
    journal.empty_before(location, 4)
    assert journal.numbers(location) == [1, 2, 3, 4]
    assert storage.read_bytes(journal.file_of(location, 3)) == journal.EMPTY
    assert journal.change(location, count_up).number == 5
    Path(journal.file_of(location, 5)).write_bytes(journal.EMPTY)
    with pytest.raises(ValueError, match="its newest manifest is empty"):
        journal.read_newest(location)
    Path(journal.file_of(location, 5)).write_bytes(b"{")
    with pytest.raises(ValueError, match=r"000000000005\.json.* is not valid JSON"):
        journal.read_newest(location)
