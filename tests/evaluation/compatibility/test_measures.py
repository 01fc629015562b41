"""Measures of a table of models by galleries: the docstrings' loops, and closed forms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.compatibility.measures import (
    average_accuracy,
    average_compatibility,
    backward_transfer,
    forgetting,
    update_gain,
)

EXAMPLE = np.array([[0.5, np.nan, np.nan], [0.6, 0.4, np.nan], [0.5, 0.3, 0.8]])
"""Model 1 beats model 0 on dataset 0, model 2 equals it there, and falls short of model 1 on dataset 1."""


@st.composite
def tables(draw):
    """Scores in tenths: ties and exact zeros are frequent."""
    size = draw(st.integers(1, 6))
    return np.random.default_rng(draw(st.integers(0, 2**32 - 1))).integers(0, 11, (size, size)) / 10


def test_closed_forms():
    assert average_compatibility(EXAMPLE, ties="strict") == pytest.approx(1 / 3)
    assert average_compatibility(EXAMPLE, ties="non-strict") == pytest.approx(2 / 3)
    assert average_accuracy(EXAMPLE) == pytest.approx((0.5 + 0.6 + 0.4 + 0.5 + 0.3 + 0.8) / 6)
    assert forgetting(EXAMPLE, definition="avalanche") == pytest.approx((0 + 0.1) / 2)
    assert forgetting(EXAMPLE, definition="chaudhry") == pytest.approx((0.1 + 0.1) / 2)
    assert backward_transfer(EXAMPLE) == pytest.approx(-0.05)


@given(tables())
def test_measures_are_their_loops(table):
    stages = range(len(table))
    pairs = [(i, j) for i in stages for j in range(i)]
    for ties, beats in (("strict", np.greater), ("non-strict", np.greater_equal)):
        count = sum(bool(beats(table[i, j], table[j, j])) for i, j in pairs)
        expected = 2 / (len(table) * (len(table) - 1)) * count if pairs else np.nan
        assert average_compatibility(table, ties=ties) == pytest.approx(expected, nan_ok=True)
    assert average_accuracy(table) == pytest.approx(np.mean([table[i, j] for i in stages for j in range(i + 1)]))
    last = len(table) - 1
    best = {
        "avalanche": [table[j, j] for j in range(last)],
        "chaudhry": [max(table[i, j] for i in range(j, last)) for j in range(last)],
        "mammoth": [max(table[i, j] for i in range(j, last + 1)) for j in range(last)],
    }
    for definition, values in best.items():
        lost = [value - table[last, j] for j, value in enumerate(values)]
        expected = np.mean(lost) if lost else np.nan
        assert forgetting(table, definition=definition) == pytest.approx(expected, nan_ok=True)


def test_definitions_of_forgetting_differ_where_the_end_is_better():
    table = np.array([[0.2, 0.0], [0.5, 0.4]])
    assert forgetting(table, definition="avalanche") == pytest.approx(-0.3)
    assert forgetting(table, definition="chaudhry") == pytest.approx(-0.3)
    assert forgetting(table, definition="mammoth") == 0
    assert backward_transfer(table) == pytest.approx(0.3)


def test_an_exact_zero_is_a_score():
    table = np.array([[0.5, np.nan], [0.0, 0.4]])
    assert average_accuracy(table) == pytest.approx(0.3)
    assert average_compatibility(table, ties="non-strict") == 0
    assert average_compatibility(np.zeros((2, 2)), ties="non-strict") == 1


def test_what_is_not_known_makes_a_measure_unknown():
    table = EXAMPLE.copy()
    table[1, 0] = np.nan
    assert np.isnan(average_compatibility(table, ties="strict"))
    assert np.isnan(average_accuracy(table))
    assert np.isnan(forgetting(table, definition="chaudhry"))
    assert forgetting(table, definition="avalanche") == pytest.approx(0.05), "the last row and the diagonal suffice"


def test_a_single_stage_has_nothing_to_compare():
    one = np.array([[0.7]])
    assert np.isnan(average_compatibility(one, ties="strict"))
    assert np.isnan(forgetting(one, definition="mammoth"))
    assert np.isnan(backward_transfer(one))
    assert average_accuracy(one) == 0.7


def test_update_gain_is_0_without_and_1_with_all_of_the_gain():
    assert update_gain(0.5, 0.5, 0.7) == 0
    assert update_gain(0.7, 0.5, 0.7) == pytest.approx(1)
    assert update_gain(0.4, 0.5, 0.7) == pytest.approx(-0.5)
    assert np.isnan(update_gain(0.6, 0.5, 0.5))
    assert np.isnan(update_gain(0.4, 0.5, 0.3)), "half of a loss is no gain"


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match=r"must be \[T, T\] with T > 0, got \[2, 3\]"):
        average_accuracy(np.ones((2, 3)))
    with pytest.raises(ValueError, match="ties must be 'strict' or 'non-strict', got 'both'"):
        average_compatibility(EXAMPLE, ties="both")
    with pytest.raises(ValueError, match="forgetting is defined as avalanche, chaudhry, mammoth, got 'gem'"):
        forgetting(EXAMPLE, definition="gem")
