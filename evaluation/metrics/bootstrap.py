"""How sure one may be of a score: resampling the queries (Efron, 1979).

The queries of a benchmark are a sample, and another sample would give another score. What the resampling does not cover
is another training run, another gallery, or queries of one person that are alike: a lower bound of the doubt.

Shapes: Q queries, R repeats, S resamples, M scores.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.metrics.retrieval import RetrievalResult

SCORES = ("mAP", "rank1", "rank5", "rank10", "mINP")
RESAMPLES_AT_ONCE = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """A percentile interval of a score, fractions of 1."""

    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """How much a score of one ranking is above that of another for the same queries."""

    difference: float
    """-1 to 1."""
    interval: Interval
    p_value: float
    """Two-sided: twice the share of resamples in which the difference is not on the side of its estimate, the sample
    itself counted as one of them, so that it is never 0; at most 1."""


def confidence_intervals(
    result: RetrievalResult, *, num_resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> dict[str, Interval]:
    """Return the percentile interval of each of `SCORES`.

    The definition, as a loop::

        for s in range(S):
            drawn = rng.choice(Q, size=Q)  # with replacement; all repeats of a query go together
            score[s] = mean of the drawn queries that are counted
        low, high = quantile(score, (1 - level) / 2), quantile(score, (1 + level) / 2)

    Args:
        result: What `evaluate` returned.
        num_resamples: S, >= 1.
        level: Of confidence, in (0, 1).
        seed: Of the resampling.

    Raises:
        ValueError: If a number is out of range.
    """
    sum_QM, count_Q = _totals(result)
    score_SM = np.concatenate(
        [
            weight_SQ @ sum_QM / (weight_SQ @ count_Q)[:, None]
            for weight_SQ in _weights(len(count_Q), num_resamples, seed)
        ]
    )
    return dict(zip(SCORES, _intervals(score_SM, level), strict=True))


def paired_differences(
    result: RetrievalResult,
    baseline: RetrievalResult,
    *,
    num_resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Difference]:
    """Compare two rankings of the same queries: both are resampled alike, so what makes a query hard cancels out.

    Args:
        result: The one that may be better.
        baseline: The one it is compared with; the same queries in the same order, under the same protocol.
        num_resamples: S, >= 1.
        level: Of confidence, in (0, 1).
        seed: Of the resampling.

    Raises:
        ValueError: If the numbers of queries or the protocols differ, or a number is out of range.
    """
    if result.num_queries != baseline.num_queries or result.protocol != baseline.protocol:
        raise ValueError(
            f"{result.num_queries} queries under {result.protocol.name} cannot be paired with {baseline.num_queries} "
            f"under {baseline.protocol.name}; score the same queries under the same protocol"
        )
    (sum_QM, count_Q), (base_QM, base_count_Q) = _totals(result), _totals(baseline)
    estimate_M = sum_QM.sum(axis=0) / count_Q.sum() - base_QM.sum(axis=0) / base_count_Q.sum()
    difference_SM = np.concatenate(
        [
            weight_SQ @ sum_QM / (weight_SQ @ count_Q)[:, None]
            - weight_SQ @ base_QM / (weight_SQ @ base_count_Q)[:, None]
            for weight_SQ in _weights(len(count_Q), num_resamples, seed)
        ]
    )
    num_contrary_M = np.where(estimate_M >= 0, (difference_SM <= 0).sum(axis=0), (difference_SM >= 0).sum(axis=0))
    contrary_M = (num_contrary_M + 1) / (num_resamples + 1)
    return {
        name: Difference(difference=float(estimate), interval=interval, p_value=float(min(1.0, 2 * contrary)))
        for name, estimate, interval, contrary in zip(
            SCORES, estimate_M, _intervals(difference_SM, level), contrary_M, strict=True
        )
    }


def _totals(result: RetrievalResult) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the sum of each score over the repeats in which a query counts, [Q, M], and how many those are, [Q]."""
    is_counted_RQ = ~np.isnan(result.average_precision)
    rank_RQ = result.first_match_rank
    values = [result.average_precision]
    values += [((rank_RQ > 0) & (rank_RQ <= k)).astype(np.float64) for k in (1, 5, 10)]
    values.append(result.inverse_negative_penalty)
    sums = [np.where(is_counted_RQ, value, 0.0).sum(axis=0) for value in values]
    return np.stack(sums, axis=1), is_counted_RQ.sum(axis=0).astype(np.float64)


def _weights(num_queries: int, num_resamples: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Yield how often each query is drawn in each of some resamples: float64 [S, Q]."""
    if num_resamples < 1:
        raise ValueError(f"resamples must be >= 1, got {num_resamples}")
    rng = np.random.default_rng(seed)
    share_Q = np.full(num_queries, 1 / num_queries)
    for start in range(0, num_resamples, RESAMPLES_AT_ONCE):
        size = min(RESAMPLES_AT_ONCE, num_resamples - start)
        yield rng.multinomial(num_queries, share_Q, size=size).astype(np.float64)


def _intervals(score_SM: NDArray[np.float64], level: float) -> list[Interval]:
    if not 0 < level < 1:
        raise ValueError(f"the level of confidence must be in (0, 1), got {level}")
    low_M, high_M = np.quantile(score_SM, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return [Interval(low=float(low), high=float(high)) for low, high in zip(low_M, high_M, strict=True)]
