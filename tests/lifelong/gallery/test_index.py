"""The index finds what an exhaustive search finds, follows every change, and is never trusted."""

from pathlib import Path

import numpy as np
import pytest

from lifelong.gallery.gallery import Gallery
from tests.lifelong.gallery.rows import make_gallery, make_rows


@pytest.fixture
def gallery(tmp_path):
    return make_gallery(tmp_path / "g", 1, 2, count=1500, size=16)


QUERY = make_rows(5, 40, size=16).feature


def agreement(gallery, k=10):
    found, exact = (gallery.search(QUERY, k, model_fingerprint="a", kind=kind) for kind in ("ivf", "flat"))
    is_same = found.item == exact.item
    np.testing.assert_allclose(found.similarity[is_same], exact.similarity[is_same], atol=1e-6)
    np.testing.assert_array_equal(found.path[is_same], exact.path[is_same])
    return np.mean([np.isin(one, other).mean() for one, other in zip(exact.item, found.item, strict=True)])


def files(gallery):
    return {path.name: path.stat().st_mtime_ns for path in Path(gallery.location, "index").iterdir()}


def test_it_finds_nearly_all(gallery):
    assert agreement(gallery) > 0.97
    assert agreement(Gallery.open(gallery.location)) > 0.97, "from the files"


def test_an_addition_adds_one_file(gallery):
    agreement(gallery)
    before = files(gallery)
    gallery.add(make_rows(3, 500, size=16))
    assert agreement(gallery) > 0.97
    after = files(gallery)
    assert before.items() <= {**after, ".lock": before[".lock"]}.items()
    assert after.keys() - before.keys() == {f"{gallery.manifest.shards[-1].name}.npz"}
    assert agreement(Gallery.open(gallery.location)) > 0.97


def test_it_is_made_anew_for_a_much_larger_gallery(gallery):
    agreement(gallery)
    before = files(gallery)
    gallery.add(make_rows(3, 10_000, size=16))
    assert agreement(gallery) > 0.97
    assert files(gallery)["trained.faiss"] != before["trained.faiss"]


def test_deletions_reach_it_at_once(gallery):
    agreement(gallery)
    gallery.delete(3)
    for reader in (gallery, Gallery.open(gallery.location)):
        hits = reader.search(QUERY, 200, model_fingerprint="a", kind="ivf")
        assert 3 not in hits.identity
        assert agreement(reader) > 0.97
    other = Gallery.open(gallery.location)
    agreement(other)
    gallery.compact()
    assert agreement(other) > 0.97, "which has the old index in memory"
    assert agreement(gallery) > 0.97


@pytest.mark.parametrize("name", ["trained.faiss", "trained.json", "*.npz"])
@pytest.mark.parametrize("damage", [b"", b"nonsense", None])
def test_damage_is_repaired(gallery, name, damage):
    expected = agreement(gallery)
    for path in Path(gallery.location, "index").glob(name):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content if damage is None and name == "*.npz" else damage or b"")
    assert agreement(Gallery.open(gallery.location)) == expected


def test_lists_that_are_too_short_say_so(gallery):
    hits = gallery.search(QUERY[:3], 3000, model_fingerprint="a", kind="ivf")
    is_none = hits.item == -1
    assert is_none.any(axis=1).all(), "only some of the cells are looked into"
    assert (hits.similarity[is_none] == -np.inf).all()
    assert set(hits.path[is_none]) == {""}
    assert set(hits.identity[is_none]) == {-1}
    for item, similarity in zip(hits.item, hits.similarity, strict=True):
        found = item[item != -1]
        assert len(set(found)) == len(found) == np.argmin(item), "at the end of the list"
        assert (np.diff(similarity[: len(found)]) <= 0).all()


def test_few_items_are_refused(tmp_path):
    gallery = make_gallery(tmp_path / "g", 1)
    with pytest.raises(ValueError, match="an ivf index needs at least 312 items, got 100; use --index flat"):
        gallery.search(make_rows(2, 1).feature, 1, model_fingerprint="a", kind="ivf")


def test_a_cache_elsewhere(gallery, tmp_path):
    opened = Gallery.open(gallery.location, cache=str(tmp_path / "cache"))
    assert agreement(opened) > 0.97
    assert not Path(gallery.location, "index").exists()
    assert (tmp_path / "cache" / "trained.faiss").exists()
