"""Which images of a stage are kept for ever.

Shapes: N images, D components of a feature, M images of one identity.
"""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from cluster.errors import InputError
from evaluation.metrics.distances import check_features

Strategy = Literal["random", "herding", "farthest"]


def select_exemplars(
    feature_ND: NDArray[np.float32],
    identity_N: NDArray[np.int64],
    *,
    num_identities: int,
    images_per_identity: int,
    strategy: Strategy,
    seed: int,
) -> NDArray[np.int64]:
    """Draw identities, and choose images of each.

    The definition, as a loop::

        for identity in sorted(draw(num_identities of unique(identity))):  # all where there are fewer
            rows = [n for n in range(N) if identity_N[n] == identity]
            x = [unit(feature[n]) for n in rows]
            chosen = []
            while len(chosen) < min(images_per_identity, len(rows)):
                left = [m for m in range(len(rows)) if m not in chosen]
                chosen.append(min(left, key=lambda m: (cost(m), m)))
            result += [rows[m] for m in chosen]

    * ``random``: without a cost, the first of a random order.
    * ``herding`` (iCaRL, Rebuffi et al., CVPR 2017): ``norm(mean(x) - mean(x[j] for j in [*chosen, m]))``, so the first
      is the nearest to the centre. Means are not scaled to norm 1 again.
    * ``farthest``: ``x[m] . mean(x)``, the image least like its class first. The published program of PTKP
      (AAAI 2022) does so.

    Costs are compared in float32; equal ones go by row order. All strategies draw the same identities from one seed,
    and the random order of an identity's images depends on the seed, the identity and their number alone.

    Args:
        feature_ND: Of any norm but 0.
        identity_N: Who, > 0.
        num_identities: >= 1.
        images_per_identity: >= 1; all of an identity that has fewer.
        strategy: See above.
        seed: >= 0.

    Returns:
        Rows, by identity (ascending) and within it in the order of choice.

    Raises:
        InputError: If a feature is zero or not finite, an identity is not > 0, or an argument is out of range.
    """
    check_features(feature_ND, "training")
    if identity_N.shape != (len(feature_ND),):
        raise InputError(f"{len(feature_ND)} features need as many identities, got {list(identity_N.shape)}")
    if identity_N.min() <= 0:
        raise InputError(f"identities must be > 0, got {identity_N.min()}; leave out junk (-1) and distractors (0)")
    if num_identities < 1 or images_per_identity < 1 or seed < 0:
        raise InputError(
            "num_identities and images_per_identity must be >= 1 and the seed >= 0, "
            f"got {num_identities}, {images_per_identity} and {seed}"
        )
    if strategy not in get_args(Strategy):
        raise InputError(f"strategy must be {', '.join(get_args(Strategy))}, got {strategy!r}")
    present = np.unique(identity_N)
    drawn = np.random.default_rng(seed).permutation(present)[:num_identities]
    chosen = []
    for identity in np.sort(drawn).tolist():
        rows = np.flatnonzero(identity_N == identity)
        count = min(images_per_identity, len(rows))
        if strategy == "random":
            order = np.random.default_rng((seed, identity)).permutation(len(rows))[:count]
        else:
            unit_MD = feature_ND[rows].astype(np.float64)
            unit_MD /= np.linalg.norm(unit_MD, axis=1, keepdims=True)
            order = _herd(unit_MD, count) if strategy == "herding" else _farthest(unit_MD, count)
        chosen.append(rows[order])
    return np.concatenate(chosen).astype(np.int64)


def _farthest(unit_MD: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    return np.argsort(_products(unit_MD, unit_MD.mean(axis=0)), kind="stable")[:count]


def _herd(unit_MD: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Choose as in `select_exemplars`, by a product instead of a distance.

    With ``k`` images in the new mean, ``k**2 * distance**2 = norm(k * mean - sum(chosen) - x[m])**2``, and ``x[m]`` has
    norm 1: the smallest is where ``x[m] . (k * mean - sum(chosen))`` is largest.
    """
    mean_D = unit_MD.mean(axis=0)
    wanted_D = np.zeros_like(mean_D)
    chosen: list[int] = []
    for _ in range(count):
        wanted_D += mean_D
        similarity_M = _products(unit_MD, wanted_D)
        similarity_M[chosen] = -np.inf
        chosen.append(int(similarity_M.argmax()))
        wanted_D -= unit_MD[chosen[-1]]
    return np.array(chosen, np.int64)


def _products(unit_MD: NDArray[np.float64], vector_D: NDArray[np.float64]) -> NDArray[np.float32]:
    """Multiply row by row: a matrix product may round equal rows differently, and ties would not go by row order."""
    return (unit_MD * vector_D).sum(axis=1).astype(np.float32)
