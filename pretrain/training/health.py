"""What tells that a representation collapses or degenerates, from a batch of embeddings.

Shape legend: N embeddings; P matched pairs; D embedding size.

Everything is a scalar tensor without gradient. Under several processes it describes this process's batch: what is not
a mean over crops (a rank, a logarithm) has no sum over processes. Nothing here stops a run: where a number does not
exist, for too few embeddings or for values that are not finite, it is NaN.
"""

import torch
from torch import Tensor

from cluster.errors import InputError
from pretrain.models.precision import at_least_single

ROUNDING = 2.0**-20
"""What float32 arithmetic may make of equal unit embeddings, relative; eight times the distance of its numbers at 1."""

ROWS_AT_ONCE = 2048
"""Rows of the matrix of distances that `uniformity` holds at a time."""


def effective_rank(embedding_ND: Tensor) -> Tensor:
    """How many directions the embeddings spread in (Roy and Vetterli, EUSIPCO 2007), about their mean.

    The definition, as a loop::

        s = singular values of (embedding - mean over N)
        s = [value for value in s if value > 2 ** -20 * sqrt(sum(embedding ** 2))]
        return exp(-sum(value / sum(s) * log(value / sum(s)) for value in s))     # 0 if s is empty

    Centred, because a common direction of all embeddings tells nobody apart and would otherwise hide or add to what is
    left. What the rounding of float32 makes of equal embeddings counts as 0; a spread just above that may still be of
    any rank, so read this next to `embedding_deviation`.

    Returns:
        In [1, min(N - 1, D)], or 0 if all embeddings are equal; NaN for N < 2, where there is no spread to speak of.
    """
    embedding_ND = embedding_ND.detach().double()
    if len(embedding_ND) < 2:
        return embedding_ND.new_full((), torch.nan, dtype=torch.float32)
    is_finite = embedding_ND.isfinite().all()
    embedding_ND = embedding_ND.nan_to_num(0.0, 0.0, 0.0)  # an eigensolver would raise
    centred_ND = embedding_ND - embedding_ND.mean(dim=0)
    # In double precision as good as singular values; many embeddings then cost a matrix product, on any device.
    gram = centred_ND @ centred_ND.T if len(centred_ND) < centred_ND.shape[1] else centred_ND.T @ centred_ND
    singular = torch.linalg.eigvalsh(gram).clamp_min(0).sqrt()
    rounding = ROUNDING * embedding_ND.square().sum().sqrt()
    singular = singular * (singular > rounding)
    total = singular.sum()
    rank = torch.special.entr(singular / total.clamp_min(torch.finfo(torch.float64).tiny)).sum().exp()
    return torch.where(is_finite, rank * (total > 0), torch.nan).float()


def embedding_deviation(embedding_ND: Tensor) -> Tensor:
    """Standard deviation of a component, times the root of D (Chen and He, CVPR 2021, section 4.1).

    The definition, as a loop::

        return sqrt(D) * mean(standard deviation over N of embedding[:, d] for d in range(D))

    Returns:
        0 at collapse, about 1 for unit embeddings that are spread evenly over the sphere; NaN for N < 2.
    """
    embedding_ND = _precise(embedding_ND)
    if len(embedding_ND) < 2:
        return embedding_ND.new_full((), torch.nan)
    return embedding_ND.std(dim=0, correction=0).mean() * embedding_ND.shape[1] ** 0.5


def alignment(x_PD: Tensor, y_PD: Tensor) -> Tensor:
    """Mean squared distance of matched pairs (Wang and Isola, ICML 2020): ``mean(sum((x[p] - y[p]) ** 2))``.

    Returns:
        In [0, 4] for unit embeddings; NaN for P = 0.

    Raises:
        InputError: If the shapes differ.
    """
    if x_PD.shape != y_PD.shape:
        raise InputError(f"x {tuple(x_PD.shape)} and y {tuple(y_PD.shape)} must agree; give the matched crops of each")
    return (_precise(x_PD) - _precise(y_PD)).square().sum(dim=1).mean()


def uniformity(embedding_ND: Tensor) -> Tensor:
    """How evenly the embeddings cover the sphere (Wang and Isola, ICML 2020, with t = 2); lower is more even.

    The definition, as a loop::

        return log(mean(exp(-2 * sum((embedding[i] - embedding[j]) ** 2)) for i in range(N) for j in range(i)))

    Returns:
        In [-8, 0] for unit embeddings: 0 at collapse, about -4 for an even spread in many dimensions; NaN for N < 2.
    """
    embedding_ND = _precise(embedding_ND)
    number = len(embedding_ND)
    if number < 2:
        return embedding_ND.new_full((), torch.nan)
    square_N = embedding_ND.square().sum(dim=1)
    total = torch.zeros((), dtype=torch.float64, device=embedding_ND.device)
    for start in range(0, number, ROWS_AT_ONCE):
        rows, later = slice(start, start + ROWS_AT_ONCE), slice(start, None)
        distance = square_N[rows, None] + square_N[later] - 2 * (embedding_ND[rows] @ embedding_ND[later].T)
        total += (-2 * distance.clamp_min(0)).exp().triu(diagonal=1).sum(dtype=torch.float64)
    return (total / (number * (number - 1) / 2)).log().to(embedding_ND.dtype)


def reliability_histogram(reliability_P: Tensor, bins: int = 10) -> Tensor:
    """Count the pairs in equal bins of the reliability.

    The definition, as a loop::

        for p in range(P):
            counts[min(bins - 1, floor(bins * reliability[p]))] += 1

    Args:
        reliability_P: In [0, 1]; 1 is in the last bin. NaN is in none, so that the counts then sum to less than P.
        bins: How many, >= 1.

    Returns:
        int64 [bins].

    Raises:
        InputError: If `bins` is < 1.
    """
    if bins < 1:
        raise InputError(f"bins must be >= 1, got {bins}")
    bin_P = (_precise(reliability_P) * bins).floor().clamp(0, bins - 1)
    # Compared and not counted by `bincount`, which would wait for a GPU.
    return (bin_P[:, None] == torch.arange(bins, device=bin_P.device)).sum(dim=0)


def _precise(value: Tensor) -> Tensor:
    """Without gradient, in float32 at least."""
    return at_least_single(value.detach())
