"""Every protocol against the numbers that its own code base computed, and against the others where they must agree."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from evaluation.metrics.distances import distance_chunks
from evaluation.metrics.protocols import PROTOCOLS, find_protocol
from evaluation.metrics.retrieval import evaluate
from tests.evaluation.metrics.problems import labels_of, line, market, random_problem

FIXTURES = Path(__file__).parent / "fixtures"
EXPECTED = json.loads((FIXTURES / "expected.json").read_text(encoding="utf-8"))
TOLERANCE = {"clean": 1e-5, "few_positives": 1e-5, "ties": 5e-4, "invalid_distractors_junk": 5e-4}
UNSTABLE = {("ties", "aka"), ("ties", "market-official"), ("ties", "open-reid")}
"""Their CMC, and the AP of the first two, came out of a sort whose order of ties depends on the platform."""
PARITY = [(name, protocol) for name in EXPECTED for protocol in EXPECTED[name]]
KEYS = ("query_features", "gallery_features", "query_identities", "gallery_identities", "query_cameras")


def load(name):
    data = np.load(FIXTURES / f"{name}.npz")
    return [data[key] for key in (*KEYS, "gallery_cameras")]


@pytest.mark.parametrize(("name", "protocol"), PARITY)
def test_equals_public_evaluators(name, protocol):
    expected, tolerance = EXPECTED[name][protocol], TOLERANCE[name]
    result = market(*load(name), protocol=protocol)
    if (name, protocol) not in UNSTABLE:
        assert result.rank(1) == pytest.approx(expected["rank1"], abs=tolerance)
    if (name, protocol) not in UNSTABLE or protocol == "open-reid":
        assert result.mAP == pytest.approx(expected["mAP"], abs=tolerance)
    assert result.mINP == pytest.approx(expected.get("mINP", result.mINP), abs=tolerance)
    assert result.cmc[:10] == pytest.approx(expected.get("cmc", result.cmc[:10]), abs=tolerance)


@pytest.mark.parametrize("protocol", ["aka", "market-official", "open-reid"])
def test_what_an_unstable_sort_gave_lies_between_the_worst_and_the_best_order_of_ties(protocol):
    query, gallery, *labels = load("ties")
    chunks = list(distance_chunks(query, gallery))
    is_right = labels[0][:, None] == labels[1]
    bounds = []
    for sign in (-1, 1):  # ties broken for the matches, then against them
        moved = [
            (rows, np.nextafter(part, np.float32(9 * sign), where=is_right[rows], out=part.copy()))
            for rows, part in chunks
        ]
        bounds.append(evaluate(moved, labels_of(*labels), PROTOCOLS[protocol]))
    best, worst = bounds
    assert worst.rank(1) <= EXPECTED["ties"][protocol]["rank1"] <= best.rank(1)
    assert worst.mAP - 1e-6 <= EXPECTED["ties"][protocol]["mAP"] <= best.mAP + 1e-6


def test_junk_that_is_kept_as_an_ordinary_identity_costs_eleven_points():
    query, gallery, query_identity, gallery_identity, *cameras = load("invalid_distractors_junk")
    kept = market(query, gallery, query_identity, np.where(gallery_identity == -1, 9999, gallery_identity), *cameras)
    assert kept.mAP == pytest.approx(0.299859, abs=5e-4)
    assert kept.rank(1) == pytest.approx(0.4889, abs=5e-4)


def test_official_means_over_valid_queries_are_those_of_the_table():
    result = market(*load("invalid_distractors_junk"), protocol="market-official")
    has_match = result.first_match_rank[0] > 0
    assert result.average_precision[0, has_match].mean() == pytest.approx(0.329485, abs=5e-4)
    assert (result.average_precision[0, ~has_match] == 0).all()


def test_protocols_agree_where_nothing_sets_them_apart():
    problem = random_problem(0)
    problem[2] = problem[2] % 6 + 1
    results = {name: market(*problem, protocol=name) for name in ("market", "open-reid", "aka", "market-averaged")}
    values = [(result.mAP, result.mINP, result.cmc) for result in results.values()]
    assert len(set(values)) == 1
    assert market(*problem, protocol="market-official").mAP < values[0][0]


def test_grouped_average_precision_is_that_of_scikit_learn():
    rng = np.random.default_rng(1)
    similarity = rng.integers(0, 6, 60) / 10
    identity = rng.integers(1, 4, 60)
    ours = market(*line(similarity, identity), protocol="open-reid").mAP
    assert ours == pytest.approx(average_precision_score(identity == 1, similarity), abs=1e-12)


def test_averaged_average_precision_is_the_mean_over_orders():
    similarity = np.repeat([0.9, 0.5, 0.2], [1, 5, 3])
    identity = np.array([2, 1, 2, 1, 2, 2, 3, 1, 2])
    rng = np.random.default_rng(2)
    orders = [rng.permutation(9) for _ in range(2000)]
    orders = [order[np.argsort(-similarity[order], kind="stable")] for order in orders]
    mean = np.mean([market(*line(similarity[order], identity[order])).mAP for order in orders])
    averaged = {
        market(*line(similarity[order], identity[order]), protocol="market-averaged").mAP for order in orders[:9]
    }
    assert max(averaged) - min(averaged) < 1e-12
    assert averaged.pop() == pytest.approx(mean, abs=0.01)


def test_trapezoid_closed_form():
    first = market(*line([0.9, 0.8, 0.7], [1, 2, 1]), protocol="market-official").mAP
    assert first == pytest.approx(((1 + 1) / 2 + (1 / 2 + 2 / 3) / 2) / 2)


def test_unknown_protocol():
    with pytest.raises(ValueError, match="there is no protocol 'markt'; there are market, market-official"):
        find_protocol("markt")
