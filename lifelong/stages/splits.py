"""Training identities of one dataset, cut into tasks.

``ascending`` is the published rule for Market-1501 (DwoPP's program and the file it ships): identities by number, in
contiguous tasks. Market-1501 numbers people in the order of recording, so its tasks are in order of time too: 751
identities in 10 tasks are 76, then nine times 75.

``shuffled`` is a rule of ours for datasets whose published splits are not available (MSMT17, CUHK-SYSU, CUHK03 and
VeRi-776 are had from the authors alone): the same sizes, of a seeded permutation. Scores on it are comparable among
runs here, and not with a paper's.
"""

import re
from collections.abc import Sequence
from typing import Literal

import numpy as np

from cluster.errors import InputError

Rule = Literal["ascending", "shuffled"]
PART = re.compile(r"([1-9]\d*)/([1-9]\d*)(?:@(\d+))?")


def cut(identities: Sequence[int], tasks: int, *, rule: Rule, seed: int = 0) -> list[list[int]]:
    """Cut identities into disjoint tasks that cover them all.

    The definition, as a loop::

        order = sorted(identities)  # or, where shuffled, a permutation of that
        for k in range(T):
            size = C // T + (1 if k < C % T else 0)
            task[k] = the next `size` of the order

    Args:
        identities: Numbers of people, C different ones; each counts once, in whatever order they come.
        tasks: T.
        rule: See the module.
        seed: Of the permutation; ``ascending`` uses none.

    Returns:
        T lists, each ascending.

    Raises:
        InputError: If there are fewer identities than tasks, or no tasks.
    """
    order = np.unique(np.array(identities, np.int64))
    if not 1 <= tasks <= len(order):
        raise InputError(f"{len(order)} identities cannot be cut into {tasks} tasks; give 1 to {len(order)} tasks")
    if rule == "shuffled":
        order = np.random.default_rng(seed).permutation(order)
    return [sorted(part.tolist()) for part in np.array_split(order, tasks)]


def part_name(number: int, tasks: int, *, rule: Rule, seed: int = 0) -> str:
    """Name a task: ``3/10`` is the third of ten, ``3/10@7`` the third of ten that are shuffled with seed 7."""
    return f"{number}/{tasks}" + (f"@{seed}" if rule == "shuffled" else "")


def take_part(identities: Sequence[int], part: str) -> list[int]:
    """Return the identities of the task that `part_name` names.

    Raises:
        InputError: If it is no such name, or there are fewer identities than tasks.
    """
    number, tasks, seed = parse_part(part)
    return cut(identities, tasks, rule="ascending" if seed is None else "shuffled", seed=seed or 0)[number - 1]


def parse_part(part: str) -> tuple[int, int, int | None]:
    """Return a task's number from 1, the number of tasks, and the seed; None where identities are ascending.

    Raises:
        InputError: If it is no name of a task.
    """
    match = PART.fullmatch(part)
    if not match or int(match[1]) > int(match[2]):
        raise InputError(f"part must be such as 3/10, or 3/10@7 (shuffled with seed 7), got {part!r}")
    return int(match[1]), int(match[2]), None if match[3] is None else int(match[3])
