"""Schedules: closed forms and both ends."""

import math

import pytest

from pretrain.schedules import beta_after_warmup, warmup_cosine


def rates(total_steps, warmup_fraction):
    return [
        warmup_cosine(step, total_steps=total_steps, warmup_fraction=warmup_fraction)
        for step in range(1, total_steps + 1)
    ]


def test_warmup_rises_in_equal_parts_to_the_peak():
    assert rates(100, 0.05)[:6] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])


def test_decay_is_half_a_cosine_that_would_be_zero_one_step_after_the_last():
    got = rates(100, 0.2)[20:]
    assert got == pytest.approx([(1 + math.cos(math.pi * k / 80)) / 2 for k in range(80)])
    assert got[0] == 1
    assert got[40] == pytest.approx(0.5)
    assert 0 < got[-1] < 0.001
    assert warmup_cosine(101, total_steps=100, warmup_fraction=0.2) == pytest.approx(0, abs=1e-15)


def test_without_warmup_the_first_step_has_the_peak():
    assert rates(4, 0.0) == pytest.approx([1, 0.5 + 0.5**0.5 / 2, 0.5, 0.5 - 0.5**0.5 / 2])


@pytest.mark.parametrize(("total_steps", "warmup_fraction"), [(1, 0.0), (1, 0.9), (3, 0.99), (7, 0.5), (1000, 0.05)])
def test_every_step_learns_and_the_rate_has_one_summit(total_steps, warmup_fraction):
    got = rates(total_steps, warmup_fraction)
    assert all(0 < rate <= 1 for rate in got)
    assert max(got) == 1
    summit = got.index(1.0)
    assert got[: summit + 1] == sorted(got[: summit + 1])
    assert got[summit:] == sorted(got[summit:], reverse=True)


def test_beta_is_zero_during_its_warmup():
    assert [beta_after_warmup(step, beta=2.0, warmup_steps=3) for step in range(1, 6)] == [0, 0, 0, 2, 2]
    assert beta_after_warmup(1, beta=2.0, warmup_steps=0) == 2
