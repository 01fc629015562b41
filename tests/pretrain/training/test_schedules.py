"""Schedules: closed forms and both ends."""

import json
import math
from itertools import pairwise

import pytest

from pretrain.training.schedules import AdaptiveSchedule, beta_after_warmup, late_decay, warmup_cosine


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


def test_the_late_decay_of_600_epochs():
    """The numbers of lifelong/METHOD.md 6.2."""
    got = {epoch: 2e-4 * late_decay(epoch, total_epochs=600) for epoch in (0, 298, 299, 449, 599)}
    assert got == pytest.approx({0: 2e-4, 298: 2e-4, 299: 1.96510e-4, 449: 1.40182e-5, 599: 1e-6}, rel=1e-5)


@pytest.mark.parametrize("total_epochs", [2, 3, 4, 7, 10, 101])
def test_the_late_decay_falls_by_the_same_share_each_epoch_to_the_floor(total_epochs):
    got = [late_decay(epoch, total_epochs=total_epochs, floor=0.01) for epoch in range(total_epochs)]
    falling = [rate for rate in got if rate < 1]
    assert got[: max(0, total_epochs // 2 - 1)] == [1] * max(0, total_epochs // 2 - 1)
    assert len(falling) == total_epochs - max(0, total_epochs // 2 - 1)
    shares = [after / before for before, after in pairwise(falling)]
    assert shares == pytest.approx([0.01 ** (1 / (total_epochs / 2 + 1))] * len(shares))
    assert got[-1] == pytest.approx(0.01)


@pytest.mark.parametrize(("epoch", "total_epochs", "floor"), [(0, 1, 0.1), (5, 5, 0.1), (-1, 5, 0.1), (0, 5, 0.0)])
def test_a_late_decay_out_of_range_is_refused(epoch, total_epochs, floor):
    with pytest.raises(ValueError, match=f"counted from 0, .* got {epoch} of {total_epochs} and {floor}"):
        late_decay(epoch, total_epochs=total_epochs, floor=floor)


def run(schedule, losses):
    """The epochs that are run, with the rate of each."""
    rates = []
    for loss in losses:
        rates.append(schedule.factor)
        schedule.end_epoch(loss)
        if len(rates) == schedule.last_epoch:
            break
    return rates


def test_the_rate_falls_with_the_loss_and_the_run_ends_half_as_much_later():
    losses = [1.0, 10.0, 7.0, 6.9, 0.1, 0.1, 0.1]  # the first epoch's loss is no base, and 7 is not below 0.7 of 10
    assert run(AdaptiveSchedule(60), losses) == [1, 1, 1, 1, 0.1, 0.1]
    assert run(AdaptiveSchedule(5), losses) == [1, 1, 1, 1, 0.1], "never more than asked for"
    assert run(AdaptiveSchedule(60, drop=0.75), losses) == [1, 1, 1, 0.1], "1.5 times 3, rounded down"


def test_a_loss_that_does_not_fall_takes_all_epochs():
    assert run(AdaptiveSchedule(7), [3.0] * 20) == [1] * 7
    assert run(AdaptiveSchedule(1), [3.0] * 20) == [1]


@pytest.mark.parametrize("ended", range(6))
def test_a_restored_schedule_goes_on_as_if_nothing_had_been(ended):
    losses = [9.0, 8.0, 7.0, 2.0, 9.0]
    whole, first, second = AdaptiveSchedule(60), AdaptiveSchedule(60), AdaptiveSchedule(60)
    run(whole, losses)
    run(first, losses[:ended])
    second.restore(json.loads(json.dumps(first.state)))
    assert (second.factor, second.last_epoch) == (first.factor, first.last_epoch)
    run(second, losses[ended:])
    assert second.state == whole.state == {"epoch": 5, "base_loss": 8.0, "drop_epoch": 4}


def test_what_makes_no_schedule_is_refused():
    with pytest.raises(ValueError, match=r"max_epochs must be >= 1 and drop in \(0, 1\), got 0 and 0.7"):
        AdaptiveSchedule(0)
    with pytest.raises(ValueError, match=r"drop in \(0, 1\), got 9 and 1"):
        AdaptiveSchedule(9, drop=1)
    with pytest.raises(ValueError, match="the mean loss of epoch 1 is nan; go back"):
        AdaptiveSchedule(9).end_epoch(math.nan)
    with pytest.raises(ValueError, match="state has epoch, base_loss, drop_epoch, got epoch"):
        AdaptiveSchedule(9).restore({"epoch": 3})
