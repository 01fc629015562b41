"""Search: flat is exhaustive, the others nearly, and another model's queries are refused."""

import numpy as np
import pytest

from cluster import storage
from evaluation.metrics.distances import unit_rows
from evaluation.qaconv.index import GalleryIndex


def clustered(seed, count, size=16, clusters=40):
    centres = np.random.default_rng(0).normal(size=(clusters, size))
    rng = np.random.default_rng(seed)
    return (centres[rng.integers(clusters, size=count)] + 0.4 * rng.normal(size=(count, size))).astype(np.float32)


def exhaustive(query, gallery, k):
    cosine = unit_rows(query) @ unit_rows(gallery).T
    rows = np.argsort(-cosine, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(cosine, rows, axis=1), rows


@pytest.mark.parametrize("shape", [(1, 1, 1), (7, 300, 10), (3, 50, 50)])
def test_flat_is_exhaustive(shape):
    query, gallery = clustered(1, shape[0]), 3 * clustered(2, shape[1])
    index = GalleryIndex.build(gallery, model_fingerprint="a")
    similarity, rows = index.search(query, shape[2], model_fingerprint="a")
    expected = exhaustive(query, gallery, shape[2])
    np.testing.assert_allclose(similarity, expected[0], atol=1e-6)
    np.testing.assert_array_equal(rows, expected[1])
    assert (len(index), index.size) == (shape[1], 16)


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_the_others_find_nine_of_ten(kind):
    query, gallery = clustered(3, 100), clustered(4, 4000)
    index = GalleryIndex.build(gallery, model_fingerprint="a", kind=kind)
    _, rows = index.search(query, 10, model_fingerprint="a")
    _, expected = exhaustive(query, gallery, 10)
    assert np.mean([len(np.intersect1d(*pair)) for pair in zip(rows, expected, strict=True)]) >= 9


@pytest.mark.parametrize("kind", ["flat", "ivf", "hnsw"])
def test_an_index_survives_its_folder(tmp_path, kind):
    query, index = clustered(5, 9), GalleryIndex.build(clustered(6, 500), model_fingerprint="a", kind=kind)
    location = str(tmp_path / "index")
    index.save(location)
    index.save(location)
    found = GalleryIndex.load(location)
    assert (found.kind, found.parameters, len(found), found.size) == (kind, index.parameters, 500, 16)
    for ours, theirs in zip(*(i.search(query, 5, model_fingerprint="a") for i in (index, found)), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(ValueError, match="holds features of model a and the queries come from b"):
        found.search(query, 5, model_fingerprint="b")


def test_lists_that_are_too_short_say_so():
    gallery = clustered(7, 400)
    index = GalleryIndex.build(gallery, model_fingerprint="a", kind="ivf")
    index._index.nprobe = 1
    similarity, rows = index.search(gallery[:4], 400, model_fingerprint="a")
    assert (rows[:, -1] == -1).all()
    assert (similarity[:, -1] == -np.inf).all()


def test_wrong_input_is_refused():
    gallery = clustered(8, 20)
    index = GalleryIndex.build(gallery, model_fingerprint="a")
    for k in (0, 21):
        with pytest.raises(ValueError, match=f"k must be 1 to 20, the images of the gallery, got {k}"):
            index.search(gallery, k, model_fingerprint="a")
    with pytest.raises(ValueError, match="queries have 15 components and the index 16"):
        index.search(gallery[:, 1:], 1, model_fingerprint="a")
    with pytest.raises(ValueError, match="an ivf index needs at least 312 images to train on, got 20; use flat"):
        GalleryIndex.build(gallery, model_fingerprint="a", kind="ivf")
    with pytest.raises(ValueError, match="an index is one of flat, ivf, hnsw, got pq"):
        GalleryIndex.build(gallery, model_fingerprint="a", kind="pq")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"gallery features must be \[N, D\] with N, D > 0"):
        GalleryIndex.build(gallery[:0], model_fingerprint="a")
    gallery[3, 3] = np.nan
    with pytest.raises(ValueError, match="1 gallery features are zero or not finite, the first in row 3"):
        GalleryIndex.build(gallery, model_fingerprint="a")
    with pytest.raises(ValueError, match="1 query features are zero or not finite, the first in row 3"):
        index.search(gallery, 1, model_fingerprint="a")


def test_damaged_folders_are_refused(tmp_path):
    location = str(tmp_path / "index")
    with pytest.raises(ValueError, match=r"no index\.json there; it should be the folder of a gallery index"):
        GalleryIndex.load(location)
    GalleryIndex.build(clustered(9, 20), model_fingerprint="a").save(location)
    description = storage.read_json(f"{location}/index.json")
    for change, message in (({"count": 3}, "says otherwise"), ({"kind": "hnsw"}, "not the index of kind hnsw")):
        storage.write_json(f"{location}/index.json", description | change)
        with pytest.raises(ValueError, match=message):
            GalleryIndex.load(location)
    (tmp_path / "index" / "index.faiss").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="is not a usable gallery index") as caught:
        GalleryIndex.load(location)
    assert "\n" not in str(caught.value)
