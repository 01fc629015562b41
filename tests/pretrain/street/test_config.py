"""Tests of `pretrain.street.config`."""

import pytest

from pretrain.street.config import StreetConfig, generator


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"style": -1}, r"style must be >= 0, got -1"),
        ({"seed": -2}, r"seed must be >= 0, got -2"),
        ({"identities": 0}, r"identities must be >= 1, got 0"),
        ({"test_identities": -1}, r"test_identities must be >= 0, got -1"),
        ({"train_identities": -1}, r"train_identities must be >= 0, got -1"),
        ({"identities": 9990, "test_identities": 10}, r"must be <= 9999, got 10000: lower one"),
        ({"identities": 9990, "test_identities": 2, "train_identities": 8}, r"must be <= 9999, got 10000: lower one"),
        ({"cameras": 10}, r"cameras must be 1 to 9, got 10"),
        ({"cameras": 1}, r"cameras must be >= 2 .* test_identities=0"),
        ({"cameras": 1, "test_identities": 0, "train_identities": 5}, r"cameras must be >= 2 .* train_identities=0"),
        ({"fps": 0}, r"fps must be 1 to 60, got 0"),
        ({"seconds": 0.0}, r"at least one frame at 10 fps, got 0.0"),
        ({"seconds": float("nan")}, r"at least one frame at 10 fps, got nan"),
        ({"seconds": float("inf")}, r"seconds must be finite, got inf"),
    ],
)
def test_bad_fields_are_refused_with_value_and_remedy(fields: dict, message: str):
    with pytest.raises(ValueError, match=message):
        StreetConfig(**fields)


def test_one_camera_is_enough_without_retrieval():
    assert StreetConfig(cameras=1, test_identities=0, seconds=2.5, fps=8).num_frames == 20


def test_people_are_numbered_on_from_the_videos_to_test_to_train():
    config = StreetConfig(identities=3, test_identities=2, train_identities=4)
    assert (list(config.test_people), list(config.train_people)) == ([4, 5], [6, 7, 8, 9])
    nobody = StreetConfig(identities=3, test_identities=0)
    assert (list(nobody.test_people), list(nobody.train_people)) == ([], [])


def test_each_thing_has_randomness_of_its_own():
    draws = {
        generator(*key).random()
        for key in [(0, 0, "a", 0), (1, 0, "a", 0), (0, 1, "a", 0), (0, 0, "b", 0), (0, 0, "a", 1)]
    }
    assert len(draws) == 5
    assert generator(3, 4, "person", 5).random() == generator(3, 4, "person", 5).random()
