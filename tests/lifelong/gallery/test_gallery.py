"""A gallery gives back what was added, refuses what does not belong, and never rewrites what it stores."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evaluation.features.files import read_features
from evaluation.metrics.distances import unit_rows
from lifelong.gallery import shards
from lifelong.gallery.gallery import Gallery
from tests.lifelong.gallery.rows import SIZE, make_gallery, make_rows


def hashes(folder):
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in Path(folder).rglob("*.parquet")}


def test_what_was_added_comes_back(tmp_path):
    rows = make_rows(1, 50)
    gallery = make_gallery(tmp_path / "g")
    result = gallery.add(rows, source="cameras of 2026")
    assert (result.added, result.junk, result.is_repeat, result.first_item) == (50, 0, False, 0)
    found = Gallery.open(str(tmp_path / "g")).features()
    np.testing.assert_array_equal(found.feature, unit_rows(rows.feature))
    for name in ("identity", "camera", "time_seconds", "path", "split", "model_fingerprint"):
        np.testing.assert_array_equal(getattr(found, name), getattr(rows, name))
    assert gallery.manifest.shards[0].source == "cameras of 2026"


def test_a_shard_is_a_features_file(tmp_path):
    gallery = make_gallery(tmp_path / "g", 1)
    found = read_features(shards.file_of(gallery.location, gallery.manifest.shards[0].name))
    np.testing.assert_array_equal(found.feature, gallery.features().feature)


def test_large_additions_are_cut_into_shards(tmp_path, monkeypatch):
    whole = make_gallery(tmp_path / "whole", 1)
    monkeypatch.setattr(shards, "SHARD_BYTES", 4 * SIZE * 30)
    monkeypatch.setattr(shards, "BLOCK_BYTES", 4 * SIZE * 7)
    monkeypatch.setattr(shards, "GROUP_BYTES", 4 * SIZE * 5)
    cut = make_gallery(tmp_path / "cut", 1)
    assert [shard.num_rows for shard in cut.manifest.shards] == [30, 30, 30, 10]
    assert [shard.first_item for shard in cut.manifest.shards] == [0, 30, 60, 90]
    np.testing.assert_array_equal(cut.features().feature, whole.features().feature)
    query = make_rows(2, 5).feature
    for gallery in (whole, cut):
        gallery.delete(3)
    hits = [gallery.search(query, 100, model_fingerprint="a") for gallery in (whole, cut)]
    for name in ("item", "path", "identity"):
        np.testing.assert_array_equal(getattr(hits[0], name), getattr(hits[1], name))
    cut.verify()


@pytest.mark.parametrize("shape", [(1, 1, 1), (7, 300, 10), (3, 40, 40)])
def test_flat_search_compares_with_everything(tmp_path, shape):
    num_queries, count, k = shape
    gallery = make_gallery(tmp_path / "g")
    gallery.add(make_rows(1, count))
    query = 3 * make_rows(2, num_queries).feature
    hits = gallery.search(query, k, model_fingerprint="a")
    stored = gallery.features()
    for q in range(num_queries):
        cosine = np.array([query[q] @ feature for feature in stored.feature]) / np.linalg.norm(query[q])
        order = np.argsort(-cosine, kind="stable")[:k]
        np.testing.assert_array_equal(hits.item[q], order)
        np.testing.assert_allclose(hits.similarity[q], cosine[order], atol=1e-6)
        for name in ("identity", "camera", "time_seconds", "path", "model_fingerprint"):
            np.testing.assert_array_equal(getattr(hits, name)[q], getattr(stored, name)[order])


def test_models_are_mixed_once_declared(tmp_path):
    gallery = make_gallery(tmp_path / "g", 1)
    newer = make_rows(2, 40, model="b")
    with pytest.raises(ValueError, match=r"features come from model b, which .*\(it has a\).* declare DIR b"):
        gallery.add(newer)
    with pytest.raises(ValueError, match="queries come from model b"):
        gallery.search(newer.feature, 3, model_fingerprint="b")
    number = gallery.manifest.number
    gallery.declare("b", note="promoted in May")
    gallery.declare("b")
    assert gallery.manifest.number == number + 1
    assert [(model.fingerprint, model.note) for model in gallery.manifest.models] == [
        ("a", ""),
        ("b", "promoted in May"),
    ]
    gallery.add(newer)
    hits = gallery.search(newer.feature, 20, model_fingerprint="b")
    assert set(hits.model_fingerprint.ravel()) == {"a", "b"}
    np.testing.assert_array_equal(hits.item[:, 0], np.arange(100, 140))
    assert [len(gallery.features(model)) for model in ("a", "b", None)] == [100, 40, 140]
    assert gallery.stats().models == {"a": 100, "b": 40}


def test_nothing_but_compaction_touches_a_shard(tmp_path):
    gallery = make_gallery(tmp_path / "g", 1, 2)
    before = hashes(tmp_path)
    assert len(before) == 2
    gallery.add(make_rows(3, 10))
    gallery.delete(5)
    gallery.search(make_rows(4, 3).feature, 5, model_fingerprint="a")
    assert before.items() <= hashes(tmp_path).items()


def test_a_retried_job_adds_nothing(tmp_path):
    gallery = make_gallery(tmp_path / "g", 1)
    number = gallery.manifest.number
    repeat = gallery.add(make_rows(1, 100))
    assert (repeat.added, repeat.is_repeat, repeat.first_item, gallery.manifest.number) == (0, True, 0, number)
    assert gallery.add(make_rows(1, 100), again=True).first_item == 100
    gallery.delete(5)
    gallery.compact()
    assert gallery.add(make_rows(1, 100)).is_repeat, "else the retry would bring a deleted person back"
    assert 5 not in gallery.features().identity


def test_junk_is_left_out(tmp_path):
    gallery = make_gallery(tmp_path / "g")
    rows = make_rows(1, 30)
    rows.identity[::3] = -1
    result = gallery.add(rows)
    assert (result.added, result.junk) == (20, 10)
    np.testing.assert_array_equal(gallery.features().path, rows.path[rows.identity >= 0])


def test_deleted_people_are_in_no_search(tmp_path):
    gallery = make_gallery(tmp_path / "g", 1, 2)
    query = make_rows(1, 100)
    seven = int((gallery.features().identity == 7).sum())
    before = gallery.search(query.feature, 200, model_fingerprint="a")
    assert gallery.delete(7, reason="asked us to") == seven
    after = gallery.search(query.feature, 200, model_fingerprint="a")
    assert after.item.shape == (100, 200 - seven)
    for old, new, identity in zip(before.item, after.item, before.identity, strict=True):
        np.testing.assert_array_equal(new, old[identity != 7])
    assert 7 not in gallery.features().identity
    stats = gallery.stats()
    assert (stats.items, stats.identities, stats.deleted_items, stats.deleted_identities) == (200 - seven, 19, seven, 1)
    assert stats.models == {"a": 200 - seven}
    with pytest.raises(ValueError, match="has no images of identity 7; nothing was deleted"):
        gallery.delete(7)


def test_an_identity_may_come_back_later(tmp_path):
    gallery = make_gallery(tmp_path / "g", 1)
    gallery.delete(8)
    rows = make_rows(2, 30)
    gallery.add(rows)
    assert (gallery.features().identity == 8).sum() == (rows.identity == 8).sum() > 0
    gallery.compact()
    assert (gallery.features().identity == 8).sum() == (rows.identity == 8).sum()


def test_wrong_input_is_refused(tmp_path):
    location = str(tmp_path / "g")
    with pytest.raises(ValueError, match="no gallery there; make one with"):
        Gallery.open(location)
    with pytest.raises(ValueError, match="size of a feature must be >= 1, got 0"):
        Gallery.create(location, size=0, model_fingerprint="a")
    for fingerprint in ("", " ", "unknown"):
        with pytest.raises(ValueError, match=f"a model needs a fingerprint, got '{fingerprint}'"):
            Gallery.create(location, size=SIZE, model_fingerprint=fingerprint)
    assert not Gallery.exists(location)
    gallery = make_gallery(location)
    with pytest.raises(ValueError, match="is a gallery already"):
        make_gallery(location)
    query = make_rows(1, 3).feature
    with pytest.raises(ValueError, match="holds no images yet"):
        gallery.search(query, 1, model_fingerprint="a")
    with pytest.raises(ValueError, match="holds no images; it has a"):
        gallery.features()
    gallery.add(make_rows(1, 30))
    with pytest.raises(ValueError, match="holds no images of model b; it has a"):
        gallery.features("b")
    with pytest.raises(ValueError, match="features have 9 components and the gallery 8"):
        gallery.add(make_rows(1, 3, size=9))
    with pytest.raises(ValueError, match="queries have 7 components and the gallery 8"):
        gallery.search(query[:, 1:], 1, model_fingerprint="a")
    with pytest.raises(ValueError, match="k must be >= 1, got 0"):
        gallery.search(query, 0, model_fingerprint="a")
    with pytest.raises(ValueError, match="an index is one of flat, ivf, got hnsw"):
        gallery.search(query, 1, model_fingerprint="a", kind="hnsw")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="1 query features are zero or not finite"):
        gallery.search(query * [[1], [0], [1]], 1, model_fingerprint="a")
    zero = make_rows(2, 3)
    zero.feature[1] = 0
    with pytest.raises(ValueError, match="1 gallery features are zero or not finite, the first in row 1"):
        gallery.add(zero)
    rows = make_rows(2, 3)
    with pytest.raises(ValueError, match=r"all 3 images are junk \(identity -1\)"):
        gallery.add(replace(rows, identity=np.full(3, -1)))
    assert gallery.manifest.number == 2
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    with pytest.raises(ValueError, match="holds other files and no gallery"):
        make_gallery(tmp_path / "photos")
