"""Instance association: which crop of one frame is the same person as which crop of the other.

Shape legend: N, M crops of the two frames of a pair; D embedding size.

The paper confirms "a maximum-weight bipartite matching problem"; solver, cardinality and thresholds are this
project's choice (METHOD.md 3.1).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LOST = -1
"""Position, in the other frame, of somebody whom no chain of boxes leads to; see `pretrain.association.tracks`."""


@dataclass(frozen=True, slots=True)
class Matches:
    """Matched crops of a batch of frame pairs, as positions in the concatenated crops of each side."""

    x_index: NDArray[np.int64]
    """[P] positions in the first frames' crops."""
    y_index: NDArray[np.int64]
    """[P] positions in the second frames' crops."""
    pair: NDArray[np.int64]
    """[P] number of the frame pair, from 0."""


def assign(score_NM: NDArray[np.floating]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Choose min(N, M) pairs, each row and each column at most once, so that the summed score is largest.

    Args:
        score_NM: Finite scores; N or M may be 0.

    Returns:
        Row and column indices of the pairs, rows increasing.
    """
    from scipy.optimize import linear_sum_assignment  # half a second of every process that only imports this module

    return linear_sum_assignment(score_NM, maximize=True)


def match(similarity_NM: NDArray[np.floating]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Match two sets one to one so that the summed similarity is largest (METHOD.md 3.1).

    >>> import numpy as np, pretrain
    >>> rows, columns = pretrain.match(np.array([[0.9, 0.8], [0.7, 0.1], [0.0, 0.3]]))
    >>> rows.tolist(), columns.tolist()
    ([0, 1], [1, 0])

    The definition, as a loop::

        best = max over one-to-one sets A of min(N, M) index pairs of  sum(similarity[i, j] for (i, j) in A)

    Args:
        similarity_NM: Cosine similarities; N or M may be 0. min(N, M) pairs are matched even where they are negative.

    Returns:
        Row and column indices of the matched pairs, rows increasing.

    Raises:
        ValueError: If a similarity is not finite.
    """
    if not np.isfinite(similarity_NM).all():
        raise ValueError("similarities must be finite; the embeddings hold NaN or infinity")
    row_P, column_P = assign(similarity_NM)
    return row_P.astype(np.int64), column_P.astype(np.int64)


def match_batch(
    x_ND: NDArray[np.floating],
    y_MD: NDArray[np.floating],
    x_counts: Sequence[int],
    y_counts: Sequence[int],
    *,
    min_similarity: float | None = None,
) -> Matches:
    """Match every frame pair of a batch.

    Args:
        x_ND: Unit-norm embeddings of the first frames' crops, pair after pair.
        y_MD: Those of the second frames.
        x_counts: Crops of each pair's first frame; sums to N.
        y_counts: Crops of each pair's second frame; sums to M.
        min_similarity: Matches below this cosine are dropped; None keeps all.

    Returns:
        The matches of all pairs, in order; a pair with an empty side has none.

    Raises:
        ValueError: If the counts do not add up to the embeddings.
    """
    if sum(x_counts) != len(x_ND) or sum(y_counts) != len(y_MD) or len(x_counts) != len(y_counts):
        raise ValueError(
            f"counts of {len(x_counts)} and {len(y_counts)} pairs sum to {sum(x_counts)} and {sum(y_counts)}, "
            f"embeddings are {len(x_ND)} and {len(y_MD)}"
        )
    x_parts, y_parts, pair_parts = [], [], []
    x_start = y_start = 0
    for pair, (x_count, y_count) in enumerate(zip(x_counts, y_counts, strict=True)):
        similarity_NM = x_ND[x_start : x_start + x_count] @ y_MD[y_start : y_start + y_count].T
        row_P, column_P = match(similarity_NM)
        if min_similarity is not None:
            good_P = similarity_NM[row_P, column_P] >= min_similarity
            row_P, column_P = row_P[good_P], column_P[good_P]
        x_parts.append(row_P + x_start)
        y_parts.append(column_P + y_start)
        pair_parts.append(np.full(len(row_P), pair, dtype=np.int64))
        x_start, y_start = x_start + x_count, y_start + y_count
    none = np.zeros(0, dtype=np.int64)
    return Matches(*(np.concatenate([none, *parts]) for parts in (x_parts, y_parts, pair_parts)))
