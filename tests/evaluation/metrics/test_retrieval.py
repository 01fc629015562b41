"""The market protocol against its loop, closed forms and its invariances."""

import numpy as np
import pytest

from evaluation.metrics.retrieval import RetrievalResult, evaluate
from tests.evaluation.metrics.problems import labels_of, line, market, random_problem, ranking_as_loop


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


@pytest.mark.parametrize(
    ("seed", "shape"), [(0, {}), (1, {"num_queries": 1}), (2, {"num_gallery": 7}), (3, {"size": 33, "num_cameras": 2})]
)
def test_equals_the_loop_of_the_docstring(seed, shape):
    problem = random_problem(seed, **shape)
    mean_precision, cmc, penalty, num_valid = metrics_as_loop(*problem)
    result = market(*problem)
    assert result.mAP == pytest.approx(mean_precision, abs=1e-12)
    assert result.cmc == pytest.approx(cmc, abs=1e-12)
    assert result.mINP == pytest.approx(penalty, abs=1e-12)
    assert result.num_valid_queries == num_valid
    assert len(problem[0]) == result.num_queries


def test_closed_form_of_two_matches_at_ranks_one_and_three():
    result = market(*line([0.9, 0.8, 0.7, 0.6], [1, 2, 1, 3]))
    assert result.mAP == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert result.mINP == pytest.approx(2 / 3)
    assert result.cmc == (1.0,) * 50
    assert result.first_match_rank.tolist() == [[1]]


def test_same_camera_of_the_same_identity_is_left_out_but_of_another_identity_is_not():
    result = market(*line([0.9, 0.8, 0.7], [1, 2, 1], [0, 0, 1]))
    assert result.mAP == pytest.approx(1 / 2)
    assert result.num_gallery == 3


def test_junk_is_left_out_and_distractors_are_not():
    assert market(*line([0.9, 0.8], [-1, 1])).mAP == 1
    assert market(*line([0.9, 0.8], [0, 1])).mAP == 1 / 2


def test_equal_distances_stay_in_gallery_order():
    assert market(*line([0.5, 0.5, 0.5], [2, 3, 1])).first_match_rank.tolist() == [[3]]
    assert market(*line([0.5, 0.5, 0.5], [1, 2, 3])).first_match_rank.tolist() == [[1]]


def test_query_without_a_match_is_counted_and_in_no_mean():
    problem = random_problem(4)
    lost = np.append(problem[2], 10_000)
    extended = [np.vstack([problem[0], problem[0][:1]]), problem[1], lost, problem[3], np.append(problem[4], 0)]
    before, after = market(*problem), market(*extended, problem[5])
    assert after.mAP == before.mAP
    assert after.num_queries == before.num_queries + 1
    assert after.num_valid_queries == before.num_valid_queries
    assert np.isnan(after.average_precision[0, -1])
    assert after.first_match_rank[0, -1] == 0


def test_chunk_changes_nothing():
    problem = random_problem(11, num_queries=40)
    problem[1][40:] = problem[1][:40]  # every distance twice
    whole = market(*problem)
    for chunk in (1, 7, 40, 10_000):
        assert numbers(market(*problem, chunk=chunk)) == numbers(whole)


def test_order_of_queries_and_of_a_gallery_without_ties_changes_nothing():
    problem, rng = random_problem(5), np.random.default_rng(6)
    q, g = rng.permutation(len(problem[0])), rng.permutation(len(problem[1]))
    shuffled = [array[order] for array, order in zip(problem, (q, g, q, g, q, g), strict=True)]
    before, after = market(*problem), market(*shuffled)
    np.testing.assert_allclose(numbers(after), numbers(before), atol=1e-12)
    np.testing.assert_array_equal(after.average_precision, before.average_precision[:, q])


def test_scale_and_rotation_of_all_features_change_nothing():
    problem, rng = random_problem(7), np.random.default_rng(8)
    rotation = np.linalg.qr(rng.normal(size=(6, 6)))[0].astype(np.float32)
    moved = [3 * problem[0] @ rotation, 0.2 * problem[1] @ rotation, *problem[2:]]
    np.testing.assert_allclose(numbers(market(*moved)), numbers(market(*problem)), atol=1e-12)


def test_the_distances_of_the_caller_stay_as_they_are():
    query, gallery, *labels = random_problem(12)
    distance = np.random.default_rng(0).random((len(query), len(gallery)), np.float32)
    before = distance.copy()
    evaluate([(slice(0, len(query)), distance)], labels_of(*labels))
    np.testing.assert_array_equal(distance, before)


def test_wrong_input_is_refused_with_the_reason():
    query, gallery, *labels = random_problem(10)
    with pytest.raises(ValueError, match=r"none of the 13 queries has a match in the gallery \(0 images\)"):
        market(query, gallery, labels[0], np.full(80, -1), *labels[2:])
    with pytest.raises(ValueError, match="none of the 13 queries has a match"):
        market(query, gallery, labels[0] + 1000, *labels[1:])
    with pytest.raises(ValueError, match="all images are of camera 0, whose own images"):
        market(query, gallery, labels[0], labels[1], 0 * labels[2], 0 * labels[3])
    with pytest.raises(ValueError, match="queries have 6 components and the gallery 5"):
        market(query, gallery[:, :5], *labels)
    with pytest.raises(ValueError, match="12 query identities need as many cameras, got 13"):
        market(query, gallery, labels[0][:-1], *labels[1:])
    with pytest.raises(
        ValueError, match=r"distances \[13, 80\] of queries 0 to 13 do not fit the labels of 12 queries"
    ):
        market(query, gallery, labels[0][:-1], labels[1], labels[2][:-1], labels[3])
    with pytest.raises(ValueError, match="there are distances of 13 queries and labels of 14; give as many"):
        market(query, gallery, np.append(labels[0], 1), labels[1], np.append(labels[2], 1), labels[3])
    with pytest.raises(ValueError, match=r"query identities must be integers \[N\], got <U2"):
        market(query, gallery, labels[0].astype("U2"), *labels[1:])
    with pytest.raises(ValueError, match=r"gallery identities must be >= -1 \(-1 is junk\), got -2"):
        market(query, gallery, labels[0], labels[1] - 1, *labels[2:])
    with pytest.raises(ValueError, match="chunk must be >= 1, got 0"):
        market(query, gallery, *labels, chunk=0)
    gallery[7] = 0
    with pytest.raises(ValueError, match="1 gallery features are zero or not finite, the first in row 7"):
        market(query, gallery, *labels)
    query[2, 1] = np.nan
    with pytest.raises(ValueError, match="1 query features are zero or not finite, the first in row 2"):
        market(query, gallery, *labels)
    distance = np.full((13, 80), np.nan, np.float32)
    with pytest.raises(ValueError, match="a distance is NaN; check the model"):
        evaluate([(slice(0, 13), distance)], labels_of(*labels))
