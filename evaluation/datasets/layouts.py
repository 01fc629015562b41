"""What readers of benchmarks with images in folders share: where an archive's folder is, names, random halves."""

import re
from collections.abc import Sequence

import numpy as np

from cluster import storage
from cluster.errors import InputError


def inner_folder(folder: str, inner: str, *, holds: str) -> str:
    """Find the folder that holds another: the given one, or the one that the archive unpacks to inside it.

    Args:
        folder: What the user named.
        inner: What the archive unpacks to, such as ``VIPeR``.
        holds: A folder that has to be in it, such as ``cam_a``.

    Raises:
        InputError: If neither has it.
    """
    for candidate in (folder, storage.join(folder, inner)):
        if storage.is_folder(storage.join(candidate, holds)):
            return candidate
    raise InputError(f"{folder}: no {holds}/ in it, nor in {inner}/; give the folder that the archive was unpacked to")


def match_names(paths: Sequence[str], pattern: re.Pattern[str], *, example: str) -> list[tuple[str, tuple[int, ...]]]:
    """Read the numbers in the names of images; every name has to match.

    Args:
        paths: Locations.
        pattern: Matches from the start of a name; its groups are integers.
        example: A right name, for the error text.

    Returns:
        The locations, in their order, each with its numbers.

    Raises:
        InputError: If a name does not match.
    """
    matches = [(path, pattern.match(storage.name_of(path))) for path in paths]
    wrong = [path for path, match in matches if match is None]
    if wrong:
        raise InputError(
            f"{wrong[0]}: {len(wrong)} of {len(paths)} names are not like {example}; take these files out of the folder"
        )
    return [(path, tuple(map(int, match.groups()))) for path, match in matches if match]


def random_half(identities: Sequence[int], *, seed: int, split: int) -> set[int]:
    """Draw the identities for training: half of all, rounded down, without replacement.

    The definition: sort the identities, permute them with ``np.random.default_rng((seed, split))``, take the first
    half. These partitions are ours. The papers drew theirs at random too, and did not publish the lists with the
    images.

    Args:
        identities: The distinct ones.
        seed: The benchmark's own.
        split: Number of the partition, >= 0.
    """
    order = np.random.default_rng((seed, split)).permutation(np.sort(np.asarray(identities, np.int64)))
    return set(order[: len(order) // 2].tolist())
