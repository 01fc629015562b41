"""Confidence intervals and paired differences: against the plain loop, closed forms, and coverage."""

from dataclasses import replace

import numpy as np
import pytest

from evaluation.metrics.bootstrap import SCORES, confidence_intervals, paired_differences
from evaluation.metrics.protocols import PROTOCOLS
from evaluation.metrics.retrieval import RetrievalResult
from tests.evaluation.metrics.problems import market, random_problem


def result_of(precision, rank=None):
    """A result whose queries have given average precisions; NaN is not counted."""
    precision = np.atleast_2d(np.asarray(precision, float))
    rank = np.where(np.isnan(precision), 0, 1) if rank is None else np.atleast_2d(rank)
    return RetrievalResult(
        protocol=PROTOCOLS["market"],
        num_queries=precision.shape[1],
        num_gallery=9,
        average_precision=precision,
        inverse_negative_penalty=precision,
        first_match_rank=rank,
    )


def test_equals_the_loop_of_the_docstring_in_distribution():
    precision = np.random.default_rng(0).random(40)
    precision[::9] = np.nan
    rng = np.random.default_rng(1)
    loop = [np.nanmean(precision[rng.choice(40, 40)]) for _ in range(4000)]
    interval = confidence_intervals(result_of(precision), num_resamples=4000)["mAP"]
    assert (interval.low, interval.high) == pytest.approx(np.quantile(loop, [0.025, 0.975]), abs=0.008)


def test_width_is_that_of_the_normal_approximation():
    precision = np.random.default_rng(2).random(400)
    interval = confidence_intervals(result_of(precision), num_resamples=4000, level=0.9)["mAP"]
    assert interval.high - interval.low == pytest.approx(2 * 1.645 * precision.std() / 20, rel=0.06)


def test_interval_holds_every_score_and_none_where_all_queries_are_alike():
    result = market(*random_problem(0, num_queries=50))
    intervals = confidence_intervals(result)
    values = (result.mAP, result.rank(1), result.rank(5), result.rank(10), result.mINP)
    for name, value in zip(SCORES, values, strict=True):
        assert intervals[name].low <= value <= intervals[name].high
    alike = confidence_intervals(result_of(np.full(9, 0.25)))["mAP"]
    assert (alike.low, alike.high) == pytest.approx((0.25, 0.25))


def test_the_same_seed_gives_the_same_interval():
    result = result_of(np.random.default_rng(3).random(30))
    assert confidence_intervals(result) == confidence_intervals(result)
    assert confidence_intervals(result) != confidence_intervals(result, seed=1)


def test_repeats_of_a_query_go_together():
    one = np.random.default_rng(4).random(30)
    assert confidence_intervals(result_of(one)) == confidence_intervals(result_of(np.stack([one, one])))


def test_pairing_finds_a_small_steady_gain_that_intervals_cannot():
    base = np.random.default_rng(5).random(200) * 0.9
    better = base + 0.01 + np.random.default_rng(6).normal(0, 0.01, 200)
    gain = paired_differences(result_of(better), result_of(base))["mAP"]
    assert gain.difference == pytest.approx((better - base).mean())
    assert gain.interval.low > 0
    assert gain.p_value < 0.01
    wide = confidence_intervals(result_of(base))["mAP"]
    assert wide.low < better.mean() < wide.high


def test_difference_is_antisymmetric_and_nothing_to_itself():
    a, b = (result_of(np.random.default_rng(seed).random(50)) for seed in (7, 8))
    forth, back = paired_differences(a, b), paired_differences(b, a)
    for name in SCORES:
        assert forth[name].difference == pytest.approx(-back[name].difference)
        assert forth[name].interval.low == pytest.approx(-back[name].interval.high)
    assert paired_differences(a, a)["mAP"].p_value == 1


def test_wrong_input_is_refused():
    a = result_of(np.ones(5))
    with pytest.raises(ValueError, match="5 queries under market cannot be paired with 4 under market"):
        paired_differences(a, result_of(np.ones(4)))
    with pytest.raises(ValueError, match="cannot be paired with 5 under aka"):
        paired_differences(a, replace(a, protocol=PROTOCOLS["aka"]))
    with pytest.raises(ValueError, match="resamples must be >= 1, got 0"):
        confidence_intervals(a, num_resamples=0)
    with pytest.raises(ValueError, match=r"must be in \(0, 1\), got 95"):
        confidence_intervals(a, level=95)
