"""The gate: its rule on the edge, and what it says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.compatibility.verdict import judge

NAMES = ("market", "duke", "msmt17")


def tables(new_old, new_new):
    """Three stages, of which the last scores so on the first two datasets; their own models had 50 and 40 %."""
    table = np.array([[0.5, np.nan, np.nan], [0.6, 0.4, np.nan], [*new_old, 0.7]])
    return table, np.where(np.eye(3, dtype=bool), table, np.array([[0, 0, 0], [0.5, 0, 0], [*new_new, 0]]))


def verdict(new_old=(0.55, 0.45), new_new=(0.5, 0.4), **options):
    return judge(*tables(new_old, new_new), 2, **({"names": NAMES, "max_forgetting": 0.02} | options))


def test_the_first_stage_passes():
    found = judge(*tables((0.1, 0.1), (0.1, 0.1)), 0, names=NAMES, max_forgetting=0)
    assert found.passes
    assert (found.name, found.datasets, found.reasons) == ("market", (), ())


def test_a_better_model_passes_without_reasons():
    found = verdict()
    assert (found.passes, found.is_compatible, found.is_remembering, found.reasons) == (True, True, True, ())
    assert [dataset.name for dataset in found.datasets] == ["market", "duke"]
    assert found.datasets[1].gain == pytest.approx(0.05)


def test_an_equal_score_is_not_compatible_unless_tolerated():
    found = verdict(new_old=(0.5, 0.45))
    assert not found.passes
    assert [dataset.is_compatible for dataset in found.datasets] == [False, True]
    assert found.reasons == (
        "market: new queries reach 50.00 % mAP in the stored gallery, no more than the 50.00 % of the model that "
        "stored it; they must be higher",
    )
    assert verdict(new_old=(0.5, 0.45), tolerance=0.001).passes


def test_a_loss_against_the_stored_gallery_says_by_how_much():
    found = verdict(new_old=(0.55, 0.373), tolerance=0.01)
    assert (found.is_compatible, found.is_remembering) == (False, True)
    assert found.reasons == (
        "duke: new queries reach 37.30 % mAP in the stored gallery, 2.70 points less than the 40.00 % of the model "
        "that stored it; they must lose less than 1.00 points",
    )


def test_forgetting_says_by_how_much():
    found = verdict(new_new=(0.475, 0.4))
    assert (found.is_compatible, found.is_remembering, found.passes) == (True, False, False)
    assert found.datasets[0].forgetting == pytest.approx(0.025)
    assert found.reasons == (
        "market: even with the gallery re-extracted, the model reaches 47.50 % mAP, 2.50 points less than the "
        "50.00 % right after learning; at most 2.00 points are allowed",
    )
    assert verdict(new_new=(0.475, 0.4), max_forgetting=0.03).passes
    assert verdict(new_new=(0.25, 0.4), max_forgetting=0.25).passes, "the limit itself is allowed"


def test_all_that_fails_is_said():
    assert len(verdict(new_old=(0.1, 0.1), new_new=(0.1, 0.1)).reasons) == 4


@given(st.lists(st.integers(0, 10), min_size=4, max_size=4), st.integers(0, 3), st.integers(0, 3))
def test_the_rule_is_its_loop(tenths, tolerance, max_forgetting):
    table, own = tables(*np.reshape(tenths, (2, 2)) / 10)
    tolerance, max_forgetting = tolerance / 10 + 0.05, max_forgetting / 10 + 0.05  # between tenths: no rounding decides
    found = judge(table, own, 2, names=NAMES, tolerance=tolerance, max_forgetting=max_forgetting)
    is_compatible = [table[2, j] - table[j, j] > -tolerance for j in range(2)]
    is_remembered = [own[j, j] - own[2, j] <= max_forgetting for j in range(2)]
    assert found.passes == (all(is_compatible) and all(is_remembered))
    assert (found.is_compatible, found.is_remembering) == (all(is_compatible), all(is_remembered))
    assert bool(found.reasons) == (not found.passes)


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match="scores of model msmt17 on market are not known; evaluate its stage first"):
        verdict(new_old=(np.nan, 0.4))
    with pytest.raises(ValueError, match=r"must be in 0 to 1, got 0\.0 and 2"):
        verdict(max_forgetting=2)
    with pytest.raises(ValueError, match=r"stage 3 of 3 needs tables \[3, 3\]"):
        judge(*tables((0, 0), (0, 0)), 3, names=NAMES, max_forgetting=0)
