"""The forms of average precision that code bases mean by one name.

Shapes: C queries of a chunk, H matches of all of them, N runs of equal distances that hold a match.
"""

import numpy as np
from numpy.typing import NDArray

from evaluation.metrics.counting import Ranks
from evaluation.metrics.protocols import Protocol


def average_precision(ranks: Ranks, num_queries: int, protocol: Protocol) -> NDArray[np.float64]:
    """Return the average precision of each query, 0 to 1; NaN where there is no match.

    The definition, as a loop over the matches of a query with ranks r_1 < r_2 < ... < r_n::

        finite-sum, gallery-order:  AP = mean(k / r_k for k in 1..n)
        trapezoid:                  AP = mean((before(k) + k / r_k) / 2 for k in 1..n)
                                    before(k) = (k - 1) / (r_k - 1) if r_k > 1 else 1
        grouped:                    AP = mean(matches up to e_k / e_k for k in 1..n), e_k the end of k's run of ties
        averaged:                   AP = mean of the finite sum over all orders of each run of ties

    The average over the orders of a run of t images, m of them matches, which begins at rank f after h matches, is a
    sum over its places (McSherry and Najork, 2008): m / t * (h + 1 + i * (m - 1) / (t - 1)) / (f + i) for i in 0..t-1.

    Args:
        ranks: Where the matches stand.
        num_queries: C.
        protocol: Which form.
    """
    num_C = np.bincount(ranks.query, minlength=num_queries)
    nth_H = nth_match(ranks, num_queries)
    if protocol.ties == "grouped":
        precision_H = _last_of_run(ranks, nth_H) / ranks.last_equal
    elif protocol.ties == "averaged":
        precision_H = _averaged(ranks, nth_H)
    else:
        precision_H = nth_H / ranks.rank
    if protocol.average_precision == "trapezoid":
        before_H = np.ones(len(nth_H))
        np.divide(nth_H - 1, ranks.rank - 1, out=before_H, where=ranks.rank > 1)
        precision_H = (before_H + precision_H) / 2
    total_C = np.bincount(ranks.query, weights=precision_H, minlength=num_queries)
    return np.divide(total_C, num_C, out=np.full(num_queries, np.nan), where=num_C > 0)


def nth_match(ranks: Ranks, num_queries: int) -> NDArray[np.int64]:
    """Number the matches of each query from 1, nearest first: int64 [H]."""
    num_C = np.bincount(ranks.query, minlength=num_queries)
    return np.arange(1, len(ranks.query) + 1) - (np.cumsum(num_C) - num_C)[ranks.query]


def _runs(ranks: Ranks) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where each run of ties begins among the matches, [N], and the run of each match, [H]."""
    is_new_H = np.ones(len(ranks.query), bool)
    is_new_H[1:] = (np.diff(ranks.query) != 0) | (np.diff(ranks.first_equal) != 0)
    return np.flatnonzero(is_new_H), np.cumsum(is_new_H) - 1


def _last_of_run(ranks: Ranks, nth_H: NDArray[np.int64]) -> NDArray[np.int64]:
    start_N, run_H = _runs(ranks)
    last_N = np.append(start_N[1:], len(nth_H)) - 1
    return nth_H[last_N[run_H]]


def _averaged(ranks: Ranks, nth_H: NDArray[np.int64]) -> NDArray[np.float64]:
    precision_H = nth_H / ranks.rank
    start_N, run_H = _runs(ranks)
    num_N = np.bincount(run_H, minlength=len(start_N))
    for run in np.flatnonzero(ranks.last_equal[start_N] > ranks.first_equal[start_N]):
        start, matches = start_N[run], num_N[run]
        first, images = ranks.first_equal[start], ranks.last_equal[start] - ranks.first_equal[start] + 1
        place = np.arange(int(images))
        expected = nth_H[start] + place * (matches - 1) / (images - 1)
        precision_H[start : start + matches] = (expected / (first + place)).sum() / images  # m equal shares of the sum
    return precision_H
