"""Embedding: the actor's class without Ray, and the pool through Ray once."""

import dataclasses
import functools

import numpy as np
import pytest

from evaluation.datasets.images import read_image
from evaluation.datasets.registry import read_dataset
from evaluation.datasets.rows import ImageRow
from evaluation.embedding.histogram import HistogramEmbedder
from evaluation.embedding.pipeline import EmbedImages, embed_dataset
from tests.evaluation.people import write_market


@pytest.fixture
def rows(tmp_path):
    write_market(tmp_path)
    return read_dataset(str(tmp_path))


embed = functools.partial(embed_dataset, make_embedder=HistogramEmbedder, num_workers=2, batch_size=4)


def test_an_actor_embeds_what_it_can_and_says_why_not(rows, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"garbage")
    paths = np.array([rows[0].path, str(tmp_path / "bad.jpg"), rows[1].path], object)
    batch = EmbedImages(HistogramEmbedder)({"row": np.array([5, 3, 9]), "path": paths})
    assert batch["row"].tolist() == [5, 3, 9]
    expected = HistogramEmbedder().embed([read_image(rows[0].path), read_image(rows[1].path)])
    np.testing.assert_array_equal(batch["feature"][[0, 2]], expected)
    assert np.isnan(batch["feature"][1]).all()
    assert [bool(problem) for problem in batch["problem"]] == [False, True, False]
    assert "7 bytes that are no image" in batch["problem"][1]


def test_a_batch_without_a_readable_image_reaches_no_model():
    batch = EmbedImages(HistogramEmbedder)({"row": np.array([0]), "path": np.array(["/absent.jpg"], object)})
    assert "cannot read the image" in batch["problem"][0]


def test_numbers_out_of_range_are_refused_before_anything_starts(rows):
    with pytest.raises(ValueError, match="there are no images to embed"):
        embed([])
    with pytest.raises(ValueError, match="workers and batch size must be >= 1, got 0 and 4"):
        embed(rows, num_workers=0)


@pytest.mark.ray
def test_features_come_back_in_the_order_of_the_rows(rows, ray_cluster):
    rows = [*rows[::-1], dataclasses.replace(rows[0], time_seconds=None)]
    features = embed(rows)
    expected = HistogramEmbedder().embed([read_image(row.path) for row in rows])
    np.testing.assert_array_equal(features.feature, expected)
    assert features.path.tolist() == [row.path for row in rows]
    assert features.identity.tolist() == [row.identity for row in rows]
    assert features.split.tolist() == [row.split for row in rows]
    assert np.isnan(features.time_seconds[-1])
    assert features.time_seconds[:-1].tolist() == [row.time_seconds for row in rows[:-1]]
    assert set(features.model_fingerprint) == {HistogramEmbedder.fingerprint}


class Striped(HistogramEmbedder):
    """A model with a map of two locations: the upper and the lower half."""

    map_shape = (2, 1, HistogramEmbedder.embedding_size)
    head = None

    def embed_with_maps(self, images):
        halves = [self.embed([image[: len(image) // 2], image[len(image) // 2 :]]) for image in images]
        return self.embed(images), np.stack(halves)


@pytest.mark.ray
def test_maps_are_passed_on_by_row(rows, ray_cluster):
    maps = np.zeros((len(rows), 2, Striped.embedding_size), np.float16)
    features = embed(rows, make_embedder=Striped, write_maps=maps.__setitem__)
    expected, expected_maps = Striped().embed_with_maps([read_image(row.path) for row in rows])
    np.testing.assert_array_equal(features.feature, expected)
    np.testing.assert_array_equal(maps, expected_maps.astype(np.float16))


def test_a_model_without_maps_is_refused(rows):
    with pytest.raises(ValueError, match="the model histogram-hsv-12x4x4-v1 gives no feature maps"):
        embed(rows, write_maps=print)


@pytest.mark.ray
def test_one_unreadable_image_is_named(rows, ray_cluster):
    lost = ImageRow(path="/absent/0007_c1.jpg", identity=7, camera=1, time_seconds=None, split="query")
    with pytest.raises(ValueError, match=r"/absent/0007_c1\.jpg: cannot read the image"):
        embed([*rows, lost])


@pytest.mark.ray
def test_a_plan_larger_than_the_cluster_is_refused(rows, ray_cluster):
    with pytest.raises(ValueError, match="2 x 1000 for embedding workers"):
        embed(rows, cpus_per_worker=1000)
