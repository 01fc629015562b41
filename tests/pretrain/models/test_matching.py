"""The matching branch: its loop, the authors' numbers, the form for searches, symmetry, gradients, what is refused."""

import numpy as np
import pytest
import torch

from evaluation.qaconv.scores import scores
from pretrain.models.config import ModelConfig
from pretrain.models.encoder import make_encoder
from pretrain.models.matching import MatchingBranch, matching_branch

pytestmark = pytest.mark.usefixtures("one_thread")

WIDE = ModelConfig(architecture="tiny", embedding_size=8, height=16, width=40)


def vectors(*rows):
    """A batch of one map of two locations, one above the other."""
    return torch.tensor(rows, dtype=torch.float64).T[None, :, :, None]


P, G, FLAT = vectors((1, 0), (0, 1)), vectors((1, 0), (0.6, 0.8)), vectors((0.6, 0.8), (0.6, 0.8))


def normal(seed, *shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def maps(seed, count, channels=5, height=2, width=3):
    return torch.nn.functional.normalize(normal(seed, count, channels, height, width), dim=1)


def trained(seed=0, *, channels=5, height=2, width=3):
    """A branch in which no number is where it began; with an odd seed, scores fall where matches grow."""
    branch = MatchingBranch(4, channels=channels, height=height, width=width).double()
    with torch.no_grad():
        branch.neck.weight.copy_(normal(seed + 9, *branch.neck.weight.shape))
        branch.fc.weight += normal(seed, *branch.fc.weight.shape)
        branch.fc.bias += 0.7
        for number, norm in enumerate((branch.bn, branch.logit_bn)):
            norm.weight.fill_(1.5 * (-1) ** (seed * number))
            norm.bias.fill_(-0.4)
            norm.running_mean.fill_(0.2)
            norm.running_var.fill_(0.3 + number)
    return branch


def score_as_loop(branch, query, gallery):
    """The docstring's loop in double precision; statistics of the call itself if the branch is in training."""
    query, gallery = (part.flatten(2).transpose(1, 2).tolist() for part in (query, gallery))

    def dot(a, b):
        return sum(x * y for x, y in zip(a, b, strict=True))

    best = np.empty((len(query), len(gallery), 2, len(query[0])))
    for q, one in enumerate(query):
        for g, other in enumerate(gallery):
            best[q, g, 0] = [max(dot(a, b) for b in other) for a in one]
            best[q, g, 1] = [max(dot(a, b) for a in one) for b in other]

    def norm(layer, values):
        mean, variance = layer.running_mean.item(), layer.running_var.item()
        if branch.training:
            mean, variance = values.mean(), values.var()
        return (values - mean) / np.sqrt(variance + 1e-5) * layer.weight.item() + layer.bias.item()

    m, n = np.moveaxis(norm(branch.bn, best), 2, 0)
    weight, bias = branch.fc.weight[0].detach().numpy(), branch.fc.bias.item()
    return norm(branch.logit_bn, (m @ weight + bias) + (n @ weight + bias))


@pytest.mark.parametrize("is_training", [True, False])
@pytest.mark.parametrize(("queries", "gallery", "height", "width"), [(1, 2, 2, 3), (4, 3, 3, 1), (2, 5, 1, 1)])
def test_scores_equal_the_loop(queries, gallery, height, width, is_training):
    sides = maps(1, queries, 5, height, width), maps(2, gallery, 5, height, width)
    branch = trained(height=height, width=width).train(is_training)
    expected = score_as_loop(branch, *sides)
    np.testing.assert_allclose(branch.score(*sides).detach().numpy(), expected, atol=1e-12)


def test_the_published_programs_numbers():
    branch = MatchingBranch(4, channels=2, height=2, width=1).double().eval()
    for pair, expected in [((P, G), 1.7999820002), ((G, P), 1.7999820002), ((P, P), 1.9999800002), ((P, -P), 0)]:
        assert branch.score(*pair).item() == pytest.approx(expected, abs=1e-10)
    branch.fc.weight.data = torch.tensor([[0.9, 0.1]], dtype=torch.float64)
    for pair, raw in [((P, G), 1.96), ((P, G.flip(2)), 1.80), ((P, FLAT), 1.42), ((FLAT, P), 1.42)]:
        assert branch.score(*pair).item() * (1 + 1e-5) == pytest.approx(raw, abs=1e-10)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_in_evaluation_it_is_qaconv_with_the_folded_head(seed):
    branch, query, gallery = trained(seed).float().eval(), maps(1, 3).float(), maps(2, 7).float()
    rows = [part.flatten(2).transpose(1, 2).numpy() for part in (query, gallery)]
    expected = scores(*rows, branch.head())
    with torch.no_grad():
        np.testing.assert_allclose(branch.score(query, gallery).numpy(), expected, atol=1e-5)
        np.testing.assert_allclose(branch.score(query, gallery, chunk=2).numpy(), expected, atol=1e-5)


def test_a_branch_begins_as_the_mean_of_the_best_matches():
    branch = MatchingBranch(4, channels=5, height=2, width=3)
    np.testing.assert_allclose(branch.head().query_weight, 1 / 6, rtol=1e-6)
    assert branch.head().gallery_weight is None
    assert branch.head().shift == 0


@pytest.mark.parametrize("is_training", [True, False])
def test_scores_are_symmetric(is_training):
    one, other = maps(1, 4), maps(2, 3)
    branch = trained().train(is_training)
    square = branch.score(one, one)
    torch.testing.assert_close(square, square.T, rtol=0, atol=1e-12)
    torch.testing.assert_close(branch.score(one, other), branch.score(other, one).T, rtol=0, atol=1e-12)
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(branch.score(one[order], one), square[order], rtol=0, atol=1e-12)


def test_a_place_means_the_same_in_all_maps():
    branch, query, gallery = trained().eval(), maps(1, 3), maps(2, 4)
    expected = branch.score(query, gallery)
    branch.fc.weight.data = branch.fc.weight.view(2, 3).flip(1).reshape(1, 6)
    torch.testing.assert_close(branch.score(query.flip(3), gallery.flip(3)), expected, rtol=0, atol=1e-12)
    assert not torch.allclose(branch.score(query.flip(3), gallery), expected)


@pytest.mark.parametrize("chunk", [1, 2, 3, 99])
def test_a_chunk_changes_neither_scores_nor_gradients_nor_statistics(chunk):
    found = []
    for size in (None, chunk):
        branch, query, gallery = trained(), maps(1, 5).requires_grad_(), maps(2, 4).requires_grad_()
        score = branch.score(query, gallery, chunk=size)
        (score * normal(3, 5, 4)).sum().backward()
        found.append([score, query.grad, gallery.grad, branch.fc.weight.grad, branch.bn.running_mean])
    for whole, parts in zip(*found, strict=True):
        torch.testing.assert_close(parts, whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize("chunk", [None, 1])
def test_gradients(chunk):
    branch, query, gallery = trained(), maps(1, 2).requires_grad_(), maps(2, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda q, g: branch.score(q, g, chunk=chunk), (query, gallery))
    trunk = normal(3, 2, 4, 2, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: branch.score(branch(x), gallery), (trunk,))
    branch.zero_grad()
    branch.score(branch(trunk), gallery).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for name, parameter in branch.named_parameters() if name != "fc.bias")
    assert branch.fc.bias.grad.item() == pytest.approx(0, abs=1e-9)  # the last norm takes it out


def test_the_neck_gives_unit_vectors_in_float32():
    branch, trunk = trained().float(), normal(1, 2, 4, 2, 3).float()
    found = branch(trunk)
    assert (found.shape, found.dtype) == ((2, 5, 2, 3), torch.float32)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(2, 2, 3))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = branch(trunk)
        score = branch.score(found, found)
    assert rounded.dtype == score.dtype == torch.float32
    torch.testing.assert_close(rounded, found, rtol=0, atol=0.02)
    torch.testing.assert_close(rounded.norm(dim=1), torch.ones(2, 2, 3))


@pytest.mark.parametrize("config", [WIDE, ModelConfig(architecture="resnet18", embedding_size=8, height=64, width=32)])
def test_a_branch_fits_its_encoder(config):
    images = torch.randint(0, 256, (2, 3, config.height, config.width), generator=torch.Generator().manual_seed(0))
    branch = matching_branch(config, channels=6, seed=0)
    _, trunk = make_encoder(config, seed=0).with_raw_map(images.to(torch.uint8))
    found = branch(trunk)
    assert found.shape == (2, 6, branch.height, branch.width)
    assert branch.score(found, found).shape == (2, 2)


def test_weights_follow_from_the_seed_and_the_global_generator_is_left_alone():
    before = torch.random.get_rng_state()
    first = matching_branch(WIDE, channels=6, seed=3).state_dict()
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(2)
    again, other = (matching_branch(WIDE, channels=6, seed=seed).state_dict() for seed in (3, 4))
    assert all(torch.equal(again[name], value) for name, value in first.items())
    assert not torch.equal(other["neck.weight"], first["neck.weight"])


def test_what_is_learned_separates_two_looks():
    """Ten steps on maps of two people, each seen twice with some noise."""
    branch = trained().float()
    person = normal(1, 2, 4, 2, 3).repeat_interleave(2, dim=0).float()
    trunk = person + 0.5 * normal(2, 4, 4, 2, 3).float()
    is_same = torch.tensor([[1.0, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]])
    optimizer, losses = torch.optim.SGD(branch.parameters(), lr=0.5), []
    for _ in range(10):
        found = branch(trunk)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(branch.score(found, found), is_same)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_wrong_input_is_refused():
    branch = trained()
    with pytest.raises(ValueError, match=r"gallery maps must be \[>= 1, 5, 2, 3\], got \[4, 5, 3, 2\]"):
        branch.score(maps(1, 2), maps(1, 4, 5, 3, 2))
    with pytest.raises(ValueError, match=r"query maps must be \[>= 1, 5, 2, 3\], got \[0, 5, 2, 3\]"):
        branch.score(maps(1, 0), maps(1, 4))
    with pytest.raises(ValueError, match="the score of 1 pair has no variance"):
        branch.score(maps(1, 1), maps(1, 1))
    with pytest.raises(ValueError, match="chunk must be >= 1, got 0"):
        branch.score(maps(1, 2), maps(1, 2), chunk=0)
