"""Tests of cameras, walks, imaging and the scene that joins them."""

from dataclasses import replace

import numpy as np
import pytest

from pretrain.street.cameras import make_camera
from pretrain.street.config import StreetConfig
from pretrain.street.imaging import Sensor
from pretrain.street.people import make_person
from pretrain.street.scene import Scene
from pretrain.street.scenery import draw_scenery
from pretrain.street.walks import retrieval_walks, training_walks

CONFIG = StreetConfig()
PEOPLE = {i: make_person(0, 0, i) for i in range(1, 61)}


def test_a_point_at_the_horizon_is_far_and_people_grow_towards_the_camera():
    for number in range(1, 7):
        camera = make_camera(0, number)
        assert camera.near_metres < camera.far_metres
        assert camera.project(0, 1e9) == pytest.approx((camera.width / 2, camera.horizon_pixels), abs=1e-3)
        for z, least, most in ((camera.far_metres, 55, 75), (camera.near_metres, 115, 165)):
            assert least < 1.7 * camera.pixels_per_metre(z) < most
        edge = camera.half_view_metres(camera.near_metres)
        assert camera.project(edge, camera.near_metres)[0] == pytest.approx(camera.width)


def test_cameras_of_a_city_do_not_depend_on_the_seed_and_differ():
    cameras = [make_camera(0, number) for number in range(1, 7)]
    assert len({camera.gains for camera in cameras}) == 6
    assert {camera.lane for camera in cameras} == {"across", "along", "diagonal"}
    assert make_camera(0, 3) == cameras[2]


def test_styles_look_different():
    first, second = make_camera(0, 1), make_camera(1, 1)
    assert first != second
    assert draw_scenery(first, 0).mean(axis=(0, 1)) != pytest.approx(draw_scenery(second, 1).mean(axis=(0, 1)), abs=2)


def test_each_training_person_visits_about_two_cameras_once():
    visits = [walk.person.identity for n in range(1, 7) for walk in training_walks(CONFIG, make_camera(0, n), PEOPLE)]
    counts = np.bincount(visits, minlength=61)[1:]
    assert 1 <= counts.min() <= counts.max() <= 3
    assert 1.6 <= counts.mean() <= 2.4
    for n in range(1, 7):
        here = [walk.person.identity for walk in training_walks(CONFIG, make_camera(0, n), PEOPLE)]
        assert len(here) == len(set(here))


def test_each_test_person_visits_three_cameras_or_four():
    visits = [
        w.person.identity
        for n in range(1, 7)
        for w in retrieval_walks(CONFIG, make_camera(0, n), PEOPLE, spacing_seconds=2)
    ]
    counts = np.bincount(visits, minlength=61)[1:]
    assert set(counts.tolist()) == {3, 4}


def test_the_walks_of_test_people_stay_what_they_were_and_train_has_its_own():
    camera = make_camera(0, 1)
    test = retrieval_walks(CONFIG, camera, PEOPLE, spacing_seconds=2)
    assert [walk.person.identity for walk in test[:4]] == [18, 39, 57, 2]
    assert [walk.start_seconds for walk in test[:4]] == pytest.approx([52.017055, 57.955762, 57.914765, 57.947854])
    train = retrieval_walks(CONFIG, camera, PEOPLE, spacing_seconds=2, part="train")
    assert {w.person.identity for w in train} == {w.person.identity for w in test}, "who is a matter of the person"
    assert [w.person.identity for w in train] != [w.person.identity for w in test]
    assert {w.start_seconds for w in train}.isdisjoint(w.start_seconds for w in test)


def test_people_who_keep_company_pass_all_cameras_in_one_order():
    orders = [
        [
            w.person.identity
            for w in retrieval_walks(replace(CONFIG, keep_company=True), make_camera(0, n), PEOPLE, spacing_seconds=2)
        ]
        for n in range(1, 7)
    ]
    alone = [
        [w.person.identity for w in retrieval_walks(CONFIG, make_camera(0, n), PEOPLE, spacing_seconds=2)]
        for n in range(1, 7)
    ]
    for one, before in zip(orders, alone, strict=True):
        assert set(one) == set(before), "who visits which camera stays"
        both = [person for person in orders[0] if person in one]
        assert both == [person for person in one if person in orders[0]]


def test_a_walk_starts_and_ends_outside_the_picture_at_human_speed():
    camera = make_camera(0, 1)
    for walk in training_walks(CONFIG, camera, PEOPLE):
        for x, z in walk.places[[0, -1]]:
            assert not 0 <= camera.project(x, z)[0] <= camera.width
        assert np.hypot(*np.diff(walk.places, axis=0).T).max() / 0.05 < 1.5
        assert walk.tick(walk.start_seconds) == 0
        assert walk.tick(walk.start_seconds + walk.seconds + 0.1) is None


def test_the_sensor_changes_colours_drifts_slowly_and_repeats_itself():
    camera = make_camera(0, 2)
    grey = np.full((camera.height, camera.width, 3), 128, np.uint8)
    sensor = Sensor(camera, 0, 0)
    frame = sensor.expose(grey, 1.0)
    np.testing.assert_array_equal(frame, Sensor(camera, 0, 0).expose(grey, 1.0))
    assert np.ptp(frame.mean(axis=(0, 1))) > 2  # a colour cast
    assert frame.std(axis=(0, 1)).mean() == pytest.approx(camera.noise, rel=0.15)
    assert 0 < abs(sensor.expose(grey, 1.1).mean() - frame.mean()) < 0.5


def test_boxes_lie_inside_the_picture_and_hold_the_person():
    camera = make_camera(0, 3)
    scene = Scene(camera, training_walks(CONFIG, camera, PEOPLE), 0, 0)
    empty = Scene(camera, [], 0, 0)
    checked = 0
    for seconds in (5.0, 20.0, 40.0):
        (frame, everybody), (background, nobody) = scene.frame(seconds), empty.frame(seconds)
        assert nobody == []
        is_changed = np.abs(frame.astype(int) - background).max(axis=2) > 12
        outside = is_changed.copy()
        for seen in everybody:
            assert 0 <= seen.left < seen.left + seen.width <= camera.width
            assert 0 <= seen.top < seen.top + seen.height <= camera.height
            assert 0 < seen.visible <= 1.02
            box = np.s_[seen.top : seen.top + seen.height, seen.left : seen.left + seen.width]
            if seen.visible > 0.3:
                assert is_changed[box].mean() > 0.1
                checked += 1
            outside[
                max(seen.top - 4, 0) : seen.top + seen.height + 10, max(seen.left - 16, 0) : seen.left + seen.width + 16
            ] = False
        assert outside.mean() < 0.001
    assert checked >= 6


def test_the_nearer_person_hides_the_farther():
    camera = make_camera(0, 3)
    scene = Scene(camera, training_walks(CONFIG, camera, PEOPLE), 0, 0)
    hidden = [seen for step in range(0, 60, 2) for seen in scene.frame(float(step))[1] if seen.visible < 0.7]
    assert hidden
    _, everybody = scene.frame(20.0)
    assert [seen.top + seen.height for seen in everybody] == sorted(seen.top + seen.height for seen in everybody)
