"""After compaction a deleted person is nowhere; everybody else is as before, to the bit."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cluster import storage
from evaluation.metrics.distances import unit_rows
from lifelong.gallery import compaction, journal, shards
from lifelong.gallery.gallery import Gallery
from tests.lifelong.gallery.rows import make_gallery, make_rows

PERSON = 0x5EC4E7_0000_15EA5E
"""An identity whose bytes do not occur by chance."""


def all_bytes(folder):
    return b"\n".join(path.read_bytes() for path in Path(folder).rglob("*") if path.is_file())


def traces(folder, rows):
    """What of some rows is found below a folder."""
    content = all_bytes(folder)
    wanted = {"number": str(PERSON).encode(), "int64": PERSON.to_bytes(8, "little"), "path": b"secret/"}
    found = {name for name, value in wanted.items() if value in content}
    return found | {"feature" for feature in unit_rows(rows.feature) if feature.tobytes() in content}


def with_person(seed, count=500):
    rows = make_rows(seed, count)
    rows.identity[rows.identity == 3] = PERSON
    rows.path[rows.identity == PERSON] = [f"secret/{seed}-{n}.jpg" for n in range((rows.identity == PERSON).sum())]
    return rows


def test_a_deleted_person_leaves_no_trace(tmp_path):
    gallery = make_gallery(tmp_path / "g")
    added = [with_person(1), with_person(2)]
    for rows in added:
        gallery.add(rows)
    person = added[0].take(np.flatnonzero(added[0].identity == PERSON))
    query = make_rows(3, 4).feature
    gallery.search(query, 5, model_fingerprint="a", kind="ivf")
    gallery.delete(PERSON, reason="their right")
    kept = gallery.features()
    before = gallery.search(query, 50, model_fingerprint="a")
    assert traces(tmp_path, person) == {"number", "int64", "path", "feature"}
    done = gallery.compact()
    assert (done.removed_items, done.rewritten_shards, done.removed_orphans) == (1000 - len(kept), 2, 0)
    assert traces(tmp_path, person) == set()
    assert b"their right" not in all_bytes(tmp_path)
    assert [path.name for path in (tmp_path / "g" / "index").iterdir()] == [".lock"], "the index held them too"
    after = gallery.features()
    for name in ("feature", "identity", "camera", "time_seconds", "path", "model_fingerprint"):
        np.testing.assert_array_equal(getattr(after, name), getattr(kept, name))
    hits = gallery.search(query, 50, model_fingerprint="a")
    np.testing.assert_array_equal(hits.item, before.item)
    np.testing.assert_array_equal(hits.path, before.path)
    assert gallery.verify().items == len(kept)
    assert traces(tmp_path, person) == set()


def test_only_shards_with_deleted_rows_are_rewritten(tmp_path):
    gallery = make_gallery(tmp_path / "g", 1)
    rows = make_rows(2, 50)
    gallery.add(replace(rows, identity=rows.identity + 100))
    gallery.add(replace(make_rows(3, 9), identity=np.full(9, 500)))
    names = [shard.name for shard in gallery.manifest.shards]
    gallery.delete(103)
    gallery.delete(500)
    gallery.compact()
    shards_left = gallery.manifest.shards
    assert len(shards_left) == 2, "a shard without rows is dropped"
    assert shards_left[0].name == names[0]
    assert shards_left[1].name not in names
    assert shards_left[1].first_item >= 100
    assert gallery.add(make_rows(4, 5)).first_item == 159, "ids are never given twice"
    gallery.verify()


def test_nothing_to_do_is_fine(tmp_path):
    gallery = make_gallery(tmp_path / "g", 1)
    number = gallery.manifest.number
    done = gallery.compact()
    assert (done.removed_items, done.rewritten_shards, gallery.manifest.number) == (0, 0, number)


def test_orphans_are_removed_once_they_are_old(tmp_path):
    gallery = make_gallery(tmp_path / "g", 1)
    orphan = tmp_path / "g" / "shards" / "half.parquet.tmp"
    orphan.write_bytes(b"half a shard")
    assert gallery.compact().kept_orphans == (str(orphan),)
    assert orphan.exists()
    os.utime(orphan, (0, 0))
    assert gallery.compact().removed_orphans == 1
    assert not orphan.exists()
    gallery.verify()


@pytest.mark.parametrize("stop", ["change", "empty_before", "remove"])
def test_an_interrupted_compaction_is_ended_by_the_next(tmp_path, monkeypatch, stop):
    gallery = make_gallery(tmp_path / "g")
    rows = with_person(1)
    gallery.add(rows)
    gallery.search(rows.feature[:2], 5, model_fingerprint="a", kind="ivf")
    gallery.delete(PERSON)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(storage if stop == "remove" else journal, stop, killed)
        with pytest.raises(KeyboardInterrupt):
            gallery.compact()
    again = Gallery.open(gallery.location)
    assert again.verify().items == (rows.identity != PERSON).sum()
    again.compact(orphan_seconds=0 if stop == "change" else compaction.ORPHAN_SECONDS)
    assert traces(tmp_path, rows.take(np.flatnonzero(rows.identity == PERSON))) == set()
    assert again.verify().orphans == ()


def test_changes_during_compaction_are_kept(tmp_path, monkeypatch):
    gallery = make_gallery(tmp_path / "g", 1)
    other = Gallery.open(gallery.location)
    gallery.delete(3)
    write = shards.write_shard

    def busy(*arguments, **options):
        monkeypatch.setattr(shards, "write_shard", write)
        other.add(make_rows(2, 60))
        other.delete(4)
        return write(*arguments, **options)

    monkeypatch.setattr(shards, "write_shard", busy)
    gallery.compact()
    identity = gallery.features().identity
    expected = [make_rows(1, 100).identity, make_rows(2, 60).identity]
    np.testing.assert_array_equal(
        identity, np.concatenate([expected[0][~np.isin(expected[0], [3, 4])], expected[1][expected[1] != 4]])
    )
    assert [stone.identity for stone in gallery.manifest.tombstones] == [4]
    gallery.compact()
    np.testing.assert_array_equal(gallery.features().identity, identity)
    gallery.verify()


def test_readers_survive_compaction(tmp_path, monkeypatch):
    gallery = make_gallery(tmp_path / "g", 1, count=500)
    query, read = make_rows(2, 3).feature, journal.read_newest
    old = gallery.manifest
    gallery.delete(3)
    gallery.compact()

    def reads(call):
        stale = [old]
        with monkeypatch.context() as patch:
            patch.setattr(journal, "read_newest", lambda location: stale.pop() if stale else read(location))
            return call()

    for kind in ("flat", "ivf"):
        hits = reads(lambda kind=kind: gallery.search(query, 10, model_fingerprint="a", kind=kind))
        assert 3 not in hits.identity
    assert reads(gallery.verify).items == len(reads(gallery.features)) == gallery.stats().items
    reads(lambda: gallery.delete(4))
    assert 4 not in gallery.features().identity


def test_an_add_whose_shard_was_taken_for_an_orphan_fails(tmp_path, monkeypatch):
    gallery = make_gallery(tmp_path / "g", 1)
    write = shards.write_shard

    def slow(*arguments, **options):
        written = write(*arguments, **options)
        gallery.compact(orphan_seconds=0)
        return written

    monkeypatch.setattr(shards, "write_shard", slow)
    with pytest.raises(ValueError, match="was removed as an orphan while features were added; add them again"):
        gallery.add(make_rows(2, 10))
    assert gallery.verify().items == 100
