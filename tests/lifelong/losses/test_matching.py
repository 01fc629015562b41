"""Losses on QAConv scores, and the memory of classes: METHOD.md 5.7's numbers, loops, limits, gradients, refusals."""

import math

import pytest
import torch

from lifelong.losses.matching import ClassMemory, class_memory_loss, hard_triplet, pairwise_matching_loss
from pretrain.models.matching import MatchingBranch

pytestmark = pytest.mark.usefixtures("one_thread")

SCORE = torch.tensor([[9, 3, 5, 1], [3, 9, 2, 0], [5, 2, 9, 4], [1, 0, 4, 9]], dtype=torch.float64)
IDENTITY = torch.tensor([0, 0, 1, 1])
LOGIT, TARGET = torch.tensor([[2.0, -1, 0]], dtype=torch.float64), torch.tensor([0])


def random_scores(seed, *shape):
    return 3 * torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def random_maps(seed, count):
    return torch.nn.functional.normalize(random_scores(seed, count, 3, 2, 2), dim=1)


def make_branch(seed=0):
    """A branch whose weights of locations differ."""
    branch = MatchingBranch(5, channels=3, height=2, width=2).double()
    branch.fc.weight.data = random_scores(seed, 1, 4).softmax(dim=1)
    return branch


def filled(num_classes=5, targets=(1, 4, 1), seed=1):
    memory = ClassMemory(num_classes, 3, 2, 2).double()
    memory.update(random_maps(seed, len(targets)), torch.tensor(targets))
    return memory


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


@pytest.mark.parametrize("identities", [[0, 0, 1, 1], [0, 1, 1, 2, 2], [7]])
def test_the_pairwise_loss_equals_its_loop(identities):
    size, loss = len(identities), 0.0
    score = random_scores(size, size, size)
    for b in range(size):
        for j in range(size):
            p = 1 / (1 + math.exp(-score[b, j].item()))
            loss += -math.log(p) if identities[j] == identities[b] else -math.log(1 - p)
    got = pairwise_matching_loss(score, torch.tensor(identities))
    assert got.item() == pytest.approx(loss / size, abs=1e-12)


def test_the_pairwise_loss_of_strangers_is_that_of_a_memory_of_them_without_focus():
    score, everybody = random_scores(4, 6, 6), torch.arange(6)
    expected = class_memory_loss(score, everybody, everybody >= 0, gamma=0.0)
    torch.testing.assert_close(pairwise_matching_loss(score, everybody), expected)
    assert pairwise_matching_loss(torch.zeros(6, 6), everybody).item() == pytest.approx(6 * math.log(2))


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
    assert torch.autograd.gradcheck(lambda s: pairwise_matching_loss(s, IDENTITY), (score,))


@pytest.mark.parametrize("targets", [[1, 4, 1, 0, 1], [2], [], [3, 3, 3, 3]])
def test_the_memory_keeps_the_latest_map_of_each_class(targets):
    memory, maps = filled(), random_maps(2, len(targets)).requires_grad_()
    expected, valid = memory.map_CKHW.clone(), memory.valid_C.clone()
    for b, target in enumerate(targets):
        expected[target], valid[target] = maps[b].detach(), True
    memory.update(maps, torch.tensor(targets, dtype=torch.long))
    assert torch.equal(memory.map_CKHW, expected)
    assert torch.equal(memory.valid_C, valid)
    assert not memory.map_CKHW.requires_grad
    again = ClassMemory(5, 3, 2, 2).double()
    again.load_state_dict(memory.state_dict())
    assert torch.equal(again.map_CKHW, expected)


@pytest.mark.parametrize("chunk", [1, 2, 16])
@pytest.mark.parametrize("is_training", [True, False])
def test_the_memory_s_loss_is_that_of_the_scores_with_the_classes_seen(chunk, is_training):
    memory, maps, target = filled(targets=(1, 4, 2)), random_maps(3, 4), torch.tensor([1, 0, 4, 4])
    seen = [1, 2, 4]
    score = torch.full((4, 5), torch.nan, dtype=torch.float64)
    score[:, seen] = make_branch().train(is_training).score(maps, memory.map_CKHW[seen])
    loss = 0.0
    for b in range(4):
        for c in seen:
            p = torch.sigmoid(score[b, c]).item()
            loss += -math.log(p) * (1 - p) ** 2 if c == target[b] else -math.log(1 - p) * p**2
    got = memory(make_branch().train(is_training), maps, target, chunk=chunk)
    assert got.item() == pytest.approx(loss / 4, abs=1e-12)


def test_gradients_reach_the_batch_and_the_branch_and_may_come_after_the_update():
    gradients = []
    for is_updated in (False, True):
        memory, branch, maps = filled(targets=(1, 4, 2)), make_branch(), random_maps(3, 4).requires_grad_()
        loss = memory(branch, maps, torch.tensor([1, 0, 4, 4]), chunk=2)
        if is_updated:
            memory.update(maps, torch.tensor([1, 0, 4, 4]))
        loss.backward()
        gradients.append([maps.grad, branch.fc.weight.grad, branch.bn.weight.grad, branch.logit_bn.bias.grad])
        assert memory.map_CKHW.grad is None
    assert all(gradient.abs().sum() > 0 for gradient in gradients[0])
    assert all(torch.equal(*pair) for pair in zip(*gradients, strict=True))


def test_an_empty_memory_is_zero_with_a_gradient_of_zero_everywhere():
    branch, maps = make_branch(), random_maps(3, 2).requires_grad_()
    loss = ClassMemory(5, 3, 2, 2).double()(branch, maps, torch.tensor([1, 0]))
    loss.backward()
    assert loss.item() == 0
    assert all((tensor.grad == 0).all() for tensor in (maps, *branch.parameters()))
    assert branch.bn.num_batches_tracked == 0


def test_wrong_input_is_refused():
    every = torch.tensor([True] * 3)
    with pytest.raises(ValueError, match=r"scores \[1, 3\] need as many targets and classes, got \[2\] and \[3\]"):
        class_memory_loss(LOGIT, torch.tensor([0, 1]), every)
    with pytest.raises(ValueError, match=r"targets must be 0 to 2, got \[3\]"):
        class_memory_loss(LOGIT, torch.tensor([3]), every)
    with pytest.raises(ValueError, match=r"3 identities need scores \[3, 3\] and a margin >= 0, got \[4, 4\] and 16.0"):
        hard_triplet(SCORE, IDENTITY[:3])
    with pytest.raises(ValueError, match=r"gamma must be >= 0, got -1"):
        class_memory_loss(LOGIT, TARGET, every, gamma=-1)
    with pytest.raises(ValueError, match=r"0 identities need scores \[0, 0\] and at least one, got \[0, 0\]"):
        pairwise_matching_loss(torch.zeros(0, 0), torch.zeros(0, dtype=torch.long))
    memory = filled()
    with pytest.raises(ValueError, match=r"targets must be 0 to 4, got \[0, 5\]"):
        memory.update(random_maps(1, 2), torch.tensor([0, 5]))
    with pytest.raises(ValueError, match=r"2 targets need maps \[2, 3, 2, 2\], got \[1, 3, 2, 2\]"):
        memory.update(random_maps(1, 1), torch.tensor([0, 1]))
