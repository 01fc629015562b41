"""Distillation: the loops, the limits, and what relations alone cannot do (METHOD.md 3.8, 4)."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from lifelong.losses.compatibility import cross_model_compatibility
from lifelong.losses.distillation import logit_distillation, relation_distillation


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def softmax(values):
    exponentials = [math.exp(value) for value in values]
    return [value / sum(exponentials) for value in exponentials]


def divergence(p, q):
    return sum(a * (math.log(a) - math.log(b)) for a, b in zip(p, q, strict=True))


@pytest.mark.parametrize(("count", "old", "new"), [(1, 2, 2), (3, 4, 6), (5, 3, 3)])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_logits_by_the_definition(count, old, new, temperature):
    old_logit, new_logit = normal(count, old), normal(count, new, seed=1)
    terms = [
        divergence(softmax(old_logit[b] / temperature), softmax(new_logit[b][:old] / temperature)) for b in range(count)
    ]
    expected = temperature**2 * sum(terms) / count
    assert logit_distillation(new_logit, old_logit, temperature=temperature) == pytest.approx(expected)


@pytest.mark.parametrize(("count", "size"), [(2, 3), (5, 4)])
@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_relations_by_the_definition(count, size, temperature):
    old, new = normal(count, size), normal(count, size + 1, seed=1)

    def relations(feature, b):
        others = [j for j in range(count) if j != b]
        return softmax(
            [float(functional.cosine_similarity(feature[b], feature[j], dim=0)) / temperature for j in others]
        )

    expected = sum(divergence(relations(old, b), relations(new, b)) for b in range(count)) / count
    assert relation_distillation(new, old, temperature=temperature) == pytest.approx(expected)


def test_agreement_is_zero():
    logit = normal(4, 5)
    assert logit_distillation(logit, logit, temperature=2.0) == pytest.approx(0, abs=1e-12)
    wider = torch.cat([logit + 3, normal(4, 2, seed=1)], dim=1)
    assert logit_distillation(wider, logit, temperature=2.0) == pytest.approx(0, abs=1e-12), "new identities are free"
    assert relation_distillation(2 * logit, logit, temperature=0.1) == pytest.approx(0, abs=1e-12)


def test_closed_forms():
    logit = torch.tensor([[math.log(3), 0.0]], dtype=torch.float64)  # p = 3/4, 1/4
    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert logit_distillation(torch.zeros_like(logit), logit, temperature=1.0) == pytest.approx(expected)
    angle = math.acos(0.1 * math.log(3))
    old = torch.tensor([[1, 0, 0], [math.cos(angle), math.sin(angle), 0], [0, 0, 1]], dtype=torch.float64)
    # Images 0 and 1 resemble each other by p = 3/4; image 2 resembles both alike, as all do in the new model.
    assert relation_distillation(torch.eye(3), old, temperature=0.1) == pytest.approx(2 / 3 * expected)


def test_hot_logits_are_compared_by_squares():
    """Its limit at a high temperature, on logits of mean 0: half the mean squared error (Hinton et al., 2015)."""
    new, old = (x - x.mean(dim=1, keepdim=True) for x in (normal(4, 5), normal(4, 5, seed=1)))
    expected = functional.mse_loss(new, old).item() / 2
    assert logit_distillation(new, old, temperature=1e4) == pytest.approx(expected, rel=1e-3)


def test_no_gradient_reaches_the_last_model():
    new, old = normal(4, 5).requires_grad_(), normal(4, 5, seed=1).requires_grad_()
    (logit_distillation(new, old, temperature=2.0) + relation_distillation(new, old, temperature=0.1)).backward()
    assert old.grad is None
    assert new.grad is not None
    assert new.grad.abs().sum() > 0


def test_gradients():
    old = normal(4, 3, seed=1)
    assert torch.autograd.gradcheck(
        lambda v: logit_distillation(v, old, temperature=2.0), normal(4, 5).requires_grad_()
    )
    assert torch.autograd.gradcheck(
        lambda v: relation_distillation(v, old, temperature=0.3), normal(4, 5).requires_grad_()
    )


def test_a_single_image_has_no_relations():
    new = normal(1, 4).requires_grad_()
    value = relation_distillation(new, normal(1, 4), temperature=0.1)
    value.backward()
    assert value == 0
    assert (new.grad == 0).all()


def rank1(query, gallery, identity):
    """Share of queries whose nearest gallery image, itself left out, shows the same person."""
    similarity = query @ gallery.T
    similarity.fill_diagonal_(-2)
    return float((identity[similarity.argmax(dim=1)] == identity).double().mean())


def test_relations_do_not_make_models_compatible():
    """A rotated model: relations are kept to the last digit, and no new query finds its person in the old gallery."""
    identity = torch.from_numpy(np.repeat(np.arange(40), 8))
    old = functional.normalize(normal(40, 16)[identity] + 0.3 * normal(320, 16, seed=1), dim=1)
    new = old @ torch.linalg.qr(normal(16, 16, seed=2))[0]
    assert relation_distillation(new, old, temperature=0.1) == pytest.approx(0, abs=1e-10)
    assert rank1(old, old, identity) > 0.95
    assert rank1(new, new, identity) == rank1(old, old, identity), "the new model alone is as good"
    assert rank1(new, old, identity) < 0.1, "chance is 7 / 319"
    stage = torch.ones_like(identity)
    aligned, rotated = (
        cross_model_compatibility(x, identity, old, identity, stage, temperature=0.1) for x in (old, new)
    )
    assert rotated > aligned + 3, "the compatibility loss sees it"


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"logits \[3, 4\] must be of as many images as \[3, 5\] and of at least"):
        logit_distillation(normal(3, 4), normal(3, 5), temperature=2.0)
    with pytest.raises(ValueError, match=r"logits \[0, 4\] must be of as many images as \[0, 4\]"):
        logit_distillation(normal(0, 4), normal(0, 4), temperature=2.0)
    with pytest.raises(ValueError, match=r"the temperature > 0, got 0"):
        logit_distillation(normal(3, 4), normal(3, 4), temperature=0)
    with pytest.raises(ValueError, match=r"both models need as many images, and temperature > 0, got 3, 2 and 0\.1"):
        relation_distillation(normal(3, 4), normal(2, 4), temperature=0.1)
