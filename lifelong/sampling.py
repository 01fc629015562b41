"""Which classes meet in a batch.

Shapes: C classes, P classes of a batch.
"""

import numpy as np
from numpy.typing import NDArray


def graph_batches(
    distance_CC: NDArray[np.floating], num_classes: int, *, rng: np.random.Generator | None = None
) -> list[list[int]]:
    """Put each class into a batch with its nearest classes (Liao & Shao, graph sampler, CVPR 2022).

    The definition, as a loop::

        for c in range(C):
            neighbours = sorted((j for j in range(C) if j != c), key=lambda j: (distance[c, j], j))
            batch = [*neighbours[: P - 1], c]
        shuffle(batches)

    So an epoch has C batches, every class is the last of exactly one, and classes that are near to many meet more often
    than others.

    Args:
        distance_CC: Between classes, smaller is nearer; the diagonal is not used.
        num_classes: P, >= 1; all classes where there are fewer.
        rng: Shuffles the batches; None leaves them in the order of the classes.

    Returns:
        C batches of class numbers, the nearest first and the class itself last.

    Raises:
        ValueError: If the distances are not square or not finite, or P is < 1.
    """
    count = len(distance_CC)
    if distance_CC.shape != (count, count) or not count or num_classes < 1:
        raise ValueError(
            f"batches need distances [C, C] and at least one class, got {list(distance_CC.shape)} and {num_classes}"
        )
    distance_CC = np.array(distance_CC, np.float64)
    np.fill_diagonal(distance_CC, 0)
    if not np.isfinite(distance_CC).all():
        raise ValueError("a distance between classes is not finite; check the model that made the features")
    np.fill_diagonal(distance_CC, np.inf)
    nearest_CC = np.argsort(distance_CC, axis=1, kind="stable")[:, : min(num_classes, count) - 1]
    batches = [[*neighbours.tolist(), anchor] for anchor, neighbours in enumerate(nearest_CC)]
    return batches if rng is None else [batches[place] for place in rng.permutation(count)]
