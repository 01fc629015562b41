"""Arrays in, what the evaluation of files says out."""

import numpy as np
import pytest

import evaluation
from evaluation.metrics.counting import Labels
from evaluation.metrics.distances import distance_chunks
from evaluation.metrics.retrieval import evaluate
from evaluation.qaconv.head import QAConvHead
from evaluation.scoring.reranking import rerank

RNG = np.random.default_rng(5)
QUERY, GALLERY = RNG.normal(size=(6, 8)).astype(np.float32), RNG.normal(size=(20, 8)).astype(np.float32)
LABELS = Labels(
    query_identity=RNG.integers(1, 4, 6),
    gallery_identity=RNG.integers(-1, 4, 20),
    query_camera=RNG.integers(1, 3, 6),
    gallery_camera=RNG.integers(1, 3, 20),
)
AS_LISTS = [
    getattr(LABELS, f"{side}_{what}").tolist() for what in ("identity", "camera") for side in ("query", "gallery")
]


@pytest.mark.parametrize("protocol", [name for name in evaluation.PROTOCOLS if name != "vehicleid"])
def test_a_matrix_is_scored_as_chunks_are(protocol: str):
    distances = evaluation.distances(QUERY, GALLERY)
    chunks = distance_chunks(QUERY, GALLERY, chunk=2)
    expected = evaluate(chunks, LABELS, evaluation.PROTOCOLS[protocol], seed=3)
    for given in distances, distances.tolist():
        found = evaluation.evaluate(given, *AS_LISTS, protocol=protocol, seed=3)
        assert found.protocol.name == protocol
        np.testing.assert_array_equal(found.average_precision, expected.average_precision)
        np.testing.assert_array_equal(found.first_match_rank, expected.first_match_rank)


def test_vehicles_are_drawn_from_all_images_together():
    every = np.concatenate([QUERY, GALLERY])
    identity, camera = np.arange(26) // 4 + 1, np.zeros(26, int)
    found = evaluation.evaluate(
        evaluation.distances(every, every), identity, identity, camera, camera, protocol="vehicleid"
    )
    assert found.average_precision.shape == (10, 26)


def test_reranked_distances_are_those_of_the_chunks():
    every = np.concatenate([QUERY, GALLERY])
    options = {"k1": 5, "k2": 2, "weight": 0.4}
    chunks = rerank(lambda: distance_chunks(every, every, chunk=7), 6, 26, **options)
    found = evaluation.rerank(QUERY.tolist(), GALLERY, **options)
    np.testing.assert_array_equal(found, np.concatenate([chunk for _, chunk in chunks]))


def test_maps_are_matched_with_a_head_or_with_locations_alike():
    maps = RNG.normal(size=(4, 3, 5)).astype(np.float32)
    maps /= np.linalg.norm(maps, axis=2, keepdims=True)
    similarity = np.einsum("qlc,gmc->qglm", maps, maps)
    expected = similarity.max(axis=3).mean(axis=2) + similarity.max(axis=2).mean(axis=2)
    np.testing.assert_allclose(evaluation.qaconv_scores(maps, maps), expected, rtol=1e-5)
    head = QAConvHead(query_weight=np.array([0, 1, 0], np.float32), scale=2.0, shift=1.0)
    expected = 2 * (similarity.max(axis=3)[..., 1] + similarity.max(axis=2)[..., 1]) + 1
    np.testing.assert_allclose(evaluation.qaconv_scores(maps, maps, head), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: evaluation.evaluate([0.1, 0.2], *AS_LISTS), r"distances must be \[Q, G\], got \[2\]"),
        (lambda: evaluation.evaluate([[0.1, 0.2]], *AS_LISTS), r"distances \[1, 2\] of queries 0 to 1 do not fit"),
        (lambda: evaluation.evaluate(np.zeros((6, 20)), *AS_LISTS, protocol="markt"), "there is no protocol 'markt'"),
        (lambda: evaluation.evaluate(np.zeros((6, 20)), ["ann"] * 6, *AS_LISTS[1:]), "number the names"),
        (lambda: evaluation.distances(QUERY, GALLERY[:, :5]), "queries have 8 components and the gallery 5"),
        (lambda: evaluation.rerank(QUERY, GALLERY[:, :5]), r"got \[6, 8\] and \[20, 5\]"),
        (lambda: evaluation.rerank(QUERY, GALLERY, k1=0), "k1 and k2 must be >= 1"),
        (lambda: evaluation.qaconv_scores(QUERY, GALLERY), r"query maps must be \[Q, L, C\], got \[6, 8\]"),
    ],
)
def test_what_cannot_be_used_is_told(call, message: str):
    with pytest.raises(ValueError, match=message):
        call()
