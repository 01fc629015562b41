"""What must hold of every ranking, whatever the data (hypothesis)."""

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from evaluation.metrics.counting import GalleryGroups, count_ranks
from evaluation.metrics.protocols import PROTOCOLS
from evaluation.metrics.retrieval import evaluate
from tests.evaluation.metrics.problems import labels_of

PLAIN = [name for name, protocol in PROTOCOLS.items() if protocol.gallery == "all"]


@st.composite
def problems(draw, largest=9):
    """Distances with many ties, and labels with junk, distractors and queries without a match."""
    num_queries, num_gallery = draw(st.integers(1, 5)), draw(st.integers(1, 25))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    distance = rng.integers(-largest, largest, (num_queries, num_gallery)).astype(np.float32)
    identities = rng.integers(1, 4, num_queries), rng.integers(-1, 4, num_gallery)
    return distance, *identities, rng.integers(0, 3, num_queries), rng.integers(0, 3, num_gallery)


def scored(distance, *labels, protocol):
    try:
        return evaluate([(slice(0, len(distance)), distance)], labels_of(*labels), PROTOCOLS[protocol])
    except ValueError as error:
        assert "has a match" in str(error)  # noqa: PT017 - the only refusal that sound input may meet
        return None


@settings(max_examples=60)
@given(problems(), st.sampled_from(["same-passage", "same-camera", "nothing"]))
def test_ranks_are_those_of_the_docstring(problem, left_out):
    distance, query_identity, gallery_identity, query_camera, gallery_camera = problem
    ranks = count_ranks(
        distance, query_identity, query_camera, GalleryGroups(gallery_identity, gallery_camera), left_out=left_out
    )
    expected = []
    for c in range(len(distance)):
        is_own, is_camera = gallery_identity == query_identity[c], gallery_camera == query_camera[c]
        out = {"same-passage": is_own & is_camera, "same-camera": is_camera, "nothing": np.zeros(len(is_own), bool)}
        kept = [g for g in range(len(is_own)) if gallery_identity[g] != -1 and not out[left_out][g]]
        order = sorted(kept, key=lambda g: (distance[c, g], g))
        for rank, g in enumerate(order, start=1):
            if is_own[g]:
                equal = [r for r, other in enumerate(order, start=1) if distance[c, other] == distance[c, g]]
                expected.append([c, rank, equal[0], equal[-1]])
    got = np.stack([ranks.query, ranks.rank, ranks.first_equal, ranks.last_equal], axis=1)
    np.testing.assert_array_equal(got, np.reshape(expected, (-1, 4)))


@settings(max_examples=60)
@given(problems(), st.sampled_from(PLAIN))
def test_scores_are_fractions_and_cmc_rises(problem, protocol):
    result = scored(*problem, protocol=protocol)
    assume(result is not None)
    assert 0 <= result.mAP <= 1
    assert 0 <= result.mINP <= 1
    assert (np.diff((0, *result.cmc, 1)) >= 0).all()


@settings(max_examples=60)
@given(problems(), st.sampled_from(PLAIN), st.floats(0.5, 4), st.integers(-50, 50))
def test_only_the_order_of_distances_matters(problem, protocol, scale, shift):
    distance, *labels = problem
    result = scored(distance, *labels, protocol=protocol)
    assume(result is not None)
    moved = scored((distance * np.float32(scale) + np.float32(shift)), *labels, protocol=protocol)
    np.testing.assert_array_equal(moved.first_match_rank, result.first_match_rank)
    np.testing.assert_array_equal(moved.average_precision, result.average_precision)


@settings(max_examples=60)
@given(problems(), st.sampled_from(PLAIN))
def test_more_junk_changes_nothing_and_a_nearest_match_never_hurts(problem, protocol):
    distance, query_identity, gallery_identity, query_camera, gallery_camera = problem
    result = scored(*problem, protocol=protocol)
    assume(result is not None)
    nearest = np.full((len(distance), 1), -100, np.float32)
    more = [query_identity, np.append(gallery_identity, -1), query_camera, np.append(gallery_camera, 9)]
    with_junk = scored(np.hstack([distance, nearest]), *more, protocol=protocol)
    np.testing.assert_array_equal(with_junk.average_precision, result.average_precision)
    more[1] = np.append(gallery_identity, query_identity[0])
    better = scored(np.hstack([distance, nearest]), *more, protocol=protocol)
    assert better.first_match_rank[0, 0] == 1
    assert better.average_precision[0, 0] >= np.nan_to_num(result.average_precision[0, 0])
