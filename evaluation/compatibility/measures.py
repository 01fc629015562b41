"""Single numbers of a sequence of models: compatibility, accuracy, update gain, forgetting.

Shapes: T stages. ``table_TT[i, j]`` is the score of the queries of dataset j, embedded by model i, against the gallery
of dataset j, stored by model j; a fraction of 1. NaN is an entry that is not known: a measure that needs it is NaN. An
exact 0 is a score like any other.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cluster.errors import InputError

Ties = Literal["strict", "non-strict"]
Forgetting = Literal["avalanche", "chaudhry", "mammoth"]


def average_compatibility(table_TT: NDArray[np.float64], *, ties: Ties) -> float:
    """Return the share of pairs of models in which the newer one works with the older one's gallery.

    Average Compatibility of CoReS (Biondi et al., 2021), whose program takes ``>=``, and of IAM-CL2R (Biondi et al.,
    2024), whose program takes ``>``. The definition, as a loop::

        count = 0
        for i in range(T):
            for j in range(i):
                count += table[i, j] > table[j, j]  # >= where ties are non-strict
        return 2 / (T * (T - 1)) * count

    Args:
        table_TT: Entries with i >= j are used.
        ties: Whether a newer model that scores just as the old one did is compatible: ``non-strict`` says yes.

    Returns:
        0 to 1; NaN for a single stage.

    Raises:
        InputError: If the table is not square, or there are no such ties.
    """
    if ties not in ("strict", "non-strict"):
        raise InputError(f"ties must be 'strict' or 'non-strict', got {ties!r}")
    rows, columns = np.tril_indices(_num_stages(table_TT), -1)
    gain = table_TT[rows, columns] - table_TT.diagonal()[columns]
    if not len(gain) or np.isnan(gain).any():
        return float("nan")
    return float(np.mean(gain > 0 if ties == "strict" else gain >= 0))


def average_accuracy(table_TT: NDArray[np.float64]) -> float:
    """Return the mean score of all models against all galleries up to their own (Average Multi-model accuracy, CoReS).

    The definition, as a loop::

        return mean(table[i, j] for i in range(T) for j in range(i + 1))

    Raises:
        InputError: If the table is not square.
    """
    return float(np.mean(table_TT[np.tril_indices(_num_stages(table_TT))]))


def update_gain(new_old: float, old_old: float, paragon: float) -> float:
    """Return which part of the gain of a full update is had without extracting the gallery anew.

    Shen et al., "Towards Backward-Compatible Representation Learning", CVPR 2020::

        return (new_old - old_old) / (paragon - old_old)

    0: the new queries gain nothing against the old gallery. 1: as good as extracting it anew. Negative: incompatible.
    Where the paragon is no better than the old model there is no gain to have a part of, and two losses would pass for
    one: the result is NaN.

    Args:
        new_old: Score of the new model's queries against the old model's gallery.
        old_old: Score of the old model with itself.
        paragon: Score of a full update. The paper's is another model, trained without regard to compatibility; say
            which one is meant.

    Returns:
        Any number; NaN unless the paragon is better than the old model.
    """
    return (new_old - old_old) / (paragon - old_old) if paragon > old_old else float("nan")


def forgetting(table_TT: NDArray[np.float64], *, definition: Forgetting) -> float:
    """Return how much of the score of the datasets before the last is lost at the end.

    The definition, as a loop::

        for j in range(T - 1):
            best = table[j, j]                                   # avalanche: right after learning
            best = max(table[i, j] for i in range(j, T - 1))     # chaudhry: the best before the last
            best = max(table[i, j] for i in range(j, T))         # mammoth: the best, the last included
            lost[j] = best - table[T - 1, j]
        return mean(lost)

    Rows before a dataset was learned are left out of all three; Mammoth's program fills them with 0, which is the same.

    Args:
        table_TT: Entries with i >= j are used. The table of stored galleries shows what users notice; that of galleries
            re-extracted (`SequenceResult.own`) shows what the model itself has forgotten.
        definition: ``avalanche`` as in that library, ``chaudhry`` as in Chaudhry et al., ECCV 2018 (both negative where
            the end is better), or ``mammoth`` as in that library (never negative).

    Returns:
        -1 to 1; NaN for a single stage.

    Raises:
        InputError: If the table is not square, or there is no such definition.
    """
    ends = {"avalanche": lambda j: j + 1, "chaudhry": lambda j: last, "mammoth": lambda j: last + 1}
    if definition not in ends:
        raise InputError(f"forgetting is defined as {', '.join(ends)}, got {definition!r}")
    last = _num_stages(table_TT) - 1
    lost = [np.max(table_TT[j : ends[definition](j), j]) - table_TT[last, j] for j in range(last)]
    return float(np.mean(lost)) if lost else float("nan")


def backward_transfer(table_TT: NDArray[np.float64]) -> float:
    """Return how much later learning changed the score of earlier datasets (Lopez-Paz and Ranzato, 2017).

    The definition, as a loop::

        return mean(table[T - 1, j] - table[j, j] for j in range(T - 1))

    Returns:
        -1 to 1, negative where they got worse; NaN for a single stage.

    Raises:
        InputError: If the table is not square.
    """
    return -forgetting(table_TT, definition="avalanche")


def _num_stages(table_TT: NDArray[np.float64]) -> int:
    if table_TT.ndim != 2 or table_TT.shape[0] != table_TT.shape[1] or not table_TT.size:
        raise InputError(f"a table of stages must be [T, T] with T > 0, got {list(table_TT.shape)}")
    return len(table_TT)
