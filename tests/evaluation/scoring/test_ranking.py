"""Matching, then re-ranking, then lifting: each step gets what the step before gives."""

import numpy as np
import pytest

from evaluation.metrics.distances import distance_chunks
from evaluation.metrics.protocols import PROTOCOLS
from evaluation.scoring.problem import make_problem
from evaluation.scoring.ranking import CosineMatcher, RankingConfig, rank
from evaluation.scoring.reranking import rerank
from evaluation.scoring.scores import score
from evaluation.scoring.tlift import tlift
from tests.evaluation.scoring.test_scores import make_scorable


def problem_of(**columns):
    seconds = np.random.default_rng(0).uniform(0, 300, 40)
    return make_problem(make_scorable(**({"time_seconds": seconds} | columns)), PROTOCOLS["market"])


def ranked(problem, **options):
    chunks = rank(problem, CosineMatcher(problem.images), RankingConfig(**options))
    return np.concatenate([part for _, part in chunks])


def lifted(problem, similarity, **options):
    query, gallery = problem.query, problem.gallery
    return tlift(similarity, query.camera, query.time_seconds, gallery.camera, gallery.time_seconds, **options)


def test_plain_distances():
    problem = problem_of()
    [(_, expected)] = distance_chunks(problem.query.feature, problem.gallery.feature)
    np.testing.assert_array_equal(ranked(problem), expected)


def test_reranking_is_of_queries_then_gallery():
    problem = problem_of()
    every = np.concatenate([problem.query.feature, problem.gallery.feature])
    [(_, expected)] = rerank(lambda: distance_chunks(every, every), 20, 40, k1=5, k2=2, weight=0.4)
    options = {"rerank_k1": 5, "rerank_k2": 2, "rerank_weight": 0.4}
    np.testing.assert_array_equal(ranked(problem, rerank=True, **options), expected)


def test_lifting_takes_half_of_one_plus_cosine():
    problem = problem_of()
    similarity = 1 - ranked(problem) / 4
    expected = -lifted(problem, similarity, tau=50.0, sigma=60.0, num_pivots=3, alpha=0.5, pivots="set")
    options = {"tlift_tau": 50.0, "tlift_sigma": 60.0, "tlift_num_pivots": 3, "tlift_alpha": 0.5, "tlift_pivots": "set"}
    np.testing.assert_allclose(ranked(problem, tlift=True, **options), expected, atol=1e-6)


def test_lifting_comes_after_reranking():
    problem = problem_of()
    expected = -lifted(problem, np.clip(1 - ranked(problem, rerank=True), 0, 1))
    np.testing.assert_allclose(ranked(problem, rerank=True, tlift=True), expected, atol=1e-6)


def test_scores_are_of_what_was_asked_for():
    problem = problem_of()
    plain, changed = score(problem), score(problem, ranking=RankingConfig(rerank=True, tlift=True))
    assert plain.mAP != changed.mAP


def test_what_does_not_go_together_is_refused():
    pool = make_problem(make_scorable(), PROTOCOLS["vehicleid"])
    for options in ({"rerank": True}, {"tlift": True}):
        with pytest.raises(ValueError, match="vehicleid draws its galleries itself; re-ranking and TLift need one"):
            ranked(pool, **options)
    with pytest.raises(ValueError, match="20 of 20 query images have no time; TLift needs time_seconds"):
        ranked(problem_of(time_seconds=np.full(40, np.nan)), tlift=True)
