"""What watches the representation, against loops and closed forms."""

import math

import pytest
import torch
from torch.nn import functional

from pretrain.training import health
from pretrain.training.health import (
    alignment,
    effective_rank,
    embedding_deviation,
    reliability_histogram,
    uniformity,
)

WATCHED = [effective_rank, embedding_deviation, uniformity]


def unit(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return functional.normalize(torch.randn(*shape, generator=generator, dtype=torch.float64), dim=1)


def cross(size, repeat=1):
    """Both ends of every axis: the most even spread, with mean zero."""
    axes = torch.eye(size, dtype=torch.float64)
    return torch.cat([axes, -axes]).repeat(repeat, 1)


def rank_as_loop(embedding):
    values = torch.linalg.svdvals(embedding - embedding.mean(dim=0)).tolist()
    values = [value for value in values if value > 2**-20 * embedding.square().sum().sqrt().item()]
    return math.exp(-sum(value / sum(values) * math.log(value / sum(values)) for value in values))


@pytest.mark.parametrize("shape", [(2, 5), (5, 9), (9, 5), (6, 6), (40, 1)])
def test_effective_rank_equals_the_loop_with_singular_values(shape):
    embedding = torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert effective_rank(embedding).item() == pytest.approx(rank_as_loop(embedding), rel=1e-6)


@pytest.mark.parametrize("size", [1, 2, 7])
def test_closed_forms_of_the_effective_rank(size):
    assert effective_rank(cross(size)).item() == pytest.approx(size)
    two_places = functional.one_hot(torch.arange(8) % 2, 6).double()
    assert effective_rank(two_places).item() == pytest.approx(1)
    # Without the mean, the corners of a simplex span one dimension less.
    assert effective_rank(torch.eye(size + 1)).item() == pytest.approx(size)


def test_a_common_direction_is_no_spread():
    shifted = functional.pad(0.1 * cross(4), (0, 1), value=0.995)
    assert effective_rank(shifted).item() == pytest.approx(4)


@pytest.mark.parametrize("number", [3, 600])
def test_at_collapse_everything_says_so_despite_rounding(number):
    noise = 1e-8 * torch.randn(number, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for embedding in (unit(1, 64).repeat(number, 1).float(), unit(1, 64) + noise):
        assert effective_rank(embedding).item() == 0
        assert embedding_deviation(embedding).item() == pytest.approx(0, abs=1e-6)
        assert uniformity(embedding).item() == pytest.approx(0, abs=1e-5)


def test_closed_forms_of_the_deviation():
    assert embedding_deviation(cross(5, repeat=3)).item() == pytest.approx(1)
    assert embedding_deviation(unit(20_000, 16)).item() == pytest.approx(1, abs=0.01)
    assert embedding_deviation(torch.tensor([[1.0], [-1.0], [1.0], [-1.0]])).item() == pytest.approx(1)


def test_deviation_equals_the_loop():
    embedding = unit(7, 3)
    deviations = [
        math.sqrt(sum((value - sum(column) / 7) ** 2 for value in column) / 7) for column in embedding.T.tolist()
    ]
    assert embedding_deviation(embedding).item() == pytest.approx(math.sqrt(3) * sum(deviations) / 3)


def test_alignment_is_the_mean_squared_distance():
    x, y = unit(5, 3, seed=1), unit(5, 3, seed=2)
    expected = sum(((a - b) ** 2).sum().item() for a, b in zip(x, y, strict=True)) / 5
    assert alignment(x, y).item() == pytest.approx(expected)
    assert alignment(x, x).item() == 0
    assert alignment(x, -x).item() == pytest.approx(4)


@pytest.mark.parametrize("rows_at_once", [1, 3, 4, 100])
def test_uniformity_equals_the_loop_however_it_is_cut(rows_at_once, monkeypatch):
    monkeypatch.setattr(health, "ROWS_AT_ONCE", rows_at_once)
    embedding = unit(9, 3)
    values = [math.exp(-2 * ((embedding[i] - embedding[j]) ** 2).sum().item()) for i in range(9) for j in range(i)]
    assert uniformity(embedding).item() == pytest.approx(math.log(sum(values) / len(values)))


def test_closed_forms_of_the_uniformity():
    assert uniformity(torch.tensor([[1.0, 0], [-1, 0]])).item() == pytest.approx(-8)
    assert uniformity(torch.eye(6)).item() == pytest.approx(-4)
    assert uniformity(unit(500, 300)).item() == pytest.approx(-4, abs=0.05)


def test_rotation_and_order_change_nothing():
    embedding, rotation = unit(30, 6), torch.linalg.qr(unit(6, 6, seed=4)).Q
    order = torch.randperm(30, generator=torch.Generator().manual_seed(0))
    for watched in (effective_rank, uniformity):
        torch.testing.assert_close(watched(embedding[order] @ rotation), watched(embedding))
    torch.testing.assert_close(embedding_deviation(embedding[order]), embedding_deviation(embedding))


def test_histogram_counts_every_pair_once_and_the_ends_inside():
    assert reliability_histogram(torch.tensor([0.0, 0.05, 0.1, 0.55, 0.999, 1.0])).tolist() == [
        2,
        1,
        0,
        0,
        0,
        1,
        0,
        0,
        0,
        2,
    ]
    assert reliability_histogram(torch.tensor([0.2, 0.5, 0.7]), bins=2).tolist() == [1, 2]
    assert reliability_histogram(torch.zeros(0), bins=3).tolist() == [0, 0, 0]
    assert reliability_histogram(torch.tensor([torch.nan, 0.3]), bins=1).tolist() == [1]
    with pytest.raises(ValueError, match="bins must be >= 1, got 0"):
        reliability_histogram(torch.ones(2), bins=0)


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("watched", WATCHED)
def test_too_few_embeddings_are_not_a_number_and_no_crash(watched, number):
    assert watched(torch.ones(number, 1)).isnan()
    assert alignment(torch.ones(0, 4), torch.ones(0, 4)).isnan()


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize("watched", WATCHED)
def test_a_diverged_model_is_not_a_number_and_no_crash(watched, bad):
    embedding = unit(6, 4)
    embedding[2, 1] = bad
    assert watched(embedding).isnan()


@pytest.mark.parametrize("watched", WATCHED)
def test_scalars_without_gradient_in_single_precision_from_half(watched):
    embedding = unit(40, 8).bfloat16().requires_grad_()
    got = watched(embedding)
    assert got.shape == ()
    assert got.dtype == torch.float32
    assert not got.requires_grad
    assert got.item() == pytest.approx(watched(embedding.double()).item(), rel=1e-5)


def test_alignment_refuses_sides_of_different_shape():
    with pytest.raises(ValueError, match=r"x \(3, 4\) and y \(2, 4\) must agree"):
        alignment(torch.ones(3, 4), torch.ones(2, 4))
