"""The same gallery behind an s3:// URL, on moto's server."""

import threading
import uuid

import numpy as np
import pytest

from cluster import storage
from lifelong.gallery import journal
from lifelong.gallery.gallery import Gallery
from tests.buckets import serve_bucket
from tests.lifelong.gallery.rows import make_gallery, make_rows

pytestmark = pytest.mark.slow


@pytest.fixture
def location(monkeypatch, tmp_path):
    with serve_bucket(f"galleries-{uuid.uuid4().hex}") as bucket:  # moto keeps those of earlier servers
        for name, value in {**bucket.variables, "XDG_CACHE_HOME": str(tmp_path / "cache")}.items():
            monkeypatch.setenv(name, value)
        yield f"{bucket.url}/people/gallery"


def test_a_gallery_in_a_bucket(location, tmp_path):
    gallery, twin = make_gallery(location, 1, 2, count=400), make_gallery(tmp_path / "twin", 1, 2, count=400)
    with pytest.raises(ValueError, match="is a gallery already"):
        make_gallery(location)
    query = make_rows(3, 5).feature
    for change in (lambda g: None, lambda g: g.delete(3), lambda g: g.compact()):
        for one in (gallery, twin):
            change(one)
        np.testing.assert_array_equal(gallery.features().feature, twin.features().feature)
        for kind in ("flat", "ivf"):
            found, expected = (one.search(query, 5, model_fingerprint="a", kind=kind) for one in (gallery, twin))
            np.testing.assert_array_equal(found.path, expected.path)
        assert len(list((tmp_path / "cache").rglob("trained.faiss"))) == 1, "the index is kept here"
    assert gallery.verify() == Gallery.open(location).stats()
    kept = gallery.features().path
    files = storage.list_files(location)
    assert [storage.name_of(name) for name in files if "/manifests/" in name] == [f"{n:012d}.json" for n in range(1, 6)]
    assert len(files) == 5 + 2
    assert not [path for path in kept if path not in set(twin.features().path)]
    storage.write_bytes(files[-1], b"damage")
    with pytest.raises(ValueError, match=f"damaged in 1 places: {files[-1]} has SHA-256"):
        gallery.verify()
    storage.remove(files[-1])
    with pytest.raises(ValueError, match=f"{files[-1]} is missing"):
        gallery.features()


def test_writers_of_a_bucket_lose_nothing(location):
    make_gallery(location)

    def write(first):
        gallery = Gallery.open(location)
        for seed in range(first, first + 4):
            gallery.add(make_rows(seed, 10))

    threads = [threading.Thread(target=write, args=(100 * number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gallery = Gallery.open(location)
    seeds = {path.split("/")[0] for path in gallery.features().path}
    assert seeds == {str(100 * number + seed) for number in range(3) for seed in range(4)}
    assert gallery.verify().items == 120
    assert journal.numbers(location) == list(range(1, 14))
