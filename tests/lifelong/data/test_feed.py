"""Samples: groups of identities, what is replayed, and that a sample follows from its number alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lifelong.data.feed import COLUMNS, Feed, TrainingImages, collate
from lifelong.memory.store import Exemplars
from lifelong.stages.config import MemoryConfig, StageConfig
from lifelong.stages.loss_config import LossConfig
from pretrain.data.config import AugmentConfig
from pretrain.models.config import ModelConfig
from tests.lifelong.people import write_people

OFF = AugmentConfig(
    jitter_probability=0, grayscale_probability=0, blur_probability=0, erasing_probability=0, flip_probability=0,
    padding_pixels=0,
)  # fmt: skip
CONFIG = StageConfig(
    recipe="test",
    batch_identities=4,
    images_per_identity=3,
    replay_identities=2,
    replay_images=2,
    augment=OFF,
    model=ModelConfig(architecture="tiny", embedding_size=8, height=32, width=16),
    loss=LossConfig(),
    memory=MemoryConfig(identities=3),
)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = write_people(tmp_path_factory.mktemp("people"), people=5)
    paths = sorted(str(path) for path in (folder / "bounding_box_train").iterdir())
    label = np.array([int(path.rsplit("/", 1)[1][:4]) for path in paths]) + 9
    return TrainingImages(paths, label)


def memory_of(images):
    """Two earlier stages: labels 0, 1 and 2, three images each; pictures are those of the stage."""
    count = 9
    unit = np.eye(count, dtype=np.float32)
    return Exemplars(
        image=np.array([open(images.path[row], "rb").read() for row in range(count)], object),
        path=np.array(images.path[:count], object),
        identity=np.repeat([1, 2, 3], 3),
        label=np.repeat([0, 1, 2], 3),
        stage=np.repeat([1, 1, 2], 3),
        feature=unit,
        model_fingerprint=np.array(["a"] * count, object),
    )


def test_an_epoch_holds_every_image(images):
    feed = Feed(CONFIG, images, None)
    assert feed.draws.per_epoch == 5 * 2
    labels = np.concatenate([feed.sample(draw)["label"] for draw in range(feed.draws.per_epoch)])
    assert np.bincount(labels)[10:].tolist() == [6] * 5


def test_a_sample_follows_from_its_number(images):
    one, other = (Feed(CONFIG, images, memory_of(images)) for _ in range(2))
    for draw in (25, 3, 0):  # in any order
        first, second = one.sample(draw), other.sample(draw)
        assert all(np.array_equal(first[name], second[name]) for name in first)
    assert not np.array_equal(one.sample(0)["images"], one.sample(1)["images"])


def test_what_is_replayed_comes_from_the_memory_with_its_label(images):
    feed, remembered = Feed(CONFIG, images, memory_of(images)), memory_of(images)
    stages = []
    for draw in range(60):
        sample = feed.sample(draw)
        assert sample["is_replay"].tolist() == [False] * 3 + [True] * 4
        assert set(sample["label"][:3]) <= set(range(10, 15))
        for label, image in zip(sample["label"][3:], sample["images"][3:], strict=True):
            rows = np.flatnonzero(remembered.label == label)
            pixels = [Feed(CONFIG, TrainingImages([images.path[row]] * 3, np.zeros(3, int)), None) for row in rows]
            assert any(np.array_equal(image, one.sample(0)["images"][0]) for one in pixels)
            stages.append(int(remembered.stage[rows[0]]))
    assert 0.35 < np.mean(np.array(stages) == 2) < 0.65, "both earlier stages are as likely, whatever they keep"


def test_without_replay_a_memory_is_left_alone(images):
    sample = Feed(replace(CONFIG, replay_identities=0), images, memory_of(images)).sample(0)
    assert not sample["is_replay"].any()


def test_batches_are_runs_of_draws(images):
    feed = Feed(CONFIG, images, memory_of(images))
    samples = feed(np.arange(4, 8))
    assert samples["draw"].tolist() == [4, 5, 6, 7]
    second = collate(samples)
    assert tuple(second) == COLUMNS
    expected = np.concatenate([feed.sample(draw)["label"] for draw in range(4, 8)])
    assert second["label"].tolist() == expected.tolist()
    assert second["images"].shape == (28, 3, 32, 16)
    assert second["images"].dtype == torch.uint8
