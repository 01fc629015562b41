"""Shares of a run: together they are the run, for any number of processes, from any step on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain.data.sampler import Share


def shares(processes, *, per_step=7, first_step=0, total_steps=5):
    return [
        Share(rank=rank, processes=processes, per_step=per_step, first_step=first_step, total_steps=total_steps)
        for rank in range(processes)
    ]


def all_draws(share):
    return share.draws(np.arange(len(share)))


@given(st.integers(1, 9), st.integers(0, 20), st.integers(0, 4), st.integers(0, 4))
def test_ranks_one_after_the_other_give_the_very_draws_of_every_step(processes, more, done, remaining):
    per_step = processes + more
    total = done + remaining
    parts = [
        all_draws(share).reshape(remaining, share.size)
        for share in shares(processes, per_step=per_step, first_step=done, total_steps=total)
    ]
    steps = np.concatenate(parts, axis=1)
    assert steps.tolist() == np.arange(done * per_step, total * per_step).reshape(remaining, per_step).tolist()


def test_shares_are_as_equal_as_they_can_be():
    assert [share.size for share in shares(3)] == [2, 2, 3]
    assert [share.size for share in shares(2, per_step=64)] == [32, 32]


def test_a_run_that_goes_on_with_others_sees_every_draw_once():
    before = [all_draws(share)[: 2 * share.size] for share in shares(3)]  # two steps by three processes
    after = [all_draws(share) for share in shares(2, first_step=2)]
    assert sorted(np.concatenate(before + after).tolist()) == list(range(5 * 7))


def test_a_finished_run_has_no_draws():
    assert [len(share) for share in shares(2, first_step=5)] == [0, 0]


def test_a_process_without_work_is_refused():
    with pytest.raises(ValueError, match="8 training processes cannot share the 7 samples of a step; raise the batch"):
        shares(8)
