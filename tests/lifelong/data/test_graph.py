"""The graph sampler's order of an epoch, by embeddings and by matching."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cluster import storage
from lifelong.data.graph import ClassGraph
from lifelong.data.orders import order_file
from lifelong.models.network import next_model
from lifelong.stages.config import StageConfig
from lifelong.stages.loss_config import LossConfig, MatchingLossConfig
from pretrain.models.config import ModelConfig
from pretrain.models.encoder import make_encoder
from tests.lifelong.people import write_people

CONFIG = StageConfig(
    recipe="test",
    sampler="graph",
    batch_identities=3,
    model=ModelConfig(architecture="tiny", embedding_size=8, height=32, width=16),
)
MATCHING = replace(CONFIG, loss=LossConfig(identity=0, triplet=0, matching=MatchingLossConfig(triplet=1, channels=4)))


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    folder = write_people(tmp_path_factory.mktemp("people"), people=6)
    paths = sorted(str(path) for path in (folder / "bounding_box_train").iterdir())
    return paths, np.array([int(path.rsplit("/", 1)[1][:4]) for path in paths])


def order_of(config, people, folder, epoch=0):
    encoder = {f"encoder.{name}": value for name, value in make_encoder(config.model, seed=0).state_dict().items()}
    model = next_model(config, encoder, torch.randn(6, 8, generator=torch.Generator().manual_seed(0))).train()
    graph = ClassGraph(config, *people, str(folder))
    graph.write(epoch, model, torch.device("cpu"))
    assert model.training, "as it was"
    return graph, model, storage.read_json(order_file(str(folder), epoch))


@pytest.mark.parametrize("config", [CONFIG, MATCHING])
def test_every_identity_is_the_anchor_of_one_step(config, people, tmp_path):
    _, _, order = order_of(config, people, tmp_path)
    steps = np.array(order).reshape(6, 3)
    assert sorted(steps[:, -1]) == list(range(6))
    assert all(len(set(step)) == 3 for step in steps.tolist())


def test_neighbours_are_the_nearest(people, tmp_path):
    graph, model, order = order_of(CONFIG, people, tmp_path)
    rng = np.random.default_rng((CONFIG.seed, 0, 0x64A9))
    distance = graph._distances([int(rng.choice(rows)) for rows in graph.classes], model, torch.device("cpu"))
    np.fill_diagonal(distance, np.inf)
    for *neighbours, anchor in np.array(order).reshape(6, 3).tolist():
        assert set(neighbours) == set(np.argsort(distance[anchor])[:2])


def test_an_order_is_written_once(people, tmp_path):
    graph, model, order = order_of(CONFIG, people, tmp_path)
    with torch.no_grad():
        model.encoder.embedding.weight.neg_()
    graph.write(0, model, torch.device("cpu"))
    assert storage.read_json(order_file(str(tmp_path), 0)) == order


def test_fewer_identities_than_a_step_has(people, tmp_path):
    _, _, order = order_of(replace(CONFIG, batch_identities=32), people, tmp_path)
    assert np.sort(np.array(order).reshape(6, 6), axis=1).tolist() == [list(range(6))] * 6
