"""People of several datasets under one numbering."""

import numpy as np
from numpy.typing import NDArray

from cluster.errors import InputError

IDENTITIES = 1_000_000
"""More than any dataset has."""


def apart(identity_N: NDArray[np.int64], number: int) -> NDArray[np.int64]:
    """Number the identities of a dataset so that nobody of another dataset has the same.

    The definition, as a loop::

        for n in range(N):
            result[n] = number * IDENTITIES + identity[n] if identity[n] > 0 else identity[n]

    So junk (-1) and distractors (0) stay what they are.

    Args:
        identity_N: As the dataset numbers its people, from 1.
        number: Of the dataset, >= 0; each has its own.

    Raises:
        InputError: If a number is too large to be kept apart.
    """
    if len(identity_N) and identity_N.max() >= IDENTITIES:
        raise InputError(
            f"identities go up to {identity_N.max():,}, and datasets are kept apart below {IDENTITIES:,}; "
            "number the people of a dataset from 1"
        )
    return np.where(identity_N > 0, identity_N + number * IDENTITIES, identity_N)
