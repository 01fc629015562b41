"""A loaded model: images of any size, feature maps, and the matcher that evaluation gets with them."""

import numpy as np
import pytest
import torch

from evaluation.datasets.registry import read_dataset
from evaluation.embedding.embedder import MapEmbedder
from evaluation.embedding.label_rows import label_rows
from evaluation.qaconv.maps import MapShape, map_writer, open_maps
from evaluation.qaconv.scores import scores
from pretrain.models import embedder as embedder_module
from pretrain.models.config import ModelConfig
from pretrain.models.embedder import BackboneEmbedder
from pretrain.models.encoder import make_encoder
from pretrain.models.matching import matching_branch
from tests.evaluation.people import write_market

CONFIG = ModelConfig(architecture="tiny", embedding_size=8, height=32, width=16)
WIDE = ModelConfig(architecture="tiny", embedding_size=8, height=16, width=40)


def plain(config=CONFIG):
    return BackboneEmbedder(make_encoder(config, seed=0).eval(), config, "f")


def matching(config=CONFIG):
    """A model with a branch that has seen some training: no number of the matcher is where it began."""
    branch, generator = matching_branch(config, channels=6, seed=1), torch.Generator().manual_seed(2)
    for parameter in (*branch.bn.parameters(), *branch.logit_bn.parameters(), *branch.fc.parameters()):
        parameter.data += torch.rand(parameter.shape, generator=generator)
    for norm in (branch.bn, branch.logit_bn):
        norm.running_mean += 0.3
        norm.running_var *= 0.4
    return BackboneEmbedder(make_encoder(config, seed=0).eval(), config, "f", branch.eval())


def pictures(*sizes):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for height, width in sizes]


def test_images_of_any_size_and_number_are_embedded_in_order(monkeypatch):
    embedder, images = plain(), pictures((32, 16), (100, 40), (9, 7), (300, 301), (31, 90))
    got = embedder.embed(images)
    assert (got.shape, got.dtype) == ((5, 8), np.float32)
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, atol=1e-5)
    monkeypatch.setattr(embedder_module, "BATCH", 2)
    np.testing.assert_allclose(embedder.embed(images), got, atol=1e-5)
    np.testing.assert_allclose(np.concatenate([embedder.embed([image]) for image in images]), got, atol=1e-5)
    assert embedder.embed([]).shape == (0, 8)


@pytest.mark.parametrize(
    ("make", "config", "shape"),
    [(plain, CONFIG, (4, 2, 128)), (matching, CONFIG, (4, 2, 6)), (matching, WIDE, (2, 5, 6))],
)
def test_feature_maps_come_with_the_same_features(make, config, shape, monkeypatch):
    embedder, images = make(config), pictures((32, 16), (100, 40), (9, 7))
    assert isinstance(embedder, MapEmbedder)
    features, maps = embedder.embed_with_maps(images)
    height, width, channels = embedder.map_shape
    assert (height, width, channels) == shape
    assert maps.shape == (3, height * width, channels)
    np.testing.assert_allclose(np.linalg.norm(maps, axis=2), 1, atol=1e-5)
    np.testing.assert_array_equal(features, embedder.embed(images))
    monkeypatch.setattr(embedder_module, "BATCH", 2)
    np.testing.assert_allclose(embedder.embed_with_maps(images)[1], maps, atol=1e-5)
    upside_down = embedder.embed_with_maps([images[0][::-1].copy()])[1].reshape(height, width, channels)
    assert not np.allclose(upside_down, maps[0].reshape(height, width, channels), atol=0.01)


def test_a_model_that_was_not_trained_to_match_has_no_head():
    assert plain().head is None


def test_the_head_reaches_the_scores_through_a_map_store(tmp_path):
    write_market(tmp_path / "market")
    rows, embedder = read_dataset(str(tmp_path / "market"))[:5], matching()
    features, maps = embedder.embed_with_maps(pictures(*[(32, 16)] * 5))
    height, width, channels = embedder.map_shape
    shape = MapShape(height=height, width=width, channels=channels)
    images = label_rows(rows, features, embedder.fingerprint)
    store = str(tmp_path / "f.maps")
    with map_writer(store, images, shape, model_fingerprint=embedder.fingerprint, head=embedder.head) as writer:
        writer.write(np.arange(5), maps)
    map_5KHW = torch.from_numpy(maps).transpose(1, 2).unflatten(2, (height, width))
    with torch.no_grad():
        expected = embedder.matching.score(map_5KHW, map_5KHW).numpy()
    with open_maps(store) as found:
        got = scores(found.array, found.array, found.head)
    assert expected.std() > 0.1
    np.testing.assert_allclose(got, expected, rtol=2e-3, atol=2e-3)  # maps are stored as float16
