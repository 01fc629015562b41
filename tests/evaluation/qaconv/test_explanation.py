"""Explanations: their parts sum to QAConv's score, location by location, whichever image comes first."""

import numpy as np
import pytest

from evaluation.qaconv.explanation import explain, mutual_matches
from evaluation.qaconv.head import QAConvHead
from evaluation.qaconv.scores import raw_scores, scores, similarity


def unit_maps(seed, num_locations, channels=6):
    values = np.random.default_rng(seed).normal(size=(num_locations, channels))
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def random_head(seed, *sizes, **options):
    rng = np.random.default_rng(seed)
    weights = [rng.normal(size=size).astype(np.float32) for size in sizes]
    return QAConvHead(query_weight=weights[0], gallery_weight=weights[1] if len(sizes) > 1 else None, **options)


def test_two_maps_of_two_locations():
    """Query (1,0), (0,1); gallery (1,0), (.6,.8): location 1 finds .8, both ways."""
    query, gallery = np.eye(2, dtype=np.float32), np.array([[1, 0], [0.6, 0.8]], np.float32)
    head = QAConvHead(query_weight=np.array([0.9, 0.1], np.float32), scale=5.0, shift=-3.0)
    found = explain(query, gallery, head)
    for side in (found.query, found.gallery):
        assert side.match.tolist() == [0, 1]
        np.testing.assert_allclose(side.cosine, [1, 0.8], atol=1e-7)
        np.testing.assert_allclose(side.contribution, [0.9, 0.08], atol=1e-7)
    assert found.raw == pytest.approx(1.96, abs=1e-6)
    assert found.score == pytest.approx(6.8, abs=1e-5)
    assert found.similarity == pytest.approx(1 / (1 + np.exp(-0.68)), abs=1e-6)
    first, second = mutual_matches(found)
    assert (first.query_location, first.gallery_location) == (0, 0)
    assert (second.query_location, second.gallery_location) == (1, 1)
    assert (first.weight, second.weight) == (pytest.approx(1.8), pytest.approx(0.2))
    assert (first.share, second.share) == (pytest.approx(1.8 / 1.96), pytest.approx(0.16 / 1.96))


@pytest.mark.parametrize(("num_query", "num_gallery"), [(1, 1), (12, 12), (12, 7)])
def test_contributions_sum_to_the_score_of_qaconv(num_query, num_gallery):
    query, gallery = unit_maps(0, num_query), unit_maps(1, num_gallery)
    head = random_head(2, num_query, num_gallery, scale=3.0, shift=-2.0)
    found = explain(query, gallery, head)
    parts = sum(side.contribution.sum() for side in (found.query, found.gallery))
    assert found.raw == pytest.approx(parts, abs=1e-12)
    assert found.raw == pytest.approx(raw_scores(query[None], gallery[None], head)[0, 0], abs=1e-6)
    score = scores(query[None], gallery[None], head)
    assert found.score == pytest.approx(score[0, 0], abs=1e-5)
    assert found.similarity == pytest.approx(similarity(score)[0, 0], abs=1e-6)


def test_the_loop_of_the_docstring():
    query, gallery, head = unit_maps(3, 5), unit_maps(4, 8), random_head(5, 5, 8)
    found = explain(query, gallery, head)
    similarities = query.astype(np.float64) @ gallery.astype(np.float64).T
    for side, rows, weights in zip(
        (found.query, found.gallery), (similarities, similarities.T), head.weights, strict=True
    ):
        for location, row in enumerate(rows):
            best = max(range(len(row)), key=lambda n, row=row: row[n])
            assert side.match[location] == best
            assert side.contribution[location] == pytest.approx(weights[location] * row[best], abs=1e-6)


def test_swapping_images_swaps_the_sides_and_a_shared_head_keeps_the_score():
    query, gallery, head = unit_maps(6, 10), unit_maps(7, 10), random_head(8, 10)
    there, back = explain(query, gallery, head), explain(gallery, query, head)
    assert there.score == pytest.approx(back.score, abs=1e-6)
    for one, other in ((there.query, back.gallery), (there.gallery, back.query)):
        np.testing.assert_array_equal(one.match, other.match)
        np.testing.assert_allclose(one.contribution, other.contribution, atol=1e-6)
    pairs = {(match.query_location, match.gallery_location) for match in mutual_matches(there)}
    assert pairs == {(match.gallery_location, match.query_location) for match in mutual_matches(back)}


def test_own_gallery_weights_make_it_depend_on_the_order():
    query, gallery, head = unit_maps(6, 10), unit_maps(7, 10), random_head(8, 10, 10)
    assert explain(query, gallery, head).score != pytest.approx(explain(gallery, query, head).score, abs=1e-3)


def test_uniform_weights_rank_by_cosine_and_shares_of_an_image_with_itself_are_equal():
    head = QAConvHead.uniform(9)
    cosines = [match.cosine for match in mutual_matches(explain(unit_maps(9, 9), unit_maps(10, 9), head))]
    assert cosines == sorted(cosines, key=abs, reverse=True)
    found = explain(unit_maps(9, 9), unit_maps(9, 9), head)
    matches = mutual_matches(found)
    assert found.raw == pytest.approx(2, abs=1e-6)
    assert [match.share for match in matches] == pytest.approx([1 / 9] * 9)
    assert sorted(match.query_location for match in matches) == list(range(9))


def test_what_takes_away_is_negative_and_ranked_by_its_size():
    head = QAConvHead(query_weight=np.array([0.2, -0.5, 0.1], np.float32))
    found = explain(np.eye(3), np.eye(3), head)
    assert found.raw == pytest.approx(-0.4)
    assert found.total == pytest.approx(1.6)
    assert [match.query_location for match in mutual_matches(found)] == [1, 0, 2]
    assert mutual_matches(found)[0].share == pytest.approx(-1 / 1.6)
    assert sum(match.share for match in mutual_matches(found)) == pytest.approx(-0.4 / 1.6)


def test_extreme_scores_and_no_contribution_at_all_are_no_error():
    certain = QAConvHead(query_weight=np.ones(2, np.float32), scale=1.0, shift=-1e6)
    assert explain(np.eye(2), np.eye(2), certain).similarity == 0
    nothing = explain(np.eye(2), np.zeros((2, 2)), QAConvHead.uniform(2))
    assert (nothing.raw, nothing.total) == (0, 0)
    assert [match.share for match in mutual_matches(nothing)] == [0]


def test_maps_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="the query map has 4 locations and the head weighs 5; take the head"):
        explain(unit_maps(0, 4), unit_maps(1, 5), QAConvHead.uniform(5))
    with pytest.raises(ValueError, match="the gallery map has 4 locations and the head weighs 5"):
        explain(unit_maps(0, 5), unit_maps(1, 4), QAConvHead.uniform(5))
    with pytest.raises(ValueError, match=r"two maps must be \[L, C\] and \[M, C\], got \[5, 6\] and \[5, 3\]"):
        explain(unit_maps(0, 5), unit_maps(1, 5, channels=3), QAConvHead.uniform(5))
    with pytest.raises(ValueError, match="similarities of the query map hold NaN"):
        explain(unit_maps(0, 5) * np.nan, unit_maps(1, 5), QAConvHead.uniform(5))
