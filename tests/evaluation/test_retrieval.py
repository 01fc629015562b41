"""The market protocol against its loop, other people's evaluators, closed forms and its invariances."""

import json
from pathlib import Path

import numpy as np
import pytest

from evaluation.retrieval import RetrievalResult, market_metrics, rank_list

FIXTURES = Path(__file__).parent / "fixtures"
EXPECTED = json.loads((FIXTURES / "expected.json").read_text())
TOLERANCE = {"clean": 1e-5, "few_positives": 1e-5, "ties": 5e-4, "invalid_distractors_junk": 5e-4}
KEYS = ("query_features", "gallery_features", "query_identities", "gallery_identities", "query_cameras")


def load(name):
    data = np.load(FIXTURES / f"{name}.npz")
    return [data[key] for key in (*KEYS, "gallery_cameras")]


def random_problem(seed, num_queries=13, num_gallery=80, size=6, num_identities=7, num_cameras=3):
    """Queries and a gallery with junk (-1), distractors (0), and some queries without a match."""
    rng = np.random.default_rng(seed)
    return [
        rng.normal(size=(num_queries, size)).astype(np.float32),
        rng.normal(size=(num_gallery, size)).astype(np.float32),
        rng.integers(1, num_identities + 3, num_queries),
        rng.integers(-1, num_identities, num_gallery),
        rng.integers(0, num_cameras, num_queries),
        rng.integers(0, num_cameras, num_gallery),
    ]


def ranking_as_loop(q, query, gallery, query_identity, gallery_identity, query_camera, gallery_camera):
    """Gallery indices that remain for query q, nearest first: the loop of the docstring in float64."""
    unit = gallery.astype(np.float64) / np.linalg.norm(gallery.astype(np.float64), axis=1, keepdims=True)
    distance = ((unit - query[q].astype(np.float64) / np.linalg.norm(query[q].astype(np.float64))) ** 2).sum(1)
    ranking = []
    for g in sorted(range(len(gallery)), key=lambda g: (distance[g], g)):
        if gallery_identity[g] == -1:
            continue
        if gallery_identity[g] == query_identity[q] and gallery_camera[g] == query_camera[q]:
            continue
        ranking.append(g)
    return ranking


def metrics_as_loop(*problem):
    average_precision, penalty, first = [], [], []
    for q in range(len(problem[0])):
        is_right = [problem[3][g] == problem[2][q] for g in ranking_as_loop(q, *problem)]
        rank = [r for r, right in enumerate(is_right, start=1) if right]
        if not rank:
            continue
        average_precision.append(sum(k / r for k, r in enumerate(rank, start=1)) / len(rank))
        penalty.append(len(rank) / rank[-1])
        first.append(rank[0])
    cmc = [sum(f <= k for f in first) / len(first) for k in range(1, 51)]
    return np.mean(average_precision), cmc, np.mean(penalty), len(first)


def numbers(result: RetrievalResult):
    return [result.mAP, result.mINP, *result.cmc, result.num_queries, result.num_valid_queries, result.num_gallery]


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_equals_public_evaluators(name):
    expected, tolerance = EXPECTED[name]["market"], TOLERANCE[name]
    result = market_metrics(*load(name))
    assert result.mAP == pytest.approx(expected["mAP"], abs=tolerance)
    assert result.mINP == pytest.approx(expected["mINP"], abs=tolerance)
    assert result.rank(1) == pytest.approx(expected["rank1"], abs=tolerance)
    assert result.cmc[:10] == pytest.approx(expected.get("cmc", result.cmc[:10]), abs=tolerance)


@pytest.mark.parametrize(
    ("seed", "shape"), [(0, {}), (1, {"num_queries": 1}), (2, {"num_gallery": 7}), (3, {"size": 33, "num_cameras": 2})]
)
def test_equals_the_loop_of_the_docstring(seed, shape):
    problem = random_problem(seed, **shape)
    mean_precision, cmc, penalty, num_valid = metrics_as_loop(*problem)
    result = market_metrics(*problem)
    assert result.mAP == pytest.approx(mean_precision, abs=1e-12)
    assert result.cmc == pytest.approx(cmc, abs=1e-12)
    assert result.mINP == pytest.approx(penalty, abs=1e-12)
    assert result.num_valid_queries == num_valid
    assert len(problem[0]) == result.num_queries


def line(similarities, identities, cameras=None):
    """One query of identity 1, camera 0, and a gallery at the given cosines."""
    cosine = np.asarray(similarities)
    gallery = np.stack([cosine, np.sqrt(1 - cosine**2)], axis=1).astype(np.float32)
    cameras = np.ones(len(cosine), np.int64) if cameras is None else np.asarray(cameras)
    query = np.array([[1, 0]], np.float32)
    return [query, gallery, np.array([1]), np.asarray(identities), np.array([0]), cameras]


def test_closed_form_of_two_matches_at_ranks_one_and_three():
    result = market_metrics(*line([0.9, 0.8, 0.7, 0.6], [1, 2, 1, 3]))
    assert result.mAP == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert result.mINP == pytest.approx(2 / 3)
    assert result.cmc == (1.0,) * 50
    assert result.first_match_rank.tolist() == [1]


def test_same_camera_of_the_same_identity_is_left_out_but_of_another_identity_is_not():
    result = market_metrics(*line([0.9, 0.8, 0.7], [1, 2, 1], [0, 0, 1]))
    assert result.mAP == pytest.approx(1 / 2)
    assert result.num_gallery == 3


def test_junk_is_left_out_and_distractors_are_not():
    assert market_metrics(*line([0.9, 0.8], [-1, 1])).mAP == 1
    assert market_metrics(*line([0.9, 0.8], [0, 1])).mAP == 1 / 2


def test_equal_distances_stay_in_gallery_order():
    assert market_metrics(*line([0.5, 0.5, 0.5], [2, 3, 1])).first_match_rank.tolist() == [3]
    assert market_metrics(*line([0.5, 0.5, 0.5], [1, 2, 3])).first_match_rank.tolist() == [1]


def test_query_without_a_match_is_counted_and_in_no_mean():
    problem = random_problem(4)
    lost = np.append(problem[2], 10_000)
    extended = [np.vstack([problem[0], problem[0][:1]]), problem[1], lost, problem[3], np.append(problem[4], 0)]
    before, after = market_metrics(*problem), market_metrics(*extended, problem[5])
    assert after.mAP == before.mAP
    assert after.num_queries == before.num_queries + 1
    assert after.num_valid_queries == before.num_valid_queries
    assert np.isnan(after.average_precision[-1])
    assert after.first_match_rank[-1] == 0


@pytest.mark.parametrize("name", ["ties", "invalid_distractors_junk"])
def test_chunk_changes_nothing(name):
    problem = load(name)
    whole = market_metrics(*problem)
    for chunk in (1, 7, 200, 10_000):
        assert numbers(market_metrics(*problem, chunk=chunk)) == numbers(whole)


def test_order_of_queries_and_of_a_gallery_without_ties_changes_nothing():
    problem, rng = random_problem(5), np.random.default_rng(6)
    q, g = rng.permutation(len(problem[0])), rng.permutation(len(problem[1]))
    shuffled = [array[order] for array, order in zip(problem, (q, g, q, g, q, g), strict=True)]
    before, after = market_metrics(*problem), market_metrics(*shuffled)
    np.testing.assert_allclose(numbers(after), numbers(before), atol=1e-12)
    np.testing.assert_array_equal(after.average_precision, before.average_precision[q])


def test_scale_and_rotation_of_all_features_change_nothing():
    problem, rng = random_problem(7), np.random.default_rng(8)
    rotation = np.linalg.qr(rng.normal(size=(6, 6)))[0].astype(np.float32)
    moved = [3 * problem[0] @ rotation, 0.2 * problem[1] @ rotation, *problem[2:]]
    np.testing.assert_allclose(numbers(market_metrics(*moved)), numbers(market_metrics(*problem)), atol=1e-12)


def test_rank_list_is_the_ranking_that_is_scored():
    problem = random_problem(9)
    lists = rank_list(*problem, length=5)
    for q in range(len(problem[0])):
        expected = ranking_as_loop(q, *problem)[:5]
        assert lists.gallery_index[q].tolist() == expected
        assert lists.is_right[q].tolist() == [problem[3][g] == problem[2][q] for g in expected]
    assert (np.diff(lists.distance, axis=1) >= 0).all()


def test_short_rank_list_ends_in_nothing():
    lists = rank_list(*line([0.9, 0.8, 0.7], [1, 2, -1], [0, 1, 1]), length=3)
    assert lists.gallery_index.tolist() == [[1, -1, -1]]
    assert not lists.is_right.any()
    assert lists.distance[0, 1:].tolist() == [np.inf, np.inf]


def test_wrong_input_is_refused_with_the_reason():
    query, gallery, *labels = random_problem(10)
    with pytest.raises(ValueError, match=r"none of the 13 queries has a match in the gallery \(0 images\)"):
        market_metrics(query, gallery, labels[0], np.full(80, -1), *labels[2:])
    with pytest.raises(ValueError, match="none of the 13 queries has a match"):
        market_metrics(query, gallery, labels[0] + 1000, *labels[1:])
    with pytest.raises(ValueError, match="queries have 6 components and the gallery 5"):
        market_metrics(query, gallery[:, :5], *labels)
    with pytest.raises(ValueError, match="13 query features need as many identities and cameras"):
        market_metrics(query, gallery, labels[0][:-1], *labels[1:])
    with pytest.raises(ValueError, match="chunk must be >= 1, got 0"):
        market_metrics(query, gallery, *labels, chunk=0)
    with pytest.raises(ValueError, match="length >= 1, got 0"):
        rank_list(query, gallery, *labels, length=0)
    gallery[7] = 0
    with pytest.raises(ValueError, match="1 gallery features are zero or not finite, the first in row 7"):
        market_metrics(query, gallery, *labels)
    query[2, 1] = np.nan
    with pytest.raises(ValueError, match="1 query features are zero or not finite, the first in row 2"):
        market_metrics(query, gallery, *labels)
