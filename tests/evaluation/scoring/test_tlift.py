"""TLift against its loop, the authors' numbers, closed forms, and what must hold whatever the data."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.scoring import tlift as module
from evaluation.scoring.tlift import Neighbours, tlift

FIXTURE = Path(__file__).parent / "fixtures" / "tlift.npz"


def random_problem(seed, num_queries=12, num_gallery=40, num_cameras=3, levels=None):
    """Similarities (few different ones if levels says so), cameras and times of queries and gallery."""
    rng = np.random.default_rng(seed)
    similarity = rng.random((num_queries, num_gallery))
    if levels:
        similarity = np.ceil(similarity * levels) / levels
    query_camera, gallery_camera = rng.integers(0, num_cameras, num_queries), rng.integers(0, num_cameras, num_gallery)
    return [
        similarity,
        query_camera,
        rng.uniform(0, 600, num_queries),
        gallery_camera,
        rng.uniform(0, 600, num_gallery),
    ]


def loop(similarity, query_camera, query_seconds, gallery_camera, gallery_seconds, tau, sigma, num_pivots, alpha, kind):
    """The docstring's loop."""
    lifted = np.zeros_like(similarity)
    for i in range(len(similarity)):
        near = [
            j
            for j in range(len(similarity))
            if query_camera[j] == query_camera[i] and abs(query_seconds[j] - query_seconds[i]) < tau
        ]
        for b in set(gallery_camera):
            images = [g for g in range(len(gallery_camera)) if gallery_camera[g] == b]
            found = [(similarity[j, g], g) for j in near for g in images]
            theta = sorted((s for s, _ in found), reverse=True)[min(num_pivots, len(found)) - 1]
            pivots = [g for s, g in found if s >= theta]
            pivots = sorted(set(pivots)) if kind == "set" else pivots
            for g in images:
                w = np.mean([np.exp(-(((gallery_seconds[g] - gallery_seconds[h]) / sigma) ** 2)) for h in pivots])
                lifted[i, g] = (w + alpha) * similarity[i, g]
    return lifted


def test_equals_the_authors_program():
    data = np.load(FIXTURE)
    got = tlift(
        *(data[key] for key in ("score", "query_cameras", "query_seconds", "gallery_cameras", "gallery_seconds"))
    )
    np.testing.assert_allclose(got, data["lifted"], atol=1e-12)


@pytest.mark.parametrize("kind", ["multiset", "set"])
@pytest.mark.parametrize("levels", [None, 4])
@pytest.mark.parametrize(("tau", "num_pivots"), [(100.0, 10), (30.0, 1), (1e-6, 3), (1e4, 7), (100.0, 500)])
def test_equals_the_loop(tau, num_pivots, levels, kind):
    problem = random_problem(0, levels=levels)
    expected = loop(*problem, tau, 80.0, num_pivots, 0.2, kind)
    got = tlift(*problem, tau=tau, sigma=80.0, num_pivots=num_pivots, pivots=kind)
    np.testing.assert_allclose(got, expected, atol=1e-12)


def three_images(similarity, **options):
    """METHOD.md 4.2: one camera, gallery at 0, 100 and 1000 s, queries at 0 and 50 s."""
    cameras, seconds = np.zeros(3, int), np.array([0.0, 100, 1000])
    return tlift(np.array(similarity), cameras[:2], np.array([0.0, 50]), cameras, seconds, **options)


def test_the_worked_numbers_of_the_method():
    similarity = [[0.9, 0.2, 0.1], [0.3, 0.8, 0.1]]
    expected = [[0.9804603524, 0.2178800783, 0.0200000001], [0.3268201175, 0.8715203132, 0.0200000001]]
    np.testing.assert_allclose(three_images(similarity, num_pivots=2), expected, atol=1e-10)
    expected = [[1.08, 0.1957601566, 0.02], [0.2936402349, 0.96, 0.0200000002]]
    np.testing.assert_allclose(three_images(similarity, tau=10.0, num_pivots=1), expected, atol=1e-9)
    similarity = [[0.9, 0.2, 0.1], [0.8, 0.3, 0.1]]
    expected = [1.0136402349, 0.2105067711, 0.0200000001]
    np.testing.assert_allclose(three_images(similarity, num_pivots=3)[0], expected, atol=1e-10)
    weight = (1 + np.exp(-0.25)) / 2
    np.testing.assert_allclose(
        three_images(similarity, num_pivots=3, pivots="set")[0, :2], (weight + 0.2) * np.array([0.9, 0.2]), atol=1e-10
    )


def test_one_pivot_of_ones_own():
    problem = random_problem(1, num_cameras=1)
    similarity, seconds = problem[0], problem[4]
    nearness = np.exp(-(((seconds - seconds[similarity.argmax(axis=1)][:, None]) / 200) ** 2))
    np.testing.assert_allclose(tlift(*problem, tau=1e-9, num_pivots=1), (nearness + 0.2) * similarity, atol=1e-12)


problems = st.builds(random_problem, st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 30), st.integers(1, 4))
kinds = st.sampled_from(["multiset", "set"])


@settings(max_examples=40)
@given(problems, kinds, st.integers(0, 1000))
def test_clocks_of_cameras_and_orders_of_images_do_not_matter(problem, kind, seed):
    similarity, query_camera, query_seconds, gallery_camera, gallery_seconds = problem
    rng = np.random.default_rng(seed)
    expected = tlift(*problem, pivots=kind)
    query_clock, gallery_clock = rng.integers(-500, 500, (2, 9)).astype(float)
    moved = (query_seconds + query_clock[query_camera], gallery_seconds + gallery_clock[gallery_camera])
    got = tlift(similarity, query_camera, moved[0], gallery_camera, moved[1], pivots=kind)
    np.testing.assert_allclose(got, expected, atol=1e-9)
    q, g = rng.permutation(len(query_camera)), rng.permutation(len(gallery_camera))
    shuffled = [similarity[q][:, g], query_camera[q], query_seconds[q], gallery_camera[g], gallery_seconds[g]]
    np.testing.assert_allclose(tlift(*shuffled, pivots=kind), expected[q][:, g], atol=1e-12)


@settings(max_examples=40)
@given(problems, kinds, st.floats(0.1, 1.0), st.floats(0.1, 50))
def test_scales(problem, kind, score_scale, time_scale):
    similarity, query_camera, query_seconds, gallery_camera, gallery_seconds = problem
    expected = tlift(*problem, pivots=kind)
    scaled = tlift(similarity * score_scale, *problem[1:], pivots=kind)
    np.testing.assert_allclose(scaled, expected * score_scale, atol=1e-12)
    times = (query_seconds * time_scale, gallery_seconds * time_scale)
    slower = tlift(
        similarity,
        query_camera,
        times[0],
        gallery_camera,
        times[1],
        tau=100 * time_scale,
        sigma=200 * time_scale,
        pivots=kind,
    )
    np.testing.assert_allclose(slower, expected, atol=1e-9)


@settings(max_examples=40)
@given(problems, kinds, st.floats(0, 2))
def test_bounds_and_limits(problem, kind, alpha):
    similarity = problem[0]
    got = tlift(*problem, alpha=alpha, pivots=kind)
    assert (got >= alpha * similarity - 1e-12).all()
    assert (got <= (1 + alpha) * similarity + 1e-12).all()
    np.testing.assert_allclose(
        tlift(*problem, sigma=1e12, alpha=alpha, pivots=kind), (1 + alpha) * similarity, atol=1e-9
    )
    far = tlift(*problem, alpha=1e9, pivots=kind)
    np.testing.assert_array_equal(np.argsort(far, axis=1), np.argsort(similarity, axis=1))


@settings(max_examples=40)
@given(problems, kinds)
def test_queries_of_other_cameras_have_no_influence(problem, kind):
    similarity, query_camera, query_seconds, *gallery = problem
    mine = query_camera == query_camera[0]
    alone = tlift(similarity[mine], query_camera[mine], query_seconds[mine], *gallery, pivots=kind)
    np.testing.assert_allclose(alone, tlift(*problem, pivots=kind)[mine], atol=1e-12)


@pytest.mark.parametrize("kind", ["multiset", "set"])
def test_one_query_with_its_neighbours_is_lifted_as_among_all(kind):
    similarity, camera, seconds, *gallery = random_problem(2)
    expected = tlift(similarity, camera, seconds, *gallery, pivots=kind)
    for i in range(len(camera)):
        rest = np.arange(len(camera)) != i
        recent = Neighbours(similarity=similarity[rest], camera=camera[rest], seconds=seconds[rest])
        one = tlift(
            similarity[i : i + 1], camera[i : i + 1], seconds[i : i + 1], *gallery, pivots=kind, neighbours=recent
        )
        np.testing.assert_allclose(one[0], expected[i], atol=1e-12)


def test_cameras_without_images_on_either_side():
    similarity, query_camera, query_seconds, gallery_camera, gallery_seconds = random_problem(3)
    problem = [similarity, query_camera + 7, query_seconds, gallery_camera * 4, gallery_seconds]
    np.testing.assert_allclose(tlift(*problem), loop(*problem, 100.0, 200.0, 10, 0.2, "multiset"), atol=1e-12)


def test_a_difference_of_just_tau_is_not_near():
    similarity = np.array([[0.9, 0.1], [0.1, 0.9]])
    zeros, gallery_seconds = np.zeros(2, int), np.array([0.0, 1e6])
    apart = tlift(similarity, zeros, np.array([0.3, 100.3]), zeros, gallery_seconds, num_pivots=1)
    np.testing.assert_allclose(apart, (np.eye(2) + 0.2) * similarity, atol=1e-12)


def test_chunks_change_nothing_and_the_type_stays(monkeypatch):
    problem = random_problem(4)
    problem[0] = problem[0].astype(np.float32)
    expected = tlift(*problem)
    assert expected.dtype == np.float32
    monkeypatch.setattr(module, "CHUNK_ENTRIES", 1)
    done = []
    np.testing.assert_array_equal(tlift(*problem, advance=done.append), expected)
    assert sum(done) == expected.size


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (
            {0: -np.ones((12, 40))},
            {},
            r"query similarities in \[0, 1\], got -1 to -1; give \(1 \+ cosine\) / 2, or sig",
        ),
        ({0: np.full((12, 40), np.nan)}, {}, r"query similarities in \[0, 1\], got nan"),
        ({2: np.full(12, np.nan)}, {}, "12 of 12 query images have no time; TLift needs time_seconds of every image"),
        ({4: np.full(40, np.inf)}, {}, "40 of 40 gallery images have no time"),
        ({1: np.zeros(11, int)}, {}, r"query similarities \[12, 40\] need as many cameras and times, got 11"),
        ({}, {"tau": 0.0}, "tau and sigma must be > 0 s, num_pivots a whole number >= 1 and alpha >= 0, got 0.0"),
        ({}, {"sigma": np.nan}, "got 100.0, nan"),
        ({}, {"num_pivots": 0}, "got 100.0, 200.0, 0"),
        ({}, {"num_pivots": 2.5}, "got 100.0, 200.0, 2.5"),
        ({}, {"alpha": -0.1}, "got 100.0, 200.0, 10, -0.1"),
        ({}, {"alpha": np.inf}, "got 100.0, 200.0, 10, inf"),
        ({}, {"pivots": "bag"}, "pivots must be multiset or set, got bag"),
        ({0: np.ones((12, 40), int)}, {}, "query similarities must be floats, got int64"),
    ],
)
def test_wrong_input_is_refused_with_the_remedy(change, options, message):
    problem = [change.get(place, value) for place, value in enumerate(random_problem(5))]
    with pytest.raises(ValueError, match=message):
        tlift(*problem, **options)
