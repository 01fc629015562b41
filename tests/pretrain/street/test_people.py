"""Tests of people and of how they are drawn (`people`, `pose`, `clothes`, `paint`, `body`)."""

from dataclasses import replace

import numpy as np
import pytest

from pretrain.street.body import PIXELS_PER_METRE, YAW_STEPS, draw_person
from pretrain.street.people import CLOTH_COLOURS, Person, make_person
from pretrain.street.pose import GAIT_PHASES, STANDING, joints

PLAIN = replace(
    make_person(0, 0, 1),
    pattern="plain",
    bag="none",
    hair="short",
    hat="none",
    sleeve=1.0,
    lower="trousers",
    is_coat=False,
)
BACK = YAW_STEPS // 2


def torso(person: Person, yaw_step: int) -> np.ndarray:
    """Cut out the middle of the torso of a standing person: float64 [h, w, 3]."""
    sprite = draw_person(person, yaw_step, STANDING)
    x, y = (round(value) for value in sprite.anchor)
    tall = round(person.height_metres * PIXELS_PER_METRE)
    return sprite.pixels[y - round(0.76 * tall) : y - round(0.6 * tall), x - 4 : x + 5, :3].astype(float)


def test_a_person_depends_on_style_seed_and_number_alone():
    assert make_person(0, 0, 7) == make_person(0, 0, 7)
    others = {make_person(1, 0, 7), make_person(0, 1, 7), make_person(0, 0, 8)}
    assert len(others | {make_person(0, 0, 7)}) == 4


def test_many_people_share_colours():
    people = [make_person(0, 0, i) for i in range(1, 61)]
    nearest = [
        min(range(len(CLOTH_COLOURS)), key=lambda k: np.abs(np.subtract(CLOTH_COLOURS[k], p.upper_colour)).sum())
        for p in people
    ]
    assert np.bincount(nearest).max() >= 6
    assert len({(p.pattern, p.bag, p.hair, p.lower, p.sleeve) for p in people}) > 50


@pytest.mark.parametrize("phase", [STANDING, *range(0, GAIT_PHASES, 3)])
def test_the_lower_foot_is_on_the_ground(phase: int):
    points = joints(PLAIN, phase)
    assert min(points["ankle_left"][1], points["ankle_right"][1]) == pytest.approx(0.04 * PLAIN.height_metres)


def test_arms_swing_against_legs():
    points = joints(PLAIN, GAIT_PHASES // 4)
    assert points["knee_left"][2] > 0 > points["knee_right"][2]
    assert points["elbow_left"][2] < 0 < points["elbow_right"][2]


def test_a_sprite_is_premultiplied_tight_and_as_tall_as_the_person():
    sprite = draw_person(PLAIN, 0, STANDING)
    assert sprite.pixels.dtype == np.uint8
    assert (sprite.pixels[..., :3].max(axis=2) <= sprite.pixels[..., 3].astype(int) + 1).all()
    for border in (sprite.pixels[0], sprite.pixels[-1], sprite.pixels[:, 0], sprite.pixels[:, -1]):
        assert border[..., 3].any()
    assert sprite.anchor[1] == pytest.approx(PLAIN.height_metres * PIXELS_PER_METRE, abs=4)


def test_sprites_of_every_kind_of_person_fit_on_the_canvas():
    for identity in range(1, 25):
        person = replace(make_person(0, 0, identity), height_metres=1.96, build=1.3, swing=1.2)
        sprite = draw_person(person, YAW_STEPS // 4, 3)
        assert sprite.anchor[1] > 170
        assert sprite.pixels.shape[1] < 184


def test_a_logo_shows_from_the_front_alone():
    with_logo = replace(PLAIN, pattern="logo", pattern_scale=0.3)
    assert np.abs(torso(with_logo, 0) - torso(PLAIN, 0)).mean() > 20
    np.testing.assert_array_equal(torso(with_logo, BACK), torso(PLAIN, BACK))


def test_a_backpack_covers_the_back_alone():
    with_bag = replace(PLAIN, bag="backpack", bag_colour=(40, 240, 40), upper_colour=(40, 40, 40))
    without = replace(with_bag, bag="none")
    assert np.abs(torso(with_bag, BACK) - torso(without, BACK)).mean() > 20
    np.testing.assert_array_equal(torso(with_bag, 0), torso(without, 0))


def test_a_face_looks_the_way_the_person_walks():
    person = replace(PLAIN, skin=(0, 0, 240), hair_colour=(240, 0, 0))
    for yaw_step, forward in ((YAW_STEPS // 4, 1), (3 * YAW_STEPS // 4, -1)):
        sprite = draw_person(person, yaw_step, STANDING)
        head = sprite.pixels[:22, :, 2].astype(float)
        centre = (head.sum(0) * np.arange(head.shape[1])).sum() / head.sum()
        assert (centre - sprite.anchor[0]) * forward > 2
