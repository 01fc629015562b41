"""The classifier's loss and the frozen classifier's: loops, limits, and where no gradient goes."""

import math

import pytest
import torch
from torch.nn import functional

from lifelong.losses.identity import identity_loss, influence_loss


def make(count, classes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logit = torch.randn(count, classes, generator=generator, dtype=torch.float64)
    return logit, torch.randint(0, classes, (count,), generator=generator)


@pytest.mark.parametrize(("count", "classes"), [(1, 2), (5, 3), (4, 9)])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.6])
def test_the_definition(count, classes, smoothing):
    logit, target = make(count, classes)
    losses = []
    for b in range(count):
        log_p = logit[b] - math.log(sum(math.exp(value) for value in logit[b]))
        losses.append(-(1 - smoothing) * log_p[target[b]] - smoothing * log_p.mean())
    assert identity_loss(logit, target, smoothing=smoothing) == pytest.approx(float(sum(losses) / count))


def test_equal_logits_give_the_log_of_the_identities():
    assert identity_loss(torch.zeros(3, 8), torch.tensor([0, 7, 3]), smoothing=0.1) == pytest.approx(math.log(8))


@pytest.mark.parametrize("scale", [1.0, 16.0])
def test_influence_is_cross_entropy_of_scaled_cosines(scale):
    embedding, target = make(4, 6)[0], torch.tensor([0, 2, 2, 1])
    frozen = make(3, 6, seed=1)[0]
    cosine = torch.stack([functional.cosine_similarity(one[None], frozen) for one in embedding])
    expected = identity_loss(scale * cosine, target, smoothing=0.0)
    assert torch.allclose(influence_loss(embedding, frozen, target, scale=scale), expected)
    assert torch.allclose(influence_loss(3 * embedding, 5 * frozen, target, scale=scale), expected), (
        "norms do not count"
    )


def test_influence_moves_the_new_model_alone():
    embedding, frozen = make(4, 6)[0].requires_grad_(), make(3, 6, seed=1)[0].requires_grad_()
    influence_loss(embedding, frozen, torch.tensor([0, 2, 2, 1]), scale=16).backward()
    assert frozen.grad is None
    assert embedding.grad is not None
    assert embedding.grad.abs().sum() > 0


def test_influence_knows_a_rotation():
    """The last model's own features are best; rotated, the same features are not: it is a point-wise term."""
    frozen = torch.eye(6, dtype=torch.float64)[:3]
    target = torch.tensor([0, 1, 2])
    rotation = torch.linalg.qr(make(6, 6)[0])[0]
    own = influence_loss(frozen, frozen, target, scale=16)
    assert own < 1e-6
    assert influence_loss(frozen @ rotation, frozen, target, scale=16) > 1
    assert influence_loss(frozen @ rotation, frozen @ rotation, target, scale=16) == pytest.approx(float(own))


def test_gradients():
    logit, target = make(3, 4)
    frozen = make(5, 4, seed=1)[0]
    assert torch.autograd.gradcheck(lambda value: identity_loss(value, target, smoothing=0.1), logit.requires_grad_())
    assert torch.autograd.gradcheck(lambda value: influence_loss(value, frozen, target, scale=4.0), logit)


def test_what_does_not_fit_is_refused():
    logit, target = make(3, 4)
    with pytest.raises(ValueError, match="targets must be 0 to 3, got 4 to 4"):
        identity_loss(logit, torch.tensor([4, 4, 4]), smoothing=0.1)
    with pytest.raises(ValueError, match="targets must be 0 to 3, got -1 to 2"):
        influence_loss(logit, logit[[0, 1, 2, 0]], torch.tensor([2, -1, 0]), scale=16)
    with pytest.raises(ValueError, match=r"0 images need as many targets and at least one, got \[0\]"):
        identity_loss(logit[:0], target[:0], smoothing=0.1)
    with pytest.raises(ValueError, match=r"3 images need as many targets and at least one, got \[2\]"):
        identity_loss(logit, target[:2], smoothing=0.1)
    with pytest.raises(ValueError, match=r"smoothing must be in \[0, 1\), got 1"):
        identity_loss(logit, target, smoothing=1)
    with pytest.raises(ValueError, match="need one size and a scale > 0, got 4, 3 and 16"):
        influence_loss(logit, torch.zeros(2, 3), target, scale=16)
