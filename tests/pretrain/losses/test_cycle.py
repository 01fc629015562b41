"""The cycle association loss against its loop, closed forms and what it promises."""

import math

import pytest
import torch
from torch.nn import functional

from pretrain.losses.cycle import adaptive_temperature, cycle_loss

BATCHES = [([3], [3]), ([1], [4]), ([4], [2]), ([3, 0, 1, 5, 1, 2], [2, 3, 1, 6, 0, 2]), ([1, 12, 2], [7, 3, 2])]


def random(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def unit(*shape, seed=0):
    return functional.normalize(random(*shape, seed=seed), dim=1)


def batch(x_counts, y_counts, seed=0):
    return unit(sum(x_counts), 4, seed=seed), unit(sum(y_counts), 4, seed=seed + 100), x_counts, y_counts


def loss_as_loop(x_all, y_all, x_counts, y_counts, *, eps=0.5, margin=0.5):
    """The docstring's loop."""
    total, samples = torch.zeros((), dtype=torch.float64), 0
    for x, y in zip(x_all.split(x_counts), y_all.split(y_counts), strict=True):
        short, long = (y, x) if len(x) > len(y) else (x, y)
        if len(short) == 0:
            continue
        similarity = short @ long.T
        there = (math.log(len(long) + 1) / eps * similarity).softmax(dim=1)
        back = (math.log(len(short) + 1) / eps * similarity.T).softmax(dim=1)
        cycle = there @ back
        samples += len(short)
        for i in range(len(short)):
            others = [j for j in range(len(short)) if j != i]
            if others:
                for others_i in ([cycle[i, j] for j in others], [cycle[j, i] for j in others]):
                    total = total + (torch.stack(others_i).max() - cycle[i, i] + margin).clamp_min(0)
    return total, samples


@pytest.mark.parametrize("counts", BATCHES)
@pytest.mark.parametrize("options", [{}, {"eps": 0.1, "margin": 0.3}, {"eps": 2.0, "margin": 1.0}])
def test_equals_the_loop_of_the_docstring(counts, options):
    problem = batch(*counts)
    got, samples = cycle_loss(*problem, **options)
    expected, expected_samples = loss_as_loop(*problem, **options)
    torch.testing.assert_close(got, expected)
    assert samples == expected_samples == sum(map(min, *counts))


@pytest.mark.parametrize("count", [2, 3, 8])
@pytest.mark.parametrize(("eps", "margin"), [(0.5, 0.5), (0.5, 0.9), (2.0, 0.5)])
def test_closed_form_of_perfect_features(count, eps, margin):
    """With p of coming to the right one and q to each other, home - away = (p - q) ** 2."""
    perfect = torch.eye(count, 8, dtype=torch.float64)
    favour = (count + 1) ** (1 / eps)
    lead = (favour - 1) / (favour + count - 1)
    expected = 2 * count * max(0, margin - lead**2)
    got, _ = cycle_loss(perfect, perfect.roll(1, dims=0), [count], [count], eps=eps, margin=margin)
    assert got.item() == pytest.approx(expected, abs=1e-12)
    assert (expected == 0) == (margin == eps == 0.5), "the default lets go of what is right, the others do not"


@pytest.mark.parametrize(("num_x", "num_y", "expected"), [(3, 3, 6 * 0.5), (2, 5, 4 * 0.5), (5, 2, 4 * 0.5), (1, 6, 0)])
def test_closed_form_of_equal_features(num_x, num_y, expected):
    same = unit(1, 4)
    got, samples = cycle_loss(same.expand(num_x, 4), same.expand(num_y, 4), [num_x], [num_y])
    assert got.item() == pytest.approx(expected, abs=1e-12)
    assert samples == min(num_x, num_y)


@pytest.mark.parametrize("counts", [([1, 1], [3, 1]), ([2, 0, 3], [0, 0, 0]), ([], [])])
def test_a_crop_alone_or_without_a_counterpart_has_loss_zero_and_gradient_zero(counts):
    x, y, *_ = batch(*counts)
    got, samples = cycle_loss(x.requires_grad_(), y.requires_grad_(), *counts)
    got.backward()
    assert got.item() == 0
    assert samples == sum(map(min, *counts))
    assert x.grad is not None
    assert not x.grad.any()
    assert y.grad is not None
    assert not y.grad.any()


@pytest.mark.parametrize("size", [1, 2, 5, 50])
def test_the_temperature_is_the_one_that_makes_a_lead_of_eps_likely(size):
    temperature = adaptive_temperature(torch.tensor(size, dtype=torch.float64), eps=0.5).item()
    delta = 0.5
    assert temperature == pytest.approx(math.log((delta * (size - 1) + 1) / (1 - delta)) / 0.5, abs=1e-12)
    lead = torch.zeros(size, dtype=torch.float64)
    lead[0] = 0.5
    assert (temperature * lead).softmax(dim=0)[0].item() == pytest.approx((size + 1) / (2 * size), abs=1e-12)


def test_exchanging_frames_of_different_size_changes_nothing():
    x, y, x_counts, y_counts = batch([3, 2, 1], [2, 5, 4])
    torch.testing.assert_close(cycle_loss(y, x, y_counts, x_counts)[0], cycle_loss(x, y, x_counts, y_counts)[0])


def test_exchanging_frames_of_equal_size_starts_the_cycle_on_the_other_side():
    x, y, x_counts, y_counts = batch([3], [3])
    assert abs(cycle_loss(y, x, y_counts, x_counts)[0] - cycle_loss(x, y, x_counts, y_counts)[0]) > 1e-3


def test_order_of_crops_and_pairs_and_a_rotation_change_nothing():
    x, y, x_counts, y_counts = batch([3, 1, 4], [4, 2, 2])
    expected, _ = cycle_loss(x, y, x_counts, y_counts)
    mixed_x, mixed_y = x[[2, 0, 1, 3, 7, 5, 4, 6]], y[[1, 3, 0, 2, 5, 4, 7, 6]]
    torch.testing.assert_close(cycle_loss(mixed_x, mixed_y, x_counts, y_counts)[0], expected)
    back_x, back_y = (torch.cat(value.split(n)[::-1]) for value, n in ((x, x_counts), (y, y_counts)))
    torch.testing.assert_close(cycle_loss(back_x, back_y, x_counts[::-1], y_counts[::-1])[0], expected)
    rotation = torch.linalg.qr(random(4, 4, seed=3)).Q
    torch.testing.assert_close(cycle_loss(x @ rotation, y @ rotation, x_counts, y_counts)[0], expected)


@pytest.mark.parametrize("counts", [([2, 1, 0], [3, 2, 1]), ([3], [3])])
def test_gradient_equals_finite_differences(counts):
    x, y, *_ = batch(*counts)
    assert torch.autograd.gradcheck(lambda a, b: cycle_loss(a, b, *counts)[0], (x.requires_grad_(), y.requires_grad_()))


def test_half_precision_is_summed_in_single():
    x, y, *counts = batch([3, 2], [4, 2])
    got, _ = cycle_loss(x.bfloat16(), y.bfloat16(), *counts)
    assert got.dtype == torch.float32
    expected, _ = cycle_loss(x.bfloat16().double(), y.bfloat16().double(), *counts)
    assert got.item() == pytest.approx(expected.item(), rel=1e-5)


def test_wrong_input_is_refused():
    x, y, *counts = batch([2, 1], [1, 2])
    with pytest.raises(ValueError, match=r"eps must be > 0 and margin >= 0, got 0 and 0\.5"):
        cycle_loss(x, y, *counts, eps=0)
    with pytest.raises(ValueError, match=r"got 0\.5 and -1"):
        cycle_loss(x, y, *counts, margin=-1)
    with pytest.raises(ValueError, match="counts of 2 and 2 pairs sum to 4 and 3, embeddings are 3 and 3"):
        cycle_loss(x, y, [2, 2], [1, 2])
    with pytest.raises(ValueError, match="x has 4 components and y 3"):
        cycle_loss(x, y[:, :3], *counts)
