"""Rank lists are the rankings that are scored."""

import numpy as np
import pytest

from evaluation.metrics.distances import distance_chunks
from evaluation.metrics.protocols import PROTOCOLS
from evaluation.metrics.rank_list import queries_with_match, rank_list
from tests.evaluation.metrics.problems import labels_of, line, market, random_problem, ranking_as_loop


def lists_of(query, gallery, *labels, protocol="market", length):
    return rank_list(distance_chunks(query, gallery, chunk=3), labels_of(*labels), PROTOCOLS[protocol], length=length)


def test_rank_list_is_the_ranking_of_the_loop():
    problem = random_problem(9)
    lists = lists_of(*problem, length=5)
    for q in range(len(problem[0])):
        expected = ranking_as_loop(q, *problem)[:5]
        assert lists.gallery_index[q].tolist() == expected
        assert lists.is_right[q].tolist() == [problem[3][g] == problem[2][q] for g in expected]
    assert (np.diff(lists.distance, axis=1) >= 0).all()


@pytest.mark.parametrize("protocol", ["market", "market-official"])
def test_the_first_right_entry_stands_at_the_rank_that_was_scored(protocol):
    problem = random_problem(10)
    lists, result = (lists_of(*problem, protocol=protocol, length=80), market(*problem, protocol=protocol))
    first = np.where(lists.is_right.any(axis=1), lists.is_right.argmax(axis=1) + 1, 0)
    np.testing.assert_array_equal(first, result.first_match_rank[0])


def test_a_whole_camera_is_left_out_where_the_protocol_says_so():
    problem = random_problem(11)
    lists = lists_of(*problem, protocol="cuhk03-classic", length=80)
    for q in range(len(problem[0])):
        listed = lists.gallery_index[q][lists.gallery_index[q] >= 0]
        assert (problem[5][listed] != problem[4][q]).all()


def test_short_rank_list_ends_in_nothing():
    lists = lists_of(*line([0.9, 0.8, 0.7], [1, 2, -1], [0, 1, 1]), length=3)
    assert lists.gallery_index.tolist() == [[1, -1, -1]]
    assert not lists.is_right.any()
    assert lists.distance[0, 1:].tolist() == [np.inf, np.inf]


@pytest.mark.parametrize("protocol", ["market", "market-official", "cuhk03-classic"])
def test_queries_with_a_match_are_those_that_score(protocol):
    problem = random_problem(13)
    found = queries_with_match(labels_of(*problem[2:]), PROTOCOLS[protocol])
    result = market(*problem, protocol=protocol)
    assert found.tolist() == np.flatnonzero(result.first_match_rank[0] > 0).tolist()


def test_a_length_of_none_is_refused():
    with pytest.raises(ValueError, match="length >= 1, got 0"):
        lists_of(*random_problem(12), length=0)
