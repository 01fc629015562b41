"""Choice of exemplars: the docstring's loop, what each strategy promises, and what is refused."""

import numpy as np
import pytest

from lifelong.memory.selection import select_exemplars


def people(seed, counts, dimensions=5):
    """Features of any length round a direction for each identity 10, 20, ..., rows mixed."""
    rng = np.random.default_rng(seed)
    identity = rng.permutation(np.repeat(10 * np.arange(1, len(counts) + 1), counts))
    centre = 2 * rng.normal(size=(10 * len(counts) + 1, dimensions))
    feature = (centre[identity] + rng.normal(size=(len(identity), dimensions))) * rng.uniform(
        0.1, 9, (len(identity), 1)
    )
    return feature.astype(np.float32), identity


def select(feature, identity, strategy, *, identities=99, images=2, seed=0):
    return select_exemplars(
        feature, identity, num_identities=identities, images_per_identity=images, strategy=strategy, seed=seed
    )


def by_definition(feature, identity, strategy, images):
    """The docstring's loop, in float64."""
    result = []
    for person in sorted(set(identity.tolist())):
        rows = [n for n in range(len(identity)) if identity[n] == person]
        x = [feature[n].astype(np.float64) / np.linalg.norm(feature[n].astype(np.float64)) for n in rows]
        mean, chosen = np.mean(x, axis=0), []
        while len(chosen) < min(images, len(rows)):
            cost = {}
            for m in [m for m in range(len(rows)) if m not in chosen]:
                herd = np.linalg.norm(mean - np.mean([x[j] for j in [*chosen, m]], axis=0))
                cost[m] = herd if strategy == "herding" else x[m] @ mean
            chosen.append(min(cost, key=lambda m: (cost[m], m)))
        result += [rows[m] for m in chosen]
    return result


@pytest.mark.parametrize("strategy", ["herding", "farthest"])
@pytest.mark.parametrize(("seed", "images"), [(1, 1), (2, 2), (3, 3), (4, 7)])
def test_choice_equals_its_loop(strategy, seed, images):
    feature, identity = people(seed, [5, 1, 8, 3])
    chosen = select(feature, identity, strategy, images=images)
    assert chosen.dtype == np.int64
    assert chosen.tolist() == by_definition(feature, identity, strategy, images)


def test_first_of_herding_is_nearest_to_the_centre_and_of_farthest_the_least_like_it():
    angle = np.deg2rad([0, 10, 20, 30, 90])  # the mean points at about 29 degrees
    feature = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    identity = np.full(5, 7)
    assert select(feature, identity, "herding", images=1).tolist() == [3]
    assert select(feature, identity, "farthest").tolist() == [4, 0]


def test_herding_of_all_images_ends_at_the_class_mean_and_beats_chance():
    feature, identity = people(5, [12])
    unit = feature / np.linalg.norm(feature, axis=1, keepdims=True)

    def error(rows):
        return np.linalg.norm(unit[rows].mean(axis=0) - unit.mean(axis=0))

    assert sorted(select(feature, identity, "herding", images=12).tolist()) == list(range(12))
    drawn = [error(select(feature, identity, "random", images=3, seed=seed)) for seed in range(50)]
    assert error(select(feature, identity, "herding", images=3)) < np.quantile(drawn, 0.1)


@pytest.mark.parametrize("strategy", ["herding", "farthest"])
def test_neither_row_order_nor_length_decides(strategy):
    feature, identity = people(6, [6, 7, 8])
    chosen = select(feature, identity, strategy, identities=2, images=3)
    order = np.random.default_rng(1).permutation(len(identity))
    again = order[select(feature[order] * 4, identity[order], strategy, identities=2, images=3)]
    assert again.tolist() == chosen.tolist()


@pytest.mark.parametrize("strategy", ["herding", "farthest"])
def test_equal_images_go_by_row_order(strategy):
    feature = np.tile(people(7, [1], dimensions=37)[0], (9, 1))
    assert select(feature, np.full(9, 3), strategy, images=4).tolist() == [0, 1, 2, 3]


def test_result_is_grouped_and_every_strategy_draws_the_same_identities():
    feature, identity = people(8, [3] * 20)
    chosen = {name: select(feature, identity, name, identities=6) for name in ("random", "herding", "farthest")}
    people_of = {name: identity[rows].tolist() for name, rows in chosen.items()}
    assert people_of["random"] == people_of["herding"] == people_of["farthest"]
    assert people_of["random"] == sorted(people_of["random"])
    assert len(set(people_of["random"])) == 6
    assert all(len(set(rows.tolist())) == 12 for rows in chosen.values())


def test_one_seed_is_one_choice_and_another_is_another():
    feature, identity = people(9, [6] * 30)
    one, again, other = (select(feature, identity, "random", identities=10, seed=seed) for seed in (4, 4, 5))
    assert one.tolist() == again.tolist()
    assert set(identity[one]) != set(identity[other])


def test_random_draws_each_image_about_equally_often():
    identity = np.full(5, 3)
    feature = np.eye(5, dtype=np.float32)
    drawn = np.concatenate([select(feature, identity, "random", seed=seed) for seed in range(500)])
    assert np.bincount(drawn, minlength=5) == pytest.approx(200, abs=55)  # five standard deviations


@pytest.mark.parametrize("strategy", ["random", "herding", "farthest"])
def test_few_images_are_all_taken(strategy):
    feature, identity = people(10, [1, 2])
    chosen = select(feature, identity, strategy, images=5)
    assert identity[chosen].tolist() == [10, 20, 20]
    assert sorted(chosen.tolist()) == [0, 1, 2]


def test_wrong_input_is_refused():
    feature, identity = people(11, [3, 3])
    with pytest.raises(
        ValueError, match=r"identities must be > 0, got -1; leave out junk \(-1\) and distractors \(0\)"
    ):
        select(feature, np.where(identity == 10, -1, identity), "herding")
    with pytest.raises(ValueError, match=r"6 features need as many identities, got \[5\]"):
        select(feature, identity[:5], "herding")
    with pytest.raises(ValueError, match="1 training features are zero or not finite, the first in row 2"):
        select(feature * (np.arange(6) != 2)[:, None], identity, "herding")
    with pytest.raises(ValueError, match="must be >= 1 and the seed >= 0, got 0, 2 and 0"):
        select(feature, identity, "random", identities=0)
    with pytest.raises(ValueError, match="got 99, 2 and -1"):
        select(feature, identity, "random", seed=-1)
    with pytest.raises(ValueError, match="strategy must be random, herding, farthest, got 'nearest'"):
        select(feature, identity, "nearest")
