"""Who meets whom: groups, episodes and the graph's neighbours, and that a draw follows from its number alone."""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from cluster import storage
from lifelong.data import orders
from lifelong.data.graph_sampler import occurrences
from lifelong.data.orders import order_file, wait_for_order
from lifelong.data.pk_sampler import groups_of
from lifelong.data.samplers import make_draws
from lifelong.stages.config import StageConfig

LABEL = np.repeat([4, 7, 9, 12, 13], [5, 1, 3, 8, 2])
GROUPS = StageConfig(recipe="test", batch_identities=2, images_per_identity=3)
EPISODES = replace(GROUPS, sampler="episodes")
GRAPH = replace(GROUPS, sampler="graph")


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7])
def test_every_image_is_in_a_group_of_its_identity(size):
    label = np.array([3, 3, 5, 3, 5, 3, 3, 8])
    groups = groups_of(label, size, np.random.default_rng(0))
    assert make_draws(replace(GROUPS, images_per_identity=size), label, "").per_epoch == len(groups)
    assert all(len(set(label[group])) == 1 for group in groups)
    assert set(groups.ravel()) == set(range(len(label)))
    for group in groups:  # an image twice in a group only where its identity has too few
        assert len(set(group)) == min(size, (label == label[group[0]]).sum())


def test_an_episode_holds_different_identities_and_an_epoch_all():
    draws = make_draws(EPISODES, LABEL, "")
    assert (draws.per_step, draws.per_epoch) == (2, 6)
    labels = [set(LABEL[draws.rows(draw)]) for draw in range(12)]
    assert all(len(one) == 1 for one in labels)
    assert all(labels[draw] != labels[draw + 1] for draw in range(0, 12, 2))
    assert set.union(*labels[:6]) == set.union(*labels[6:]) == set(LABEL)


def test_an_episode_is_capped_where_there_are_few_identities():
    draws = make_draws(replace(EPISODES, batch_identities=32), LABEL, "")
    assert (draws.per_step, draws.per_epoch) == (5, 5)


@pytest.mark.parametrize("config", [GROUPS, EPISODES])
def test_a_draw_follows_from_its_number(config):
    one, other = make_draws(config, LABEL, ""), make_draws(config, LABEL, "")
    for draw in (11, 2, 0):  # in any order
        assert np.array_equal(one.rows(draw), other.rows(draw))


def test_neighbours_follow_the_graph_of_their_epoch(tmp_path):
    draws = make_draws(GRAPH, LABEL, str(tmp_path))
    assert (draws.per_step, draws.per_epoch) == (2, 10)
    drawn_by = [[0, 1, 3, 0, 2, 3, 3, 4, 1, 2], [3, 3, 3, 3, 3, 3, 3, 3, 3, 3]]
    for epoch, order in enumerate(drawn_by):
        storage.write_json(order_file(str(tmp_path), epoch), order)
    classes = np.unique(LABEL)
    for draw in range(20):
        rows = draws.rows(draw)
        assert set(LABEL[rows]) == {classes[drawn_by[draw // 10][draw % 10]]}
        assert len(rows) == 3
    # Eight images by threes: a cursor goes through all of them before it comes back.
    drawn = np.concatenate([draws.rows(draw) for draw in range(10, 18)])
    assert set(np.bincount(drawn)[9:17]) == {3}


def test_a_draw_waits_for_the_graph_of_its_epoch(tmp_path, monkeypatch):
    def write():
        time.sleep(0.3)
        storage.write_json(order_file(str(tmp_path), 2), [1, 0])

    thread = threading.Thread(target=write)
    thread.start()
    assert wait_for_order(str(tmp_path), 2).tolist() == [1, 0]
    thread.join()
    monkeypatch.setattr(orders, "PATIENCE_SECONDS", 0.2)
    with pytest.raises(TimeoutError, match=r"epoch-00003.json was not written"):
        wait_for_order(str(tmp_path), 3)


def test_occurrences_count_what_came_before():
    order = np.random.default_rng(0).integers(0, 5, 40)
    expected = [int((order[:place] == value).sum()) for place, value in enumerate(order)]
    assert occurrences(order).tolist() == expected
    assert occurrences(np.array([3, 1, 3, 3])).tolist() == [0, 0, 1, 2]
