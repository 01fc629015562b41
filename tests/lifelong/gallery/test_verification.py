"""Verification finds what the disk or a program has changed, and says where."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cluster import storage
from lifelong.gallery import journal, shards
from tests.lifelong.gallery.rows import SIZE, make_gallery, make_rows


def shard_path(gallery, number=0):
    return Path(shards.file_of(gallery.location, gallery.manifest.shards[number].name))


def test_a_sound_gallery_is_counted(tmp_path):
    gallery = make_gallery(tmp_path / "g", 1, 2)
    gallery.declare("b")
    stats = gallery.verify()
    assert stats == gallery.stats()
    assert (stats.items, stats.shards, stats.models, stats.orphans) == (200, 2, {"a": 200, "b": 0}, ())
    assert stats.shard_bytes == sum(path.stat().st_size for path in tmp_path.rglob("*.parquet"))


@pytest.mark.parametrize("where", [0.1, 0.5, 0.999])
def test_a_flipped_byte_is_found(tmp_path, where):
    gallery = make_gallery(tmp_path / "g", 1, 2)
    path = shard_path(gallery, 1)
    content = bytearray(path.read_bytes())
    content[int(where * len(content))] ^= 4
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"damaged in 1 places: {path} has SHA-256 .* Restore these files") as caught:
        gallery.verify()
    assert "\n" not in str(caught.value)


def test_missing_and_shortened_shards_are_found(tmp_path):
    gallery = make_gallery(tmp_path / "g", 1, 2)
    first, second = shard_path(gallery, 0), shard_path(gallery, 1)
    first.unlink()
    second.write_bytes(second.read_bytes()[:-10])
    with pytest.raises(ValueError, match=rf"in 2 places: {first} is missing; {second} has SHA-256"):
        gallery.verify()
    for call in (gallery.features, lambda: gallery.search(np.ones((1, SIZE), np.float32), 1, model_fingerprint="a")):
        with pytest.raises(ValueError, match=rf"{first} is missing; see what else is wrong"):
            call()
    first.write_bytes(b"something else")
    with pytest.raises(ValueError, match=rf"{first} cannot be read"):
        gallery.features()


def test_orphans_are_reported_and_do_not_exist_for_readers(tmp_path):
    gallery = make_gallery(tmp_path / "g", 1)
    shard = shards.write_shard(
        gallery.location, SIZE, [shards.table_of(make_rows(2, 5), 0)], source="", source_sha256="x"
    )
    (tmp_path / "g" / "manifests" / "000000000003.json.tmp").write_bytes(b"{")
    stats = gallery.verify()
    assert [storage.name_of(name) for name in stats.orphans] == [f"{shard.name}.parquet", "000000000003.json.tmp"]
    assert stats.items == len(gallery.features()) == 100


def test_bugs_of_writers_are_found(tmp_path):
    gallery = make_gallery(tmp_path / "g")
    rows = replace(make_rows(1, 20), identity=np.full(20, -1))
    written = shards.write_shard(gallery.location, SIZE, [shards.table_of(rows, 7)], source="", source_sha256="x")
    wrong = replace(written, models={"z": 20}, first_item=0, last_item=19)
    journal.change(gallery.location, lambda manifest: replace(manifest, shards=(wrong, wrong), next_item=20))
    with pytest.raises(ValueError, match="damaged in") as caught:
        gallery.verify()
    for message in (
        f"gives items 0 to 19 of {wrong.name} twice",
        f"shard {wrong.name} has features of models that are not declared: z",
        "has features of norm",
        "holds junk, of identity < 0",
        "numbers its items 7 to 26, not 0 to 19",
        "has {'a': 20} rows of models and the manifest says {'z': 20}",
    ):
        assert message in str(caught.value)
