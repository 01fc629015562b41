"""CycAs's cycle association loss, the baseline that ISR is compared with (Wang et al., ECCV 2020).

Shape legend: N, M crops of all first and all second frames; D embedding size; F frame pairs with crops on both sides;
S, L crops of the shorter and the longer side of a frame pair, padded to the most in the batch.

The formula is that of a public re-implementation (METHOD.md 5.6). Negatives are within a frame pair only, so
nothing is gathered over processes but the number of samples.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pretrain.losses.batch import LossInput
from pretrain.models.precision import at_least_single


def adaptive_temperature(size: Tensor, *, eps: float) -> Tensor:
    """By what similarities are multiplied before a softmax over `size` candidates, ``log(size + 1) / eps``.

    A candidate that leads all others by `eps` then has a probability of at least ``(size + 1) / (2 * size)``, which is
    more than a half for any size.
    """
    return torch.log(size + 1.0) / eps


def cycle_loss(
    x_ND: Tensor,
    y_MD: Tensor,
    x_counts: Sequence[int],
    y_counts: Sequence[int],
    *,
    eps: float = 0.5,
    margin: float = 0.5,
) -> tuple[Tensor, int]:
    """Loss of going from each crop to the other frame and back without arriving at oneself.

    >>> import torch, pretrain
    >>> x = torch.nn.functional.normalize(torch.randn(5, 16), dim=1)
    >>> total, samples = pretrain.cycle_loss(x, x.flip(0), [3, 2], [2, 3])
    >>> samples
    4

    The definition, as a loop, with ``T(K) = log(K + 1) / eps``::

        total = samples = 0
        for x, y in frame pairs:
            if len(x) > len(y):
                x, y = y, x
            if len(x) == 0:
                continue
            similarity = x @ y.T
            there = softmax(T(len(y)) * similarity, dim=1)
            back = softmax(T(len(x)) * similarity.T, dim=1)
            cycle = there @ back                                  # should be the identity
            samples += len(x)
            for i in range(len(x)):
                others = [j for j in range(len(x)) if j != i]
                if others:                                        # else cycle is [[1]]: nobody to be confused with
                    total += max(0, max(cycle[i, j] for j in others) - cycle[i, i] + margin)
                    total += max(0, max(cycle[j, i] for j in others) - cycle[i, i] + margin)
        return total, samples

    Exchanging the frames changes nothing where they differ in the number of crops. Where they agree, the cycle starts
    in x: starting in y is another loss in general, and the published formula takes only the one.

    Args:
        x_ND: Unit-norm embeddings of the first frames' crops, pair after pair.
        y_MD: Those of the second frames.
        x_counts: Crops of each pair's first frame; sums to N.
        y_counts: Crops of each pair's second frame; sums to M.
        eps: Lead in similarity that makes an assignment likely, > 0; see `adaptive_temperature`.
        margin: By how much a cycle must prefer to come home, >= 0; from 1 on no embedding has loss 0.

    Returns:
        The sum over this process's crops, and the number of those crops (of the shorter side of each pair, alone or
        not). The caller divides the one by the other's sum over all processes. Without samples the sum is 0 with
        gradient 0.

    Raises:
        ValueError: If the counts do not add up to the embeddings, sizes differ, `eps` is not positive, or `margin` is
            negative.
    """
    if eps <= 0 or margin < 0:
        raise ValueError(f"eps must be > 0 and margin >= 0, got {eps} and {margin}")
    if sum(x_counts) != len(x_ND) or sum(y_counts) != len(y_MD) or len(x_counts) != len(y_counts):
        raise ValueError(
            f"counts of {len(x_counts)} and {len(y_counts)} pairs sum to {sum(x_counts)} and {sum(y_counts)}, "
            f"embeddings are {len(x_ND)} and {len(y_MD)}"
        )
    if x_ND.shape[1] != y_MD.shape[1]:
        raise ValueError(f"x has {x_ND.shape[1]} components and y {y_MD.shape[1]}; embed both with one model")
    both = torch.cat([x_ND, y_MD])
    both = at_least_single(both)
    short_F2, long_F2 = _sides(x_counts, y_counts)
    if len(short_F2) == 0:
        return 0.0 * both.sum(), 0
    short_FSD, is_short_FS = _pad(both, short_F2)
    long_FLD, is_long_FL = _pad(both, long_F2)
    cycle_FSS = _cycle(short_FSD, long_FLD, is_short_FS, is_long_FL, eps=eps)
    return _hinges(cycle_FSS, is_short_FS, margin=margin), int(short_F2[:, 1].sum())


def _sides(x_counts: Sequence[int], y_counts: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Start and count of the shorter and of the longer side of each frame pair that has both, among all crops."""
    count_2F = np.array([x_counts, y_counts], dtype=np.int64)
    start_2F = (count_2F.ravel().cumsum() - count_2F.ravel()).reshape(2, -1)  # first frames come before all second ones
    side_F22 = np.stack([start_2F, count_2F], axis=-1).swapaxes(0, 1)
    shorter_F = (count_2F[0] > count_2F[1]).astype(np.int64)
    pair_F = np.flatnonzero(count_2F.min(axis=0) > 0)
    return side_F22[pair_F, shorter_F[pair_F]], side_F22[pair_F, 1 - shorter_F[pair_F]]


def _pad(both: Tensor, side_F2: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """Lay out one side of all frame pairs with equally many rows, and tell which of them are real."""
    start_F, count_F = side_F2.T
    place_K = np.arange(count_F.max())
    row_FK = start_F[:, None] + np.minimum(place_K, count_F[:, None] - 1)  # padding repeats the last crop
    is_real_FK = torch.from_numpy(place_K < count_F[:, None]).to(both.device)
    return both[torch.from_numpy(row_FK).to(both.device)], is_real_FK


def _cycle(short_FSD: Tensor, long_FLD: Tensor, is_short_FS: Tensor, is_long_FL: Tensor, *, eps: float) -> Tensor:
    """Probability of arriving at each crop of the shorter side from each, [F, S, S]; padding is nobody's aim."""
    similarity_FSL = short_FSD @ long_FLD.mT
    there, back = (
        (adaptive_temperature(is_real.sum(dim=1).to(logit.dtype), eps=eps)[:, None, None] * logit)
        .masked_fill(~is_real[:, None], -torch.inf)
        .softmax(dim=2)
        for logit, is_real in ((similarity_FSL, is_long_FL), (similarity_FSL.mT, is_short_FS))
    )
    return there @ back


def _hinges(cycle_FSS: Tensor, is_short_FS: Tensor, *, margin: float) -> Tensor:
    """Sum of both hinges over all real crops; a crop without others has a maximum of minus infinity."""
    home_FS = cycle_FSS.diagonal(dim1=1, dim2=2)
    itself = torch.eye(cycle_FSS.shape[1], dtype=torch.bool, device=cycle_FSS.device)
    is_other_FSS = is_short_FS[:, None] & is_short_FS[:, :, None] & ~itself
    other_FSS = cycle_FSS.masked_fill(~is_other_FSS, -torch.inf)
    return sum(
        (functional.relu(other_FSS.amax(dim=dim) - home_FS + margin).sum() for dim in (1, 2)),
        start=home_FS.new_zeros(()),
    )


def cycle(batch: LossInput) -> tuple[Tensor, Tensor]:
    """The loss ``cycle`` of the table, which matches nothing."""
    total, samples = cycle_loss(batch.x_ND, batch.y_MD, batch.x_counts, batch.y_counts)
    return total, total.new_full((), float(samples))
