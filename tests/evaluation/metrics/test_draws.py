"""The protocols that draw their gallery at random: cuhk03-classic and vehicleid."""

import numpy as np
import pytest

from evaluation.metrics.distances import distance_chunks
from evaluation.metrics.protocols import PROTOCOLS
from evaluation.metrics.retrieval import evaluate
from tests.evaluation.metrics.problems import labels_of, market, random_problem


def single_shot():
    """Two cameras, ten identities, one image each in the gallery: nothing is left to chance."""
    rng = np.random.default_rng(0)
    query, gallery = rng.normal(size=(2, 10, 4)).astype(np.float32)
    identity = np.arange(1, 11)
    return [query, gallery, identity, identity, np.zeros(10, int), np.ones(10, int)]


def pool(seed=0, num_identities=8, num_images=40):
    rng = np.random.default_rng(seed)
    feature = rng.normal(size=(num_images, 5)).astype(np.float32)
    identity = rng.integers(1, num_identities + 1, num_images)
    return feature, identity


def vehicleid(feature, identity, seed=0, chunk=None):
    camera = np.arange(len(identity))
    chunks = distance_chunks(feature, feature, chunk=chunk)
    return evaluate(chunks, labels_of(identity, identity, camera, camera), PROTOCOLS["vehicleid"], seed=seed)


def test_cuhk03_is_market_where_the_gallery_has_one_image_each():
    drawn, plain = market(*single_shot(), protocol="cuhk03-classic"), market(*single_shot())
    assert drawn.cmc == plain.cmc
    assert drawn.mAP == pytest.approx(plain.mAP, abs=1e-12)
    assert drawn.first_match_rank.shape == (10, 10)


def test_cuhk03_mean_rank_is_that_of_its_closed_form():
    """The drawn match is any of the query's own; each other identity is nearer with the share of its nearer images."""
    query, gallery, query_identity, gallery_identity, query_camera, gallery_camera = random_problem(
        3, num_queries=6, num_gallery=120, num_cameras=2
    )
    gallery_identity = gallery_identity % 7 + 1
    problem = [query, gallery, query_identity % 7 + 1, gallery_identity, query_camera, gallery_camera]
    distance = next(iter(distance_chunks(query, gallery)))[1]
    expected = []
    for q in range(6):
        kept = gallery_camera != query_camera[q]
        own = distance[q, kept & (gallery_identity == problem[2][q])]
        others = [distance[q, kept & (gallery_identity == other)] for other in range(1, 8) if other != problem[2][q]]
        expected.append(np.mean([1 + sum((other < value).mean() for other in others) for value in own]))
    chunks = [(slice(0, 6), distance)]
    ranks = [
        evaluate(chunks, labels_of(*problem[2:]), PROTOCOLS["cuhk03-classic"], seed=seed).first_match_rank
        for seed in range(60)
    ]
    np.testing.assert_allclose(np.concatenate(ranks).mean(axis=0), expected, atol=0.25)


def test_vehicleid_ranks_each_query_among_one_image_of_each_vehicle():
    feature, identity = pool()
    result = vehicleid(feature, identity)
    is_query = ~np.isnan(result.average_precision)
    assert (is_query.sum(axis=1) == len(identity) - len(set(identity))).all()
    assert (result.first_match_rank[is_query] >= 1).all()
    assert result.first_match_rank.max() <= len(set(identity))
    np.testing.assert_allclose(result.average_precision[is_query], 1 / result.first_match_rank[is_query])
    for value in set(identity):
        assert ((~is_query & (identity == value)).sum(axis=1) == 1).all()


def test_vehicleid_ignores_cameras_and_junk():
    feature, identity = pool(1)
    distance = next(iter(distance_chunks(feature, feature)))
    identity[::7] = -1
    same = np.zeros(len(identity), int)
    result = evaluate([distance], labels_of(identity, identity, same, same), PROTOCOLS["vehicleid"])
    assert np.isnan(result.average_precision[:, identity == -1]).all()
    assert result.mAP > 0


def test_chunks_change_nothing_and_seeds_do():
    feature, identity = pool(2)
    first = vehicleid(feature, identity)
    for chunk in (1, 9):
        np.testing.assert_array_equal(
            vehicleid(feature, identity, chunk=chunk).first_match_rank, first.first_match_rank
        )
    assert (vehicleid(feature, identity, seed=1).first_match_rank != first.first_match_rank).any()
    problem = random_problem(4)
    whole, parts = (market(*problem, protocol="cuhk03-classic", chunk=chunk) for chunk in (None, 2))
    np.testing.assert_array_equal(whole.first_match_rank, parts.first_match_rank)


def test_distractors_all_stay():
    query, gallery, *labels = single_shot()
    labels[1] = np.array([1, 2, 3, 4, 5, 0, 0, 0, 0, 0])
    result = market(query, gallery, *labels, protocol="cuhk03-classic")
    assert result.first_match_rank.max() > 5


def test_vehicleid_wants_all_images_on_both_sides():
    with pytest.raises(ValueError, match="vehicleid draws the gallery from all images"):
        market(*random_problem(5), protocol="vehicleid")
