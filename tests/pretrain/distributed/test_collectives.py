"""Two gloo ranks with different data, and different amounts of it, equal one process with all of it."""

import pytest
import torch
from torch import nn

from pretrain.distributed import collectives
from pretrain.distributed.batch_norm import SynchronisedBatchNorm, SynchronisedEmbeddingNorm, synchronise_batch_norm
from pretrain.distributed.collectives import gather_with_gradient
from pretrain.models.pooling import EmbeddingNorm

ROWS = {"different": [2, 3], "none on rank 1": [4, 0], "none on rank 0": [0, 1], "none at all": [0, 0]}
IMAGES = [5, 3]
CONSTANTS = torch.tensor([300.1, 77.7, -1234.5])


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def precise(*values):
    """In double precision another order of sums, as of another processor, cannot be seen."""
    return torch.tensor(values, dtype=torch.float64)


def part(values, counts, rank):
    start = sum(counts[:rank])
    return values[start : start + counts[rank]].clone().requires_grad_()


def weight_of(rank, count):
    """What the ranks' losses do with the gathered rows; different on each."""
    return random(count, 3, seed=10 + rank)


def gathers(rank):
    found = {}
    for name, counts in ROWS.items():
        own = part(random(sum(counts), 3), counts, rank)
        agreed, numbers = collectives.counts_over_ranks(own.device, len(own), rank)
        assert numbers == [0, 1]
        gathered = gather_with_gradient(own, agreed)
        (gathered.square() * weight_of(rank, len(gathered))).sum().backward()
        found[name] = {"counts": agreed, "gathered": gathered.detach(), "gradient": own.grad}
    return found


def norm_example(kind):
    """Images far from zero in one channel, and a batch norm with values of its own."""
    images = random(sum(IMAGES), 3, 4, 2) * precise(1.0, 3.0, 0.2).view(3, 1, 1)
    images = images + torch.tensor([0.0, -2.0, 30.0]).view(3, 1, 1)
    norm = kind(3, momentum=0.3).double()
    norm.weight.data, norm.bias.data = precise(0.5, 1.0, 2.0), precise(1.0, 0.0, -1.0)
    return images, norm


def neck_example(kind):
    """Embeddings far from zero in one component, and a norm with values of its own."""
    norm = kind(3, momentum=0.3).double()
    norm.weight.data = precise(0.5, 1.0, 2.0)
    embeddings = random(sum(IMAGES), 3) * precise(1.0, 3.0, 0.2)
    return embeddings + torch.tensor([0.0, -2.0, 30.0]), norm


def normalise(norm, images, direction):
    outputs = []
    for _ in range(2):  # twice: the second starts from other running statistics
        images.grad = None
        norm.zero_grad()
        output = norm(images)
        (output.square() * direction).sum().backward()
        outputs.append(output.detach())
    return {
        "output": outputs[-1],
        "input gradient": images.grad,
        "weight gradient": norm.weight.grad,
        "bias gradient": None if norm.bias is None else norm.bias.grad,
        "running mean": norm.running_mean,
        "running variance": norm.running_var,
        "batches": norm.num_batches_tracked,
        "evaluation": norm.eval()(images.detach()).detach(),
    }


def on_rank(rank, world_size):
    images, norm = norm_example(SynchronisedBatchNorm)
    direction = random(sum(IMAGES), 3, 4, 2, seed=3)
    embeddings, neck = neck_example(SynchronisedEmbeddingNorm)
    way = random(sum(IMAGES), 3, seed=4)
    return {
        "place": [collectives.rank(), collectives.world_size(), world_size],
        "sum": collectives.sum_over_ranks(random(2, seed=rank)),
        "gathers": gathers(rank),
        "norm of constants": SynchronisedBatchNorm(3)(CONSTANTS.view(3, 1, 1).expand(IMAGES[rank], 3, 4, 2)).detach(),
        "norm": normalise(norm, part(images, IMAGES, rank), part(direction, IMAGES, rank).detach()),
        "neck": normalise(neck, part(embeddings, IMAGES, rank), part(way, IMAGES, rank).detach()),
    }


@pytest.fixture(scope="module")
def ranks(run_ranks):
    return run_ranks(on_rank, 2)


def test_ranks_know_their_place(ranks):
    assert [found["place"] for found in ranks] == [[0, 2, 2], [1, 2, 2]]


def test_sums_are_over_both_ranks(ranks):
    expected = random(2, seed=0) + random(2, seed=1)
    for found in ranks:
        torch.testing.assert_close(found["sum"], expected)


@pytest.mark.parametrize("name", ROWS)
def test_gather_joins_unequal_counts_in_the_order_of_ranks(ranks, name):
    counts = ROWS[name]
    everything = random(sum(counts), 3)
    for found in ranks:
        assert found["gathers"][name]["counts"] == counts
        torch.testing.assert_close(found["gathers"][name]["gathered"], everything, rtol=0, atol=0)


@pytest.mark.parametrize("name", ROWS)
def test_gather_returns_the_gradient_of_both_losses_to_the_owner_of_a_row(ranks, name):
    counts = ROWS[name]
    everything = random(sum(counts), 3).requires_grad_()
    (everything.square() * (weight_of(0, sum(counts)) + weight_of(1, sum(counts)))).sum().backward()
    torch.testing.assert_close(torch.cat([found["gathers"][name]["gradient"] for found in ranks]), everything.grad)


def test_batch_norm_over_two_ranks_equals_batch_norm_of_the_whole_batch(ranks):
    images, norm = norm_example(nn.BatchNorm2d)
    direction = random(sum(IMAGES), 3, 4, 2, seed=3)
    expected = normalise(norm, images.requires_grad_(), direction)
    first, second = (found["norm"] for found in ranks)
    close = {"rtol": 1e-9, "atol": 1e-9}
    for name in ("output", "input gradient", "evaluation"):
        torch.testing.assert_close(torch.cat([first[name], second[name]]), expected[name], **close)
    for name in ("weight gradient", "bias gradient"):
        torch.testing.assert_close(first[name] + second[name], expected[name], **close)
    for name in ("running mean", "running variance", "batches"):
        torch.testing.assert_close(first[name], expected[name])
        torch.testing.assert_close(second[name], expected[name])


def test_the_norm_of_embeddings_over_two_ranks_equals_that_of_the_whole_batch(ranks):
    embeddings, norm = neck_example(EmbeddingNorm)
    way = random(sum(IMAGES), 3, seed=4)
    expected = normalise(norm, embeddings.requires_grad_(), way)
    first, second = (found["neck"] for found in ranks)
    close = {"rtol": 1e-9, "atol": 1e-9}
    for name in ("output", "input gradient", "evaluation"):
        torch.testing.assert_close(torch.cat([first[name], second[name]]), expected[name], **close)
    name = "weight gradient"
    torch.testing.assert_close(first[name] + second[name], expected[name], **close)
    for name in ("running mean", "running variance", "batches"):
        torch.testing.assert_close(first[name], expected[name])
        torch.testing.assert_close(second[name], expected[name])


def test_batch_norm_of_constant_channels_far_from_zero_is_near_zero(ranks):
    # Where the variance is a difference of large squares, this is NaN.
    for found in ranks:
        assert found["norm of constants"].abs().max() < 0.1


def test_one_process_needs_no_group():
    value = random(3, 2).requires_grad_()
    assert (collectives.rank(), collectives.world_size()) == (0, 1)
    assert collectives.counts_over_ranks(value.device, 3, 5) == [[3], [5]]
    assert gather_with_gradient(value, [3]) is value
    summed = collectives.sum_over_ranks(value)
    assert not summed.requires_grad
    assert summed.data_ptr() != value.data_ptr()
    images, norm = norm_example(SynchronisedBatchNorm)
    torch.testing.assert_close(norm(images), norm_example(nn.BatchNorm2d)[1](images), rtol=1e-10, atol=1e-10)


def test_every_batch_norm_is_replaced_and_keeps_its_tensors():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.Sequential(nn.BatchNorm2d(4, eps=0.1, momentum=0.5)), nn.BatchNorm2d(4)
    )
    model[2].eval()
    tensors = {name: tensor.data_ptr() for name, tensor in model.state_dict().items()}
    assert synchronise_batch_norm(model) is model
    assert [type(module) for module in (model[0], model[1][0], model[2])] == [
        nn.Conv2d,
        SynchronisedBatchNorm,
        SynchronisedBatchNorm,
    ]
    assert {name: tensor.data_ptr() for name, tensor in model.state_dict().items()} == tensors
    assert (model[1][0].eps, model[1][0].momentum) == (0.1, 0.5)
    assert [model[1][0].training, model[2].training] == [True, False]


def test_the_norm_of_embeddings_is_replaced_and_norms_of_one_dimension_are_not():
    model = nn.Sequential(EmbeddingNorm(4), nn.BatchNorm1d(4), nn.InstanceNorm2d(4, affine=True), nn.LayerNorm(4))
    weight = model[0].weight
    synchronise_batch_norm(model)
    kinds = [SynchronisedEmbeddingNorm, nn.BatchNorm1d, nn.InstanceNorm2d, nn.LayerNorm]
    assert [type(module) for module in model] == kinds
    assert model[0].weight is weight
    assert model[0].bias is None
