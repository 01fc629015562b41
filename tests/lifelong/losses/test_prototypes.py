"""Distillation on prototypes: METHOD.md 4.6's numbers, the loop, how DwPP splits, what never reaches the gradient."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from lifelong.losses.episodes import episode_logits
from lifelong.losses.prototypes import prototype_distillation

DWPP = {"drop_positive": False, "target_weight": 1.0, "other_weight": 1.0}
DWOPP = {"drop_positive": True, "target_weight": 0.0, "other_weight": 1.0}
TARGET = {"target_weight": 1.0, "other_weight": 0.0}
BETWEEN = {"drop_positive": True, "target_weight": 0.7, "other_weight": 2.5}
KINDS = {"dwpp": DWPP, "dwopp": DWOPP, "target": TARGET, "between": BETWEEN}
OWN = torch.arange(3)


def make(queries=6, classes=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    new, old = (3 * torch.randn(queries, classes, generator=generator, dtype=torch.float64) for _ in range(2))
    return new, old, torch.randint(classes, (queries,), generator=generator)


def loop(new, old, positive, temperature=1.0, drop_positive=True, target_weight=0.0, other_weight=1.0):
    losses = []
    for r in range(len(new)):
        y = int(positive[r])
        p_old, p_new = ([math.exp(value / temperature) for value in row[r].tolist()] for row in (old, new))
        p_old, p_new = ([value / sum(p) for value in p] for p in (p_old, p_new))
        a, b = p_old[y], p_new[y]
        target = a * math.log(a / b) + (1 - a) * math.log((1 - a) / (1 - b))
        others = [c for c in range(len(p_old)) if c != y]
        q_old, q_new = ([p[c] / sum(p[k] for k in others) for c in others] for p in (p_old, p_new))
        other = sum(qo * math.log(qo / qn) for qo, qn in zip(q_old, q_new, strict=True))
        losses.append(target_weight * target + other_weight * other * (1 if drop_positive else 1 - a))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(1, 2), (1, 5), (6, 4), (3, 3)])
@pytest.mark.parametrize("temperature", [1.0, 10.0, 0.5])
def test_the_definition(kind, shape, temperature):
    new, old, positive = make(*shape)
    got = prototype_distillation(new, old, positive, temperature=temperature, **KINDS[kind])
    assert float(got) == pytest.approx(loop(new, old, positive, temperature, **KINDS[kind]), abs=1e-12)


def line(queries):
    """Three prototypes 0, 1 and 2, and a query of each class."""
    prototype = torch.arange(3, dtype=torch.float64)[:, None, None].requires_grad_()
    query = torch.tensor(queries, dtype=torch.float64)[:, None, None].requires_grad_()
    return prototype, query, episode_logits(prototype, query)


def test_three_classes_on_a_line():
    """METHOD.md 4.6, with the gradient of DwoPP's first row: those of its places add up to 0."""
    prototype, query, new = line([0.2, 1.1, 1.5])
    old = line([0.1, 0.8, 2.2])[2]
    assert prototype_distillation(new, old, OWN, **DWPP).item() == pytest.approx(0.1064143237, abs=1e-10)
    assert prototype_distillation(new, old, OWN).item() == pytest.approx(0.0733056281, abs=1e-10)
    rows = [(new[r : r + 1], old[r : r + 1], OWN[r : r + 1]) for r in range(3)]
    target = [prototype_distillation(*row, **TARGET).item() for row in rows]
    other = [prototype_distillation(*row).item() for row in rows]
    assert target == pytest.approx([0.0050585721, 0.0004152887, 0.2282086212], abs=1e-10)
    assert other == pytest.approx([0.0011470305, 0.1698839638, 0.0488858900], abs=1e-10)
    by_prototype, by_query = torch.autograd.grad(prototype_distillation(*rows[0]), (prototype, query))
    assert by_prototype.flatten().tolist() == pytest.approx([0, 0.0189027911, -0.0425312800], abs=1e-10)
    assert by_query.flatten().tolist() == pytest.approx([0.0236284889, 0, 0], abs=1e-10)


def test_the_published_temperature_of_ten_on_a_line():
    """These numbers of METHOD.md 4.6 are of probabilities mixed with 1e-5 / n, hence the tolerance."""
    new, old = line([0.2, 1.1, 1.5])[2], line([0.1, 0.8, 2.2])[2]
    dwpp, dwopp = (prototype_distillation(new, old, OWN, temperature=10, **kind).item() for kind in (DWPP, DWOPP))
    assert (dwpp, dwopp) == pytest.approx((0.0024954606, 0.0014151145), rel=1e-4)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), st.integers(2, 7), st.integers(0, 1000), st.floats(0.3, 10))
def test_dwpp_is_the_divergence_over_all_classes(queries, classes, seed, temperature):
    new, old, positive = make(queries, classes, seed)
    got = prototype_distillation(new, old, positive, temperature=temperature, **DWPP)
    new_log, old_log = ((logit / temperature).log_softmax(dim=1) for logit in (new, old))
    expected = functional.kl_div(new_log, old_log, log_target=True, reduction="batchmean")
    assert float(got) == pytest.approx(float(expected), abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_an_equal_model_loses_nothing_and_goes_nowhere(kind):
    new, _, positive = make()
    learning = new.clone().requires_grad_()
    loss = prototype_distillation(learning, new, positive, **KINDS[kind])
    loss.backward()
    assert loss == 0
    assert learning.grad is not None
    assert learning.grad.abs().max() < 1e-15


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_positive_and_a_constant_for_a_row_does_not_matter(kind):
    new, old, positive = make()
    loss = prototype_distillation(new, old, positive, **KINDS[kind])
    shifts = torch.linspace(-50, 50, len(new), dtype=torch.float64)[:, None]
    assert loss > 0
    assert torch.allclose(prototype_distillation(new + shifts, old - shifts, positive, **KINDS[kind]), loss, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(sorted(KINDS)), st.permutations(range(6)), st.permutations(range(4)))
def test_the_order_of_queries_and_classes_does_not_matter(kind, rows, columns):
    new, old, positive = make()
    place = torch.tensor(columns).argsort()  # where each class has gone
    moved = prototype_distillation(new[rows][:, columns], old[rows][:, columns], place[positive[rows]], **KINDS[kind])
    assert torch.allclose(moved, prototype_distillation(new, old, positive, **KINDS[kind]), atol=1e-12)


@pytest.mark.parametrize("value", [7.0, -1e30, math.inf, -math.inf])
def test_without_the_positive_its_logits_do_not_matter(value):
    new, old, positive = make()
    rows = torch.arange(len(new))
    other_new, other_old = new.clone(), old.clone()
    other_new[rows, positive] = value
    other_old[rows, positive] = -value
    losses, grads = [], []
    for logit, teacher in ((new, old), (other_new, other_old), (new, other_old)):
        learning = logit.clone().requires_grad_()
        losses.append(prototype_distillation(learning, teacher, positive))
        grads += torch.autograd.grad(losses[-1], learning)
    assert losses[0] == losses[1] == losses[2]
    assert torch.equal(grads[0], grads[1])
    assert torch.equal(grads[0], grads[2])
    assert (grads[0][rows, positive] == 0).all()


def test_of_two_classes_one_other_is_left_and_teaches_nothing():
    new, old, positive = make(5, 2)
    learning = new.requires_grad_()
    loss = prototype_distillation(learning, old, positive)
    loss.backward()
    assert loss == 0
    assert learning.grad is not None
    assert (learning.grad == 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_high_temperature_makes_all_equal(kind):
    new, old, positive = make()
    assert 0 <= prototype_distillation(new, old, positive, temperature=1e6, **KINDS[kind]) < 1e-10


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("temperature", [1.0, 10.0])
def test_confident_models_get_a_number_and_a_gradient(kind, dtype, temperature):
    """Squared distances of thousands: probabilities underflow, and are never clamped."""
    rows = [[0.0, -1e4, -2e4], [-1e4, 0.0, -3e4], [0.0, -50.0, -300.0], [0.0, 0.0, -1e4]]
    old = torch.tensor(rows, dtype=dtype)
    new = old.flip(1).clone().requires_grad_()
    loss = prototype_distillation(new, old, torch.tensor([0, 0, 1, 2]), temperature=temperature, **KINDS[kind])
    loss.backward()
    assert new.grad is not None
    assert loss.isfinite()
    assert new.grad.isfinite().all()
    assert new.grad.abs().max() > 0.01 / temperature, "a model that is sure and wrong still learns"


def test_the_own_class_against_all_others_of_a_sure_teacher_in_closed_form():
    """1 - p is e^-60 / (1 + e^-60): a difference from 1 would be 0, and its log no number."""
    old = torch.tensor([[0.0, -60.0]], dtype=torch.float64)
    new = torch.tensor([[0.0, -50.0]], dtype=torch.float64)
    got = float(prototype_distillation(new, old, torch.tensor([1]), **TARGET))
    assert got == pytest.approx(math.log1p(math.exp(-50)) - 10 * math.exp(-60), abs=1e-16)
    assert float(prototype_distillation(-new, old, torch.tensor([1]), **TARGET)) == pytest.approx(50)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_the_new_model_alone(kind):
    new, old, positive = make(4, 3)
    new, old = new.requires_grad_(), old.requires_grad_()
    prototype_distillation(new, old, positive, **KINDS[kind]).backward()
    assert old.grad is None
    assert torch.autograd.gradcheck(lambda x: prototype_distillation(x, old.detach(), positive, **KINDS[kind]), new)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"temperature": 0}, "temperature must be > 0, got 0"),
        ({"other_weight": 0}, "one of them > 0, got 0.0 and 0"),
        ({"target_weight": -1}, "weights must be >= 0 and one of them > 0, got -1 and 1.0"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        prototype_distillation(*make(), **arguments)


def test_logits_that_do_not_fit_are_refused():
    new, old, positive = make()
    with pytest.raises(ValueError, match=r"logits \[R, N\] of the same queries, got \[6, 4\], \[6, 3\]"):
        prototype_distillation(new, old[:, :3], positive)
    with pytest.raises(ValueError, match=r"got \[0, 4\], \[0, 4\]"):
        prototype_distillation(new[:0], old[:0], positive[:0])
    with pytest.raises(ValueError, match="an episode of one class has no others to compare with"):
        prototype_distillation(new[:, :1], old[:, :1], positive)
    with pytest.raises(ValueError, match=r"6 queries need as many positives, got \[5\]"):
        prototype_distillation(new, old, positive[:5])
    with pytest.raises(ValueError, match="positives must be columns 0 to 3, got -1 to 4"):
        prototype_distillation(new, old, torch.tensor([0, 4, 1, -1, 2, 3]))
