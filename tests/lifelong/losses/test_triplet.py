"""Triplets over the hardest pairs: the loop, the closed form, and what a batch without pairs gives."""

import math

import pytest
import torch
from torch.nn import functional

from lifelong.losses.triplet import batch_hard_triplet, soft_batch_hard_triplet

LOSSES = {"hinge": lambda e, y: batch_hard_triplet(e, y, margin=0.3), "soft": soft_batch_hard_triplet}


def make(identities, size=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(len(identities), size, generator=generator, dtype=torch.float64), torch.tensor(identities)


def loop(kind, embedding, identity):
    losses = []
    for b in range(len(embedding)):
        distance = [float((embedding[b] - other).norm()) for other in embedding]
        positive = [distance[j] for j in range(len(embedding)) if j != b and identity[j] == identity[b]]
        negative = [distance[j] for j in range(len(embedding)) if identity[j] != identity[b]]
        if positive and negative:
            far, near = max(positive), min(negative)
            log_sum = math.log(math.exp(far) + math.exp(near))
            losses.append(max(0.0, 0.3 + far - near) if kind == "hinge" else log_sum - 0.3 * far - 0.7 * near)
    return sum(losses) / len(losses)


@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("identities", [[1, 1, 2], [1, 1, 2, 2, 3], [4, 4, 4, 9, 9, 9, 9, 2], [1, 2, 1, 2, 1, 2]])
def test_the_definition(kind, identities):
    embedding, identity = make(identities)
    assert float(LOSSES[kind](embedding, identity)) == pytest.approx(loop(kind, embedding, identity), abs=1e-12)


def test_a_right_angle():
    embedding = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]])
    identity = torch.tensor([1, 1, 2])
    # Anchors 0 and 1: positive 3; negatives 4 and 5. Anchor 2 has no positive.
    assert batch_hard_triplet(embedding, identity, margin=2.0) == pytest.approx(((2 + 3 - 4) + 0) / 2)
    assert batch_hard_triplet(embedding, identity, margin=0.0) == 0


def test_with_one_pair_each_way_it_is_the_librarys_triplet():
    embedding, identity = make([1, 1, 2])
    expected = functional.triplet_margin_loss(embedding[[0, 1]], embedding[[1, 0]], embedding[[2, 2]], 0.3, eps=0)
    assert torch.allclose(batch_hard_triplet(embedding, identity, margin=0.3), expected)


def test_at_equal_distances_the_soft_form_is_the_log_of_two_and_the_hinge_its_margin():
    axes = torch.eye(4, dtype=torch.float64)
    identity = torch.tensor([1, 1, 2, 2])
    assert soft_batch_hard_triplet(axes, identity, target=0.9) == pytest.approx(math.log(2))
    assert batch_hard_triplet(axes, identity, margin=0.3) == pytest.approx(0.3)


@pytest.mark.parametrize("kind", LOSSES)
def test_a_feature_that_is_no_number_shows(kind):
    embedding, identity = make([1, 1, 2, 2])
    embedding[0, 0] = torch.nan
    assert LOSSES[kind](embedding, identity).isnan()


def test_the_soft_form_is_least_where_it_says():
    """At a gap of log(target / (1 - target)) between the two distances."""

    def at(gap):
        embedding = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0 + gap]], dtype=torch.float64)
        return float(soft_batch_hard_triplet(embedding, torch.tensor([1, 1, 2]), target=0.7))

    best = math.log(0.7 / 0.3)
    entropy = -0.7 * math.log(0.7) - 0.3 * math.log(0.3)
    assert at(best) >= entropy - 1e-12
    assert at(best) < min(at(best - 0.5), at(best + 2))


@pytest.mark.parametrize("kind", LOSSES)
def test_moves_and_the_order_of_images_do_not_matter(kind):
    embedding, identity = make([1, 1, 2, 2, 3, 3])
    expected = LOSSES[kind](embedding, identity)
    rotation = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1)))[0]
    order = torch.tensor([5, 2, 0, 3, 1, 4])
    assert torch.allclose(LOSSES[kind](embedding @ rotation + 3, identity), expected)
    assert torch.allclose(LOSSES[kind](embedding[order], identity[order]), expected)
    assert torch.allclose(LOSSES[kind](embedding, 7 - identity), expected)


@pytest.mark.parametrize("kind", LOSSES)
def test_near_images_far_from_the_origin_are_told_apart_in_single_precision(kind):
    embedding, identity = make([1, 1, 2, 2])
    far = (1000 + embedding).float()
    assert LOSSES[kind](far, identity).item() == pytest.approx(LOSSES[kind](far.double(), identity).item(), rel=1e-5)


@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("identities", [[], [1], [1, 1, 1], [1, 2, 3]])
def test_without_pairs_it_is_zero_and_has_a_gradient(kind, identities):
    embedding = make(identities)[0].requires_grad_()
    loss = LOSSES[kind](embedding, torch.tensor(identities, dtype=torch.int64))
    loss.backward()
    assert loss == 0
    assert (embedding.grad == 0).all()


@pytest.mark.parametrize("kind", LOSSES)
def test_gradients(kind):
    embedding, identity = make([1, 1, 2, 2, 3], size=3)
    assert torch.autograd.gradcheck(lambda e: LOSSES[kind](e, identity), embedding.requires_grad_())
    same = torch.zeros(4, 3, requires_grad=True)
    LOSSES[kind](same, torch.tensor([1, 1, 2, 2])).backward()
    assert same.grad is not None
    assert same.grad.isfinite().all(), "equal images have no direction to go, and no NaN"


def test_what_does_not_fit_is_refused():
    embedding, identity = make([1, 1, 2])
    with pytest.raises(ValueError, match=r"3 embeddings need as many identities, got \[2\]"):
        batch_hard_triplet(embedding, identity[:2], margin=0.3)
    with pytest.raises(ValueError, match="margin must be >= 0, got -1"):
        batch_hard_triplet(embedding, identity, margin=-1)
    with pytest.raises(ValueError, match=r"target must be in \(0.5, 1\), got 0.5"):
        soft_batch_hard_triplet(embedding, identity, target=0.5)
    with pytest.raises(ValueError, match=r"target must be in \(0.5, 1\), got 1"):
        soft_batch_hard_triplet(embedding, identity, target=1)
