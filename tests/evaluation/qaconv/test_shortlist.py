"""A shortlist: its candidates in the order of QAConv, then the rest; with all candidates it is exhaustive scoring."""

import numpy as np
import pytest

from evaluation.metrics.distances import unit_rows
from evaluation.qaconv.head import QAConvHead
from evaluation.qaconv.pooling import pool
from evaluation.qaconv.scores import score_chunks, similarity
from evaluation.qaconv.shortlist import agreement, shortlist_chunks
from tests.evaluation.qaconv.test_scores import unit_maps

pytestmark = pytest.mark.usefixtures("one_thread")

HEAD = QAConvHead(query_weight=np.full(6, 1 / 6, np.float32), scale=9.0, shift=-12.0)


def problem(num_queries=7, num_gallery=60):
    maps = unit_maps(0, num_queries), unit_maps(1, num_gallery).astype(np.float16)
    return [*maps, *(pool(side, height=3, weight_L=HEAD.query_weight, stripes=3) for side in maps), HEAD]


def whole(chunks):
    return np.concatenate([distance for _, distance in chunks])


def exact(query, gallery, *_):
    return whole(score_chunks(query, gallery, HEAD))


@pytest.mark.parametrize("k", [1, 9, 59])
def test_candidates_come_first_by_score_and_the_rest_by_cosine(k):
    args = problem()
    distance, scored = whole(shortlist_chunks(*args, k=k)), exact(*args)
    cosine = unit_rows(args[2]) @ unit_rows(args[3]).T
    for q in range(7):
        coarse = np.argsort(-cosine[q], kind="stable")
        expected = [*sorted(coarse[:k], key=lambda g, q=q: scored[q, g]), *coarse[k:]]
        assert np.argsort(distance[q], kind="stable").tolist() == expected
        np.testing.assert_allclose(distance[q, coarse[:k]], scored[q, coarse[:k]], atol=1e-5)
        assert distance[q, coarse[:k]].max() < distance[q, coarse[k:]].min()


@pytest.mark.parametrize("k", [60, 1000])
def test_all_candidates_are_exhaustive_scoring_to_the_last_bit(k):
    args = problem()
    np.testing.assert_array_equal(whole(shortlist_chunks(*args, k=k)), exact(*args))


def test_similarity_keeps_the_order_between_0_and_1():
    distance = whole(shortlist_chunks(*problem(), k=10))
    squashed = similarity(-distance)
    assert 0 <= squashed.min() <= squashed.max() <= 1
    order = np.argsort(distance, axis=1, kind="stable")
    assert (np.diff(np.take_along_axis(squashed, order, axis=1)) <= 0).all()


def test_chunks_change_nothing(monkeypatch):
    args = problem()
    expected = whole(shortlist_chunks(*args, k=9))
    monkeypatch.setattr("evaluation.qaconv.shortlist.CHUNK_ENTRIES", 130)
    chunks = list(shortlist_chunks(*args, k=9))
    assert [(rows.start, rows.stop) for rows, _ in chunks] == [(0, 2), (2, 4), (4, 6), (6, 7)]
    np.testing.assert_allclose(whole(chunks), expected, atol=1e-6)


def test_only_maps_of_candidates_are_read():
    query, gallery, query_vector, gallery_vector, head = problem()
    candidates = np.argsort(-(unit_rows(query_vector) @ unit_rows(gallery_vector).T), axis=1)[:, :5]
    gallery[np.setdiff1d(np.arange(60), candidates)] = np.nan  # a NaN that is read is refused
    pairs = []
    args = (query, gallery, query_vector, gallery_vector, head)
    chunks = shortlist_chunks(*args, k=5, advance=pairs.append)
    assert np.isfinite(whole(chunks)).all()
    assert sum(pairs) == 7 * 5


def test_agreement_is_the_shared_part_of_the_nearest():
    exact_distance = np.float32([[0, 1, 2, 3], [0, 1, 2, 3]])
    other = np.float32([[1, 0, 2, 3], [3, 1, 2, 0]])
    assert agreement(exact_distance, other, top=2) == pytest.approx((1 + 0.5) / 2)
    assert agreement(exact_distance, other, top=1) == 0
    assert agreement(exact_distance, other, top=4) == agreement(other, other, top=1) == 1
    args = problem()
    assert agreement(exact(*args), whole(shortlist_chunks(*args, k=60))) == 1


def test_wrong_input_is_refused():
    args = problem()
    with pytest.raises(ValueError, match="a shortlist needs k >= 1, got 0"):
        next(shortlist_chunks(*args, k=0))
    with pytest.raises(ValueError, match="60 gallery maps need as many vectors, got 59"):
        next(shortlist_chunks(*args[:3], args[3][1:], HEAD, k=5))
    holed = args[3].copy()
    holed[3] = 0
    with pytest.raises(ValueError, match="1 gallery features are zero or not finite, the first in row 3"):
        next(shortlist_chunks(*args[:3], holed, HEAD, k=5))
    with pytest.raises(ValueError, match="top must be 1 to 60, the images of the gallery, got 61"):
        agreement(exact(*args), exact(*args), top=61)
    with pytest.raises(ValueError, match="distances of the same queries are needed"):
        agreement(exact(*args), exact(*args)[1:])
