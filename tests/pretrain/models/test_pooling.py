"""Pooling with a learned exponent: its loop, its limits, its gradient; and the norm behind it."""

import pytest
import torch
from torch import nn

from pretrain.models.pooling import EPSILON, EmbeddingNorm, GeneralisedMean


def maps(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pool(exponent):
    return GeneralisedMean(exponent).double()


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 3, 4, 2), (3, 1, 1, 5)])
@pytest.mark.parametrize("exponent", [0.7, 3.0, 6.5])
def test_it_is_the_loop_of_its_docstring(shape, exponent):
    given, expected = maps(*shape), torch.empty(shape[:2], dtype=torch.float64)
    for b in range(shape[0]):
        for c in range(shape[1]):
            powers = [max(float(x), EPSILON) ** exponent for x in given[b, c].flatten()]
            expected[b, c] = (sum(powers) / len(powers)) ** (1 / exponent)
    with torch.no_grad():
        torch.testing.assert_close(pool(exponent)(given)[:, :, 0, 0], expected, rtol=1e-6, atol=1e-12)


def test_it_is_the_mean_with_exponent_one_and_tends_to_the_maximum():
    given = maps(2, 3, 4, 2).abs()
    with torch.no_grad():
        torch.testing.assert_close(pool(1.0)(given), given.mean(dim=(2, 3), keepdim=True))
        highest = given.amax(dim=(2, 3), keepdim=True)
        gaps = [float((highest - pool(exponent)(given)).abs().max()) for exponent in (1.0, 3.0, 30.0, 3000.0)]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < 1e-2


def test_values_scale_and_their_order_does_not_matter():
    given, norm = maps(2, 3, 4, 2).abs() + 0.1, pool(3.0)
    with torch.no_grad():
        torch.testing.assert_close(norm(7 * given), 7 * norm(given))
        torch.testing.assert_close(norm(given.flip(2, 3)), norm(given))


def test_gradients_are_right_and_reach_the_exponent():
    norm = pool(3.0)
    assert torch.autograd.gradcheck(norm, (maps(1, 2, 2, 2).abs() + 0.1).requires_grad_())
    given = maps(1, 2, 2, 2).abs() + 0.1

    def at(exponent):
        return torch.func.functional_call(norm, {"p": exponent}, (given,))

    assert torch.autograd.gradcheck(at, torch.tensor([2.5], dtype=torch.float64, requires_grad=True))


def test_dead_channels_and_large_exponents_stay_finite_in_half_precision():
    norm = GeneralisedMean(20.0)
    given = torch.cat([torch.zeros(1, 1, 4, 2), torch.full((1, 1, 4, 2), 1000.0)], dim=1).bfloat16().requires_grad_()
    found = norm(given)
    assert found.dtype == torch.float32
    found.sum().backward()
    assert torch.isfinite(found).all()
    assert torch.isfinite(given.grad).all()
    assert torch.isfinite(norm.p.grad).all()


def test_the_norm_of_embeddings_is_batch_norm_without_a_bias():
    norm, plain = EmbeddingNorm(3), nn.BatchNorm1d(3)
    assert norm.bias is None
    assert set(norm.state_dict()) == set(plain.state_dict()) - {"bias"}
    given = maps(5, 3).float()
    torch.testing.assert_close(norm(given), plain(given))
    torch.testing.assert_close(norm.eval()(given), plain.eval()(given))
    assert type(nn.SyncBatchNorm.convert_sync_batchnorm(norm)) is nn.SyncBatchNorm
