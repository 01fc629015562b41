"""Losses on QAConv scores: fixture F-B3, the docstrings' loops, limits, gradients, and what is refused."""

import math

import pytest
import torch

from lifelong.matching import class_memory_loss, hard_triplet

SCORE = torch.tensor([[9, 3, 5, 1], [3, 9, 2, 0], [5, 2, 9, 4], [1, 0, 4, 9]], dtype=torch.float64)
IDENTITY = torch.tensor([0, 0, 1, 1])
LOGIT, TARGET = torch.tensor([[2.0, -1, 0]], dtype=torch.float64), torch.tensor([0])


def random_scores(seed, *shape):
    return 3 * torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_the_published_programs_numbers():
    assert hard_triplet(SCORE, IDENTITY).item() == pytest.approx((18 + 15 + 17 + 13) / 4)
    every, two = torch.tensor([True] * 3), torch.tensor([True, True, False])
    assert class_memory_loss(LOGIT, TARGET, every).item() == pytest.approx(0.1977484155, abs=1e-10)
    assert class_memory_loss(LOGIT, TARGET, two).item() == pytest.approx(0.0244616203, abs=1e-10)


@pytest.mark.parametrize(("size", "classes", "gamma"), [(1, 1, 2.0), (5, 9, 2.0), (4, 3, 0.0), (7, 2, 1.5)])
def test_class_memory_equals_its_loop(size, classes, gamma):
    score, target = random_scores(size, size, classes), torch.arange(size) % classes
    valid = torch.arange(classes) % 3 != 1
    loss = 0.0
    for b in range(size):
        for c in range(classes):
            p = 1 / (1 + math.exp(-score[b, c].item()))
            own = c == target[b]
            loss += valid[c].item() * (-math.log(p) * (1 - p) ** gamma if own else -math.log(1 - p) * p**gamma)
    assert class_memory_loss(score, target, valid, gamma=gamma).item() == pytest.approx(loss / size, abs=1e-12)


@pytest.mark.parametrize("identities", [[0, 0, 1, 1], [0, 1, 1, 2, 2, 2, 3], [5, 5, 4], [0, 0]])
def test_hard_triplet_equals_its_loop(identities):
    size = len(identities)
    score, losses = random_scores(size, size, size), []
    for b in range(size):
        positive = [score[b, j].item() for j in range(size) if j != b and identities[j] == identities[b]]
        negative = [score[b, j].item() for j in range(size) if identities[j] != identities[b]]
        if positive and negative:
            losses.append(max(0.0, 2 - (min(positive) - max(negative))))
    expected = sum(losses) / len(losses) if losses else 0.0
    assert hard_triplet(score, torch.tensor(identities), margin=2.0).item() == pytest.approx(expected, abs=1e-12)


def test_triplet_is_zero_when_every_positive_wins_by_the_margin_and_blind_to_a_constant():
    wide = torch.where(IDENTITY[:, None] == IDENTITY, 20.0, 3.0)
    assert hard_triplet(wide, IDENTITY).item() == 0
    torch.testing.assert_close(hard_triplet(SCORE + 100, IDENTITY), hard_triplet(SCORE, IDENTITY))


def test_nothing_to_learn_is_zero_with_a_gradient_of_zero():
    score = SCORE.clone().requires_grad_()
    loss = hard_triplet(score, torch.arange(4)) + class_memory_loss(score, IDENTITY, torch.zeros(4, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0
    assert (score.grad == 0).all()


def test_gradients():
    valid = torch.tensor([True, False, True, True])
    score = random_scores(3, 4, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda s: class_memory_loss(s, IDENTITY, valid), (score,))
    assert torch.autograd.gradcheck(lambda s: hard_triplet(s, IDENTITY), (score,))


def test_wrong_input_is_refused():
    every = torch.tensor([True] * 3)
    with pytest.raises(ValueError, match=r"scores \[1, 3\] need as many targets and classes, got \[2\] and \[3\]"):
        class_memory_loss(LOGIT, torch.tensor([0, 1]), every)
    with pytest.raises(ValueError, match=r"targets 0 to 2, got 2.0 and \[3\]"):
        class_memory_loss(LOGIT, torch.tensor([3]), every)
    with pytest.raises(ValueError, match=r"3 identities need scores \[3, 3\] and a margin >= 0, got \[4, 4\] and 16.0"):
        hard_triplet(SCORE, IDENTITY[:3])
