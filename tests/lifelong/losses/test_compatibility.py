"""The compatibility loss: its loop, its limits, and the property that makes it one (METHOD.md 3.8, 1 to 6)."""

import math

import pytest
import torch
from torch.nn import functional

from lifelong.losses.compatibility import cross_model_compatibility, previous_stage_only

ANCHORS = [3, 3, 5, 1, 9]
BANK = [1, 1, 3, 5, 5, 5, 7]
STAGES = [1, 1, 1, 2, 2, 2, 2]


def unit(count, size=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return functional.normalize(torch.randn(count, size, generator=generator, dtype=torch.float64), dim=1)


def rotation(size=6, seed=5):
    return torch.linalg.qr(unit(size, size, seed))[0]


def loss(anchor, bank, anchors=ANCHORS, banked=BANK, stages=STAGES, *, temperature=0.1, **options):
    labels = (torch.tensor(values, dtype=torch.int64) for values in (banked, stages))
    return cross_model_compatibility(
        anchor, torch.tensor(anchors, dtype=torch.int64), bank, *labels, temperature=temperature, **options
    )


def loop(anchor, bank, anchors, banked, stages, temperature, form, per_stage_mean, rivals=None):
    by_stage: dict[int, list[float]] = {}
    for a, who in enumerate(anchors):
        s = [float(functional.cosine_similarity(anchor[a], feature, dim=0)) / temperature for feature in bank]
        positive = [m for m, one in enumerate(banked) if one == who]
        negative = [m for m, one in enumerate(banked) if one != who]
        beside = 0.0
        for feature, one in zip(*rivals, strict=True) if rivals else ():
            if one != who:
                beside += math.exp(float(functional.cosine_similarity(anchor[a], feature, dim=0)) / temperature)
        if positive:
            terms = []
            for p in positive:
                others = negative + ([p] if form == "sep" else positive)
                terms.append(-s[p] + math.log(sum(math.exp(s[m]) for m in others) + beside))
            by_stage.setdefault(stages[positive[0]], []).append(sum(terms) / len(terms))
    if per_stage_mean:
        means = [sum(values) / len(values) for values in by_stage.values()]
        return sum(means) / len(means)
    every = [value for values in by_stage.values() for value in values]
    return sum(every) / len(every)


@pytest.mark.parametrize("form", ["sep", "joint"])
@pytest.mark.parametrize("per_stage_mean", [False, True])
@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("temperature", [0.05, 1.0])
def test_the_definition(form, per_stage_mean, count, temperature):
    anchor, bank = 3 * unit(5)[:count], 0.5 * unit(7, seed=1)
    options = {"form": form, "per_stage_mean": per_stage_mean}
    expected = loop(anchor, bank, ANCHORS[:count], BANK, STAGES, temperature, **options)
    assert float(loss(anchor, bank, ANCHORS[:count], temperature=temperature, **options)) == pytest.approx(
        expected, rel=1e-9
    )


@pytest.mark.parametrize("form", ["sep", "joint"])
def test_the_definition_with_rivals(form):
    anchor, bank, rival = unit(5), unit(7, seed=1), (2 * unit(4, seed=2), torch.tensor([3, 8, 1, 8]))
    expected = loop(anchor, bank, ANCHORS, BANK, STAGES, 0.1, form, False, rival)
    assert float(loss(anchor, bank, form=form, rivals=rival)) == pytest.approx(expected, rel=1e-9)
    assert loss(anchor, bank, form=form, rivals=rival) > loss(anchor, bank, form=form)
    own = (unit(2, seed=3), torch.tensor([3, 3]))
    alone = loss(anchor[:2], bank, ANCHORS[:2], form=form)
    assert torch.allclose(loss(anchor[:2], bank, ANCHORS[:2], form=form, rivals=own), alone), "one's own are none"


def test_rivals_are_pushed_away():
    anchor, rival = unit(4), unit(3, seed=2).requires_grad_()
    loss(anchor, unit(7, seed=1), ANCHORS[:4], rivals=(rival, torch.tensor([20, 21, 22]))).backward()
    moved = rival.detach() - 0.01 * rival.grad
    assert (functional.normalize(moved, dim=1) @ anchor.T).mean() < (rival.detach() @ anchor.T).mean()


@pytest.mark.parametrize(("anchors", "banked"), [(ANCHORS, []), ([], BANK), ([2, 4], BANK), ([], [])])
def test_where_nothing_counts_it_is_zero_and_has_a_gradient(anchors, banked):
    anchor = unit(len(anchors)).requires_grad_()
    value = loss(anchor, unit(len(banked)), anchors, banked, STAGES[: len(banked)])
    value.backward()
    assert value == 0
    assert (anchor.grad == 0).all()


def test_an_anchor_without_positives_is_left_out():
    anchor, bank = unit(5), unit(7, seed=1)
    assert torch.allclose(loss(anchor, bank), loss(anchor[:4], bank, ANCHORS[:4]))


def test_with_one_feature_each_it_is_cross_entropy_over_the_bank():
    anchor, bank = unit(4), unit(5, seed=1)
    target = torch.tensor([2, 0, 4, 4])
    expected = functional.cross_entropy(anchor @ bank.T / 0.1, target)
    for form in ("sep", "joint"):
        assert torch.allclose(loss(anchor, bank, target.tolist(), range(5), [1] * 5, form=form), expected)


def test_sep_is_below_joint_and_reaches_zero():
    anchor, bank = unit(5), unit(7, seed=1)
    assert loss(anchor, bank, form="sep") < loss(anchor, bank, form="joint")
    axes = torch.eye(6, dtype=torch.float64)
    aligned = (axes[:2], axes[[0, 0, 0, 1, 1, 1]], [0, 1], [0, 0, 0, 1, 1, 1], [1] * 6)
    assert loss(*aligned, temperature=0.01, form="sep") < 1e-9
    assert loss(*aligned, temperature=0.01, form="joint") == pytest.approx(math.log(3))


def test_a_bank_of_one_direction_tells_nobody_apart():
    anchor, bank = unit(5), unit(1, seed=1).expand(7, -1)
    negatives = [6, 6, 4, 5]  # of each anchor that has positives
    assert loss(anchor, bank) == pytest.approx(sum(math.log(1 + count) for count in negatives) / 4)
    assert loss(anchor, bank, form="joint") == pytest.approx(math.log(7))


def test_order_and_norms_do_not_count():
    anchor, bank = unit(5), unit(7, seed=1)
    order = [4, 0, 6, 2, 5, 1, 3]
    mixed = loss(anchor, 7 * bank[order], banked=[BANK[i] for i in order], stages=[STAGES[i] for i in order])
    assert torch.allclose(mixed, loss(3 * anchor, bank))


def test_only_a_common_rotation_changes_nothing():
    anchor, bank = unit(5), unit(7, seed=1)
    assert torch.allclose(loss(anchor @ rotation(), bank @ rotation()), loss(anchor, bank))
    own = unit(5)
    aligned = loss(own, own, range(5), range(5), [1] * 5)
    assert loss(own @ rotation(), own, range(5), range(5), [1] * 5) > aligned + 1
    assert torch.allclose(loss(own @ rotation(), own @ rotation(), range(5), range(5), [1] * 5), aligned)


def test_the_bank_gets_no_gradient_and_keeps_its_bits():
    anchor, bank = unit(5).requires_grad_(), unit(7, seed=1).requires_grad_()
    before = bank.detach().clone()
    loss(anchor, bank).backward()
    assert bank.grad is None
    assert anchor.grad is not None
    assert torch.equal(bank, before)
    assert anchor.grad[:4].abs().sum() > 0


def test_a_stage_that_keeps_more_does_not_count_more_where_stages_count_alike():
    anchor, bank = unit(4), unit(7, seed=1)
    rows = [0, 1, 3, 0, 1, 3, 2]  # all anchors of stage 1 twice
    once, twice = (anchor, bank, ANCHORS[:4]), (anchor[rows], bank, [ANCHORS[a] for a in rows])
    assert torch.allclose(loss(*twice, per_stage_mean=True), loss(*once, per_stage_mean=True))
    assert not torch.allclose(loss(*twice), loss(*once))


def test_the_last_stage_of_a_bank():
    assert previous_stage_only(torch.tensor([1, 3, 2, 3])).tolist() == [False, True, False, True]
    assert previous_stage_only(torch.tensor([1, 1])).all(), "at the second stage it is all of the bank"
    assert previous_stage_only(torch.zeros(0, dtype=torch.int64)).shape == (0,)


@pytest.mark.parametrize("form", ["sep", "joint"])
def test_gradients(form):
    bank = unit(7, seed=1)
    assert torch.autograd.gradcheck(lambda anchor: loss(anchor, bank, form=form), (2 * unit(5)).requires_grad_())


def test_single_precision_holds_at_small_temperatures():
    anchor, bank = unit(5).float().requires_grad_(), unit(7, seed=1).float()
    value = loss(anchor, bank, temperature=0.01)
    value.backward()
    assert value.item() == pytest.approx(loss(unit(5), unit(7, seed=1), temperature=0.01).item(), rel=1e-4)
    assert anchor.grad is not None
    assert anchor.grad.isfinite().all()
    alone = loss(anchor, bank[:1], [1] * 5, [1], [1], temperature=0.01)  # nobody else in the bank
    assert alone.item() == pytest.approx(0, abs=1e-6)
    for own in (bank[:3], -bank[:3]):  # float32 holds neither exp(100) nor log(exp(-100) + exp(-100))
        three = (range(3), range(3), [1] * 3)
        exact = loss(own.double(), bank[:3].double(), *three, temperature=0.01)
        assert loss(own, bank[:3], *three, temperature=0.01).item() == pytest.approx(exact.item(), rel=1e-4, abs=1e-6)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="anchors have 6 components and the bank 4; they must be comparable"):
        loss(unit(5), unit(7, 4))
    with pytest.raises(ValueError, match=r"as many identities and stages, got \[4\], \[7\] and \[7\]"):
        loss(unit(5), unit(7), ANCHORS[:4])
    with pytest.raises(ValueError, match=r"as many identities and stages, got \[5\], \[7\] and \[1\]"):
        loss(unit(5), unit(7), stages=[1])
    with pytest.raises(ValueError, match=r"temperature must be > 0 and form sep or joint, got 0 and 'sep'"):
        loss(unit(5), unit(7), temperature=0)
    with pytest.raises(ValueError, match=r"form sep or joint, got 0\.1 and 'both'"):
        loss(unit(5), unit(7), form="both")
