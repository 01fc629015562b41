"""Part losses: the docstrings' loops, the promises 7 and 8 of METHOD.md 3.8, gradients, refusals."""

import math
from itertools import product
from typing import cast

import pytest
import torch

from lifelong.losses.parts import (
    MaskCombination,
    PartHead,
    combine_masks,
    part_classification,
    part_consistency,
    part_prediction,
    pool_parts,
)

HOW: tuple[MaskCombination, ...] = ("cross", "product", "average")


def normal(seed, *shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def maps(*shape):
    return normal(1, *shape).relu() + 0.01


def parts_and_masks(*shape):
    """New and old features, then new and old masks."""
    return normal(2, *shape).abs(), normal(3, *shape).abs(), normal(4, *shape).sigmoid(), normal(5, *shape).sigmoid()


@pytest.mark.parametrize(
    ("shape", "parts", "power"), [((2, 3, 6, 2), 3, 3.0), ((1, 2, 7, 3), 3, 1.5), ((3, 1, 5, 1), 5, 2)]
)
def test_pooling_equals_its_loop(shape, parts, power):
    batch, channels, height, width = shape
    values = normal(1, *shape).relu()  # with zeros, which the floor raises
    part = pool_parts(values, parts, power=power)
    assert part.shape == (batch, parts, channels)
    for b, p, c in product(range(batch), range(parts), range(channels)):
        rows = range(math.floor(p * height / parts), math.ceil((p + 1) * height / parts))
        raised = [max(values[b, c, h, w].item(), 1e-6) ** power for h in rows for w in range(width)]
        assert part[b, p, c].item() == pytest.approx((sum(raised) / len(raised)) ** (1 / power), rel=1e-12)


@pytest.mark.parametrize(("height", "parts"), [(6, 3), (7, 3), (5, 4), (4, 4), (5, 1)])
def test_power_one_is_adaptive_mean_pooling_and_a_large_power_the_maximum(height, parts):
    values = maps(2, 3, height, 4)
    mean = torch.nn.functional.adaptive_avg_pool2d(values, (parts, 1)).squeeze(3).transpose(1, 2)
    largest = torch.nn.functional.adaptive_max_pool2d(values, (parts, 1)).squeeze(3).transpose(1, 2)
    torch.testing.assert_close(pool_parts(values, parts, power=1.0), mean)
    pooled = pool_parts(values, parts, power=150.0)
    torch.testing.assert_close(pooled, largest, rtol=0.03, atol=0)  # 12 values: at least 12 ** (-1 / 150) of it
    assert (pooled <= largest * (1 + 1e-12)).all()


@pytest.mark.parametrize("height", [6, 7])
def test_left_and_right_are_the_same_and_upside_down_reverses_the_parts(height):
    values = maps(2, 3, height, 4)
    part = pool_parts(values, 3)
    torch.testing.assert_close(pool_parts(values.flip(3), 3), part, rtol=1e-14, atol=0)
    torch.testing.assert_close(pool_parts(values.flip(2), 3), part.flip(1), rtol=1e-14, atol=0)


def test_dead_channels_in_half_precision_have_a_finite_gradient():
    values = torch.zeros(1, 2, 4, 2, dtype=torch.float16, requires_grad=True)
    part = pool_parts(values, 2)
    torch.testing.assert_close(part, torch.full((1, 2, 2), 1e-6))
    assert torch.isfinite(torch.autograd.grad(part.sum(), values)[0]).all()


def test_the_head_masks_between_zero_and_one_and_all_of_it_learns_without_an_old_model():
    torch.manual_seed(0)
    head = PartHead(6, num_parts=3, hidden=4)
    part = parts_and_masks(2, 3, 6)[0].float()
    mask = head.mask(part)
    assert mask.shape == part.shape
    assert ((mask > 0) & (mask < 1)).all()
    loss = part_classification(head.classify(part * mask))
    assert all(gradient.abs().sum() > 0 for gradient in torch.autograd.grad(loss, list(head.parameters())))


@pytest.mark.parametrize(("images", "parts"), [(1, 1), (1, 3), (5, 4)])
def test_classification_and_prediction_equal_their_loops(images, parts):
    new, old = normal(6, images, parts, parts), normal(7, images, parts, parts)
    entropy = divergence = 0.0
    for b, p in product(range(images), range(parts)):
        log_new, log_old = new[b, p].log_softmax(0).tolist(), old[b, p].log_softmax(0).tolist()
        entropy -= log_new[p]
        divergence += sum(math.exp(lo) * (lo - ln) for ln, lo in zip(log_new, log_old, strict=True))
    assert part_classification(new).item() == pytest.approx(entropy / (images * parts), abs=1e-12)
    assert part_prediction(new, old).item() == pytest.approx(divergence / (images * parts), abs=1e-12)


def test_a_head_that_knows_nothing_costs_log_p_and_names_of_parts_do_not_matter():
    assert part_classification(torch.full((2, 5, 5), 3.0)).item() == pytest.approx(math.log(5))
    logit, order = normal(8, 4, 3, 3), torch.tensor([2, 0, 1])
    torch.testing.assert_close(part_classification(logit[:, order][:, :, order]), part_classification(logit))


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("shape", [(1, 1, 2), (3, 2, 5)])
def test_consistency_equals_its_loop(how, shape):
    new, old, new_mask, old_mask = parts_and_masks(*shape)
    total = 0.0
    for b, p in product(range(shape[0]), range(shape[1])):
        n, o = new_mask[b, p], old_mask[b, p]
        for_new, for_old = {"cross": (o, n), "product": (n * o, n * o), "average": ((n + o) / 2, (n + o) / 2)}[how]
        x, y = new[b, p] * for_new, old[b, p] * for_old
        total += ((x / x.norm() - y / y.norm()) ** 2).sum().item()
    loss = part_consistency(new, old, new_mask, old_mask, how=how)
    assert loss.item() == pytest.approx(total / (shape[0] * shape[1]), abs=1e-12)


@pytest.mark.parametrize("how", HOW)
def test_equal_models_cost_nothing_and_lengths_do_not_count(how):
    new, old, mask, old_mask = parts_and_masks(3, 2, 5)
    assert part_consistency(new, new, mask, mask, how=how).item() == 0
    assert part_prediction(new, new).item() == 0
    scaled = part_consistency(7 * new, old / 3, mask, old_mask, how=how)
    torch.testing.assert_close(scaled, part_consistency(new, old, mask, old_mask, how=how))


def test_orthogonal_parts_cost_two_and_opposite_four():
    one, other = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.0, 3.0]]])
    mask = torch.full_like(one, 0.5)
    assert part_consistency(one, other, mask, mask, how="product").item() == pytest.approx(2)
    assert part_consistency(one, -one, mask, mask, how="product").item() == pytest.approx(4)


def test_mask_product_is_symmetric_and_below_both_and_the_average_between():
    _, _, new, old = parts_and_masks(3, 2, 5)
    for how in ("product", "average"):
        one, two = combine_masks(new, old, how)
        assert torch.equal(one, two)
        assert torch.equal(one, combine_masks(old, new, how)[0])
    both = combine_masks(new, old, "product")[0]
    assert ((both > 0) & (both < 1) & (both <= new) & (both <= old)).all()
    mean = combine_masks(new, old, "average")[0]
    assert ((mean >= torch.minimum(new, old)) & (mean <= torch.maximum(new, old))).all()
    for_new, for_old = combine_masks(new, old, "cross")
    assert for_new is old
    assert for_old is new


@pytest.mark.parametrize("how", HOW)
def test_gradients_reach_the_new_features_and_logits_alone(how):
    tensors = [tensor.requires_grad_() for tensor in parts_and_masks(3, 2, 4)]
    new, old, *_ = tensors
    gradient, *others = torch.autograd.grad(part_consistency(*tensors, how=how), tensors, allow_unused=True)
    assert gradient.abs().sum() > 0
    assert others == [None] * 3
    gradient, other = torch.autograd.grad(part_prediction(new, old), (new, old), allow_unused=True)
    assert gradient.abs().sum() > 0
    assert other is None


def test_gradients_are_those_of_finite_differences():
    new, *constants = parts_and_masks(2, 3, 3)
    new.requires_grad_()
    check = torch.autograd.gradcheck
    assert check(lambda values: pool_parts(values, 3), (maps(2, 2, 5, 2).requires_grad_(),))
    assert check(part_classification, (new,))
    assert check(lambda logit: part_prediction(logit, constants[0]), (new,))
    assert check(lambda part: part_consistency(part, *constants, how="cross"), (new,))


def test_halves_of_a_batch_average_to_the_whole():
    tensors = parts_and_masks(4, 3, 3)
    for loss in (lambda *t: part_consistency(*t, how="cross"), lambda n, o, *_: part_prediction(n, o)):
        halves = [loss(*(tensor[rows] for tensor in tensors)) for rows in (slice(2), slice(2, 4))]
        torch.testing.assert_close(loss(*tensors), sum(halves) / 2)


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match=r"num_parts must be 1 to the map's 4 rows, got 5"):
        pool_parts(maps(1, 2, 4, 2), 5)
    with pytest.raises(ValueError, match="num_parts must be 1 to the map's 4 rows, got 0"):
        pool_parts(maps(1, 2, 4, 2), 0)
    with pytest.raises(ValueError, match="power must be > 0, got 0"):
        pool_parts(maps(1, 2, 4, 2), 2, power=0)
    with pytest.raises(ValueError, match=r"maps must be \[B, C, H, W\] with no empty dimension, got \[0, 2, 4, 2\]"):
        pool_parts(maps(0, 2, 4, 2), 2)
    with pytest.raises(ValueError, match="3 parts need a head of as many classes, got 4"):
        part_classification(normal(0, 2, 3, 4))
    new, old, mask, _ = parts_and_masks(2, 3, 4)
    with pytest.raises(ValueError, match=r"logits must be of one shape .* got \[\[2, 3, 4\], \[2, 3, 3\]\]"):
        part_prediction(new, old[:, :, :3])
    with pytest.raises(ValueError, match=r"parts and masks must be of one shape .* \[1, 3, 4\]\]"):
        part_consistency(new, old, mask, mask[:1], how="cross")
    with pytest.raises(ValueError, match="cross, product or average, got 'sum'"):
        combine_masks(mask, mask, cast("MaskCombination", "sum"))
