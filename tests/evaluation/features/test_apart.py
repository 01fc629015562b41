"""People of several datasets under one numbering."""

import numpy as np
import pytest

from cluster.errors import InputError
from evaluation.features.apart import IDENTITIES, apart


def test_nobody_of_another_dataset_has_the_same_number():
    identity = np.array([3, -1, 0, IDENTITIES - 1, 1], np.int64)
    numbered = [apart(identity, number) for number in (0, 1, 7)]
    for number, found in zip((0, 1, 7), numbered, strict=True):
        assert found.tolist() == [number * IDENTITIES + i if i > 0 else i for i in identity.tolist()]
    people = [value for found in numbered for value in found.tolist() if value > 0]
    assert len(people) == len(set(people))
    assert apart(np.zeros(0, np.int64), 3).tolist() == []


def test_a_number_that_cannot_be_kept_apart_is_refused():
    with pytest.raises(InputError, match="identities go up to 1,000,000, and datasets are kept apart below 1,000,000"):
        apart(np.array([1, IDENTITIES]), 1)
