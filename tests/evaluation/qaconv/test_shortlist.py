"""A shortlist: its candidates in the order of QAConv, then the rest; with all candidates it is exhaustive scoring."""

import numpy as np
import pytest

from evaluation.metrics.distances import unit_rows
from evaluation.qaconv.head import QAConvHead
from evaluation.qaconv.index import GalleryIndex
from evaluation.qaconv.pooling import pool
from evaluation.qaconv.scores import score_chunks, similarity
from evaluation.qaconv.shortlist import agreement, rescore, shortlist_chunks
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
    index = GalleryIndex.build(gallery_vector, model_fingerprint="a")
    _, candidates = index.search(query_vector, 5, model_fingerprint="a")
    gallery[np.setdiff1d(np.arange(60), candidates)] = np.nan  # a NaN that is read is refused
    pairs = []
    args = (query, gallery, query_vector, gallery_vector, head)
    chunks = shortlist_chunks(*args, k=5, index=index, model_fingerprint="a", advance=pairs.append)
    assert np.isfinite(whole(chunks)).all()
    assert sum(pairs) == 7 * 5


def test_missing_candidates_have_no_score():
    query, gallery, *_ = problem()
    found = rescore(query[:2], gallery, np.array([[3, -1], [-1, -1]]), HEAD)
    assert found[0, 0] == pytest.approx(-exact(query, gallery)[0, 3], abs=1e-5)
    assert (found.ravel()[1:] == -np.inf).all()


def test_an_index_that_finds_too_few_leaves_them_to_the_rest():
    args = problem(3, 400)
    index = GalleryIndex.build(args[3], model_fingerprint="", kind="ivf")
    index._index.nprobe = 1
    distance = whole(shortlist_chunks(*args, k=300, index=index))
    _, candidates = index.search(args[2], 300, model_fingerprint="")
    for q in range(3):
        found = candidates[q][candidates[q] >= 0]
        assert set(np.argsort(distance[q])[: len(found)]) == set(found)


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
    index = GalleryIndex.build(args[3], model_fingerprint="a")
    with pytest.raises(ValueError, match="the index holds features of model a and the queries come from b"):
        next(shortlist_chunks(*args, k=5, index=index, model_fingerprint="b"))
    small = GalleryIndex.build(args[3][1:], model_fingerprint="a")
    with pytest.raises(ValueError, match="the index holds 59 images and the gallery 60"):
        next(shortlist_chunks(*args, k=5, index=small, model_fingerprint="a"))
    with pytest.raises(ValueError, match="top must be 1 to 60, the images of the gallery, got 61"):
        agreement(exact(*args), exact(*args), top=61)
    with pytest.raises(ValueError, match="distances of the same queries are needed"):
        agreement(exact(*args), exact(*args)[1:])
