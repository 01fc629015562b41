"""Which classes meet in a batch, and which of their images.

Shapes: C classes, P classes of a batch. All but the classes' distances are numbers of classes or rows of images.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Rows = Sequence[int] | NDArray[np.int64]


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


def episode_order(num_classes: int, episode_classes: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Order the classes of an epoch so that consecutive blocks are its episodes.

    The definition, as a loop::

        N = min(episode_classes, C)
        order = shuffle(range(C))
        last = order[C - C % N :]  # those that fill no episode
        if last:
            order += N - C % N classes drawn from the others, without replacement

    So an epoch has ceil(C / N) episodes of N distinct classes, and every class is in at least one. The published code
    (DMML, DwoPP) has floor(C / N), and skips other classes each epoch.

    Args:
        num_classes: C, >= 1.
        episode_classes: N, >= 1; all classes where there are fewer.
        rng: Shuffles and fills up.

    Returns:
        int64 [ceil(C / N) * N].

    Raises:
        ValueError: If there are no classes, or none in an episode.
    """
    if num_classes < 1 or episode_classes < 1:
        raise ValueError(f"episodes need at least one class, got {num_classes} and {episode_classes} of an episode")
    order = rng.permutation(num_classes)
    size = min(episode_classes, num_classes)
    left = num_classes % size
    missing = size - left if left else 0
    return np.concatenate([order, rng.permutation(order[: num_classes - left])[:missing]])


def episode_images(rows: Rows, count: int, queries: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw the images of one class for an episode: its supports, then its queries.

    Without replacement where the class has enough images. Otherwise all its images are used, and shared out between
    supports and queries as S to Q, at least one each; then each part repeats its own in turn. So no image is a support
    and a query unless it is the only one. The published code repeats the list of images instead, and so may ask for
    an image that it has given.

    Args:
        rows: The class's images, each once.
        count: S + Q, > `queries`.
        queries: Q, >= 1.
        rng: Draws.

    Returns:
        int64 [count], S supports first.

    Raises:
        ValueError: If there are no images, or no support or no query is asked for.
    """
    if not len(rows) or not 1 <= queries < count:
        raise ValueError(
            f"an episode needs images, a query and a support of a class, got {len(rows)} images and {queries} queries "
            f"of {count} draws"
        )
    shuffled = rng.permutation(np.asarray(rows, np.int64))
    if len(rows) >= count:
        return shuffled[:count]
    if len(rows) == 1:
        return np.repeat(shuffled, count)
    asked = min(max(1, round(len(rows) * queries / count)), len(rows) - 1)
    return np.concatenate([np.resize(shuffled[asked:], count - queries), np.resize(shuffled[:asked], queries)])


def cursor_images(rows: Rows, occurrence: int, count: int, seed: tuple[int, ...]) -> NDArray[np.int64]:
    """Draw the images that a class shows when it is drawn again in an epoch, as QAConv's graph sampler does.

    The definition, as a loop::

        left = []
        for _ in range(occurrence + 1):
            group = []
            while len(group) < count:
                if not left:
                    left = sorted(shuffle(rows), key=group.count)  # what the group has already comes last
                group.append(left.pop(0))
        return group

    So a class shows each image once before it shows one again, and a group holds an image twice only where the class
    has too few. It depends on the arguments alone: any process makes the same group, at a cost of all groups before.

    Args:
        rows: The class's images, each once.
        occurrence: How often the class was drawn before in the epoch, from 0.
        count: Images of a group, >= 1.
        seed: Names the run, the epoch and the class; entries >= 0.

    Returns:
        int64 [count].

    Raises:
        ValueError: If there are no images, the occurrence is negative, or the count is < 1.
    """
    if not len(rows) or occurrence < 0 or count < 1:
        raise ValueError(
            f"a group needs images, an occurrence >= 0 and a count >= 1, got {len(rows)} images, {occurrence}, {count}"
        )
    rng = np.random.default_rng(seed)
    left: list[int] = []
    group: list[int] = []
    for _ in range(occurrence + 1):
        group = []
        while len(group) < count:
            if not left:
                left = sorted(rng.permutation(np.asarray(rows, np.int64)).tolist(), key=group.count)
            taken = count - len(group)
            group, left = group + left[:taken], left[taken:]
    return np.array(group, np.int64)
