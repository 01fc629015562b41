"""A map store: what was written is read, whatever the order and the blocks; damage is refused."""

import json

import numpy as np
import pytest

from evaluation.features.files import read_features
from evaluation.features.table import Features
from evaluation.qaconv.head import QAConvHead
from evaluation.qaconv.maps import MapShape, MapWriter, map_writer, open_maps
from evaluation.qaconv.pooling import pool

SHAPE = MapShape(height=4, width=2, channels=16)
HEAD = QAConvHead(query_weight=np.linspace(1, 2, 8, dtype=np.float32), scale=2.0)


def images(count=10):
    return Features(
        feature=np.zeros((count, 1), np.float32),
        identity=np.arange(count) % 4,
        camera=np.arange(count) % 3,
        time_seconds=np.where(np.arange(count) % 2, np.nan, 0.5 * np.arange(count)),
        path=np.array([f"/data/{row}.jpg" for row in range(count)], object),
        split=np.array(["query", "gallery"] * (count // 2), object),
        model_fingerprint=np.full(count, "", object),
    )


def random_maps(count=10):
    return np.random.default_rng(0).normal(size=(count, 8, 16)).astype(np.float32)


def write(location, maps, head=HEAD, size=3):
    order = np.random.default_rng(1).permutation(len(maps))
    with map_writer(str(location), images(len(maps)), SHAPE, model_fingerprint="abc", head=head) as writer:
        for first in range(0, len(maps), size):
            rows = order[first : first + size]
            writer.write(rows, maps[rows])


def test_what_is_written_in_any_order_is_read(tmp_path):
    maps, location = random_maps(), tmp_path / "maps"
    write(location, maps)
    expected = maps / np.linalg.norm(maps, axis=2, keepdims=True)
    with open_maps(str(location)) as store:
        assert isinstance(store.array, np.memmap)
        assert (len(store), store.shape, store.model_fingerprint) == (10, SHAPE, "abc")
        np.testing.assert_allclose(store.array, expected, atol=5e-4)
        np.testing.assert_allclose(np.linalg.norm(store.array.astype(np.float32), axis=2), 1, atol=5e-4)
        np.testing.assert_array_equal(store.take(np.array([7, 2, 7])), store.array[[7, 2, 7]])
        assert store.head is not None
        assert store.head.to_json() == HEAD.to_json()
        for name in ("identity", "camera", "time_seconds", "path", "split"):
            np.testing.assert_array_equal(getattr(store.rows, name), getattr(images(), name))


@pytest.mark.parametrize("head", [None, HEAD])
def test_rows_hold_the_pooled_maps_and_are_a_features_file(tmp_path, head):
    write(tmp_path / "maps", random_maps(), head)
    weight = (head or QAConvHead.uniform(8)).query_weight
    with open_maps(str(tmp_path / "maps")) as store:
        np.testing.assert_allclose(store.rows.feature, store.pooled(weight), atol=1e-6)
        assert store.pooled(weight, stripes=1).shape == (10, 16)
        np.testing.assert_array_equal(store.pooled(weight), pool(store.array, height=4, weight_L=weight))
    assert set(read_features(str(tmp_path / "maps" / "rows.parquet")).model_fingerprint) == {"abc"}


def test_a_map_with_an_empty_location_keeps_it(tmp_path):
    maps = random_maps()
    maps[3, 5] = 0
    write(tmp_path / "maps", maps)
    with open_maps(str(tmp_path / "maps")) as store:
        assert not store.array[3, 5].any()


def test_an_unfinished_store_leaves_what_was_there(tmp_path):
    write(tmp_path / "maps", random_maps())
    with (
        pytest.raises(ValueError, match="9 of 10 maps were never written, first row 0"),
        map_writer(str(tmp_path / "maps"), images(), SHAPE, model_fingerprint="new") as writer,
    ):
        writer.write([4], random_maps(1))
    with open_maps(str(tmp_path / "maps")) as store:
        assert store.model_fingerprint == "abc"
    assert [path.name for path in tmp_path.iterdir()] == ["maps"]


def test_wrong_blocks_are_refused(tmp_path):
    maps, writer = random_maps(2), MapWriter(str(tmp_path), 10, SHAPE, HEAD.query_weight)
    with pytest.raises(ValueError, match=r"3 rows need maps \[3, 8, 16\], got \[2, 8, 16\]"):
        writer.write([1, 2, 3], maps)
    with pytest.raises(ValueError, match="rows must be 0 to 9, got 9 to 10"):
        writer.write([9, 10], maps)
    with pytest.raises(ValueError, match="the map of row 4 is zero or not finite"):
        writer.write([4, 2], 0 * maps)
    maps[1, 0, 0] = np.nan
    with pytest.raises(ValueError, match="the map of row 8 is zero or not finite"):
        writer.write([7, 8], maps)
    assert not writer.is_written.any()
    with pytest.raises(ValueError, match="the head has 3 locations and the maps 4 x 2"):
        write(tmp_path / "maps", maps, QAConvHead.uniform(3))


def edit(folder, **values):
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | values), encoding="utf-8")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "maps.npy").unlink(), r"it has no maps\.npy"),
        (lambda folder: (folder / "maps.npy").write_bytes(b"\x93NUMPY"), "not a usable map store"),
        (lambda folder: np.save(folder / "maps.npy", np.zeros((10, 8, 3))), r"float64 \[10, 8, 3\] instead of float16"),
        (lambda folder: (folder / "rows.parquet").write_bytes(b"PAR1"), "not a usable map store"),
        (lambda folder: (folder / "config.json").write_text("{", encoding="utf-8"), "not valid JSON"),
        (lambda folder: (folder / "config.json").write_text("{}", encoding="utf-8"), "'height'"),
        (lambda folder: edit(folder, width=3), r"instead of float16 \[10, 12, 16\]"),
        (lambda folder: edit(folder, model_fingerprint="x"), r"names another model than config\.json"),
        (lambda folder: edit(folder, head={}), "not a QAConv head"),
    ],
)
def test_damaged_stores_are_refused_with_one_line(tmp_path, damage, message):
    write(tmp_path / "maps", random_maps())
    damage(tmp_path / "maps")
    with pytest.raises(ValueError, match=message) as caught, open_maps(str(tmp_path / "maps")):
        pass
    assert "\n" not in str(caught.value)
