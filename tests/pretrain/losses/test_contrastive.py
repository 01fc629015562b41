"""The loss against loops and closed forms; numbers in names are the promises of METHOD.md 5.4."""

import itertools
import math

import pytest
import torch
from torch.nn import functional

from pretrain.association.reliability import confidence_reliability
from pretrain.losses.batch import divided
from pretrain.losses.contrastive import (
    candidate_mask,
    effective_share,
    far_apart,
    log_probability,
    mask_close_in_pair,
    pair_log_probabilities,
    pair_weights,
    reliability_weighted,
)

# Rows of this process, rows of all, and where the former begin among the latter.
SHAPES = [(1, 1, 0), (1, 4, 2), (3, 3, 0), (3, 7, 4), (0, 3, 1), (5, 12, 3)]


def random(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def unit(*shape, seed=0):
    return functional.normalize(random(*shape, seed=seed), dim=1)


def labels(count):
    """Frame pair and video of each row: frame pairs 2k and 2k + 1 are two moments of video k."""
    pair = torch.arange(count) // 2
    return pair, pair // 2


def random_mask(rows, columns, offset):
    mask = random(rows, columns, seed=9) > 0
    mask[torch.arange(rows), torch.arange(rows) + offset] = True
    return mask


def both_directions(x, y, pair, video, *, temperature=0.1, mask_same_pair_cross=None):
    return pair_log_probabilities(
        x,
        y,
        x,
        y,
        pair,
        pair,
        video,
        video,
        offset=0,
        temperature=temperature,
        mask_same_pair_cross=mask_same_pair_cross,
    )


def weighted(loss, reliability, *, beta, normalisation):
    """`reliability_weighted` of one process."""
    return divided(*reliability_weighted(loss, reliability, beta=beta, normalisation=normalisation))


def symmetric_loss(x, y, *, temperature=0.1, reliability=None, beta=0.0, normalisation="self"):
    """The loss of pairs that are all from different videos."""
    number = torch.arange(len(x))
    forward, backward = both_directions(x, y, number, number, temperature=temperature)
    reliability = torch.ones(len(x)) if reliability is None else reliability
    return weighted(-0.5 * (forward + backward), reliability, beta=beta, normalisation=normalisation)


@pytest.mark.parametrize(("rows", "columns", "offset"), SHAPES)
def test_candidates_equal_the_loop_of_the_docstring(rows, columns, offset):
    pair, video = labels(columns)
    pair_P, video_P = pair[offset : offset + rows], video[offset : offset + rows]
    mask = candidate_mask(pair_P, pair, video_P, video, offset=offset)
    assert mask.shape == (rows, columns)
    for p in range(rows):
        for g in range(columns):
            is_own = g == offset + p
            assert mask[p, g] == (is_own or pair[g] == pair_P[p] or video[g] != video_P[p])


def test_candidates_leave_out_other_moments_of_the_video_only():
    pair, video = torch.tensor([0, 0, 1, 2]), torch.tensor([7, 7, 7, 8])
    mask = candidate_mask(pair[:2], pair, video[:2], video, offset=0)
    assert mask.tolist() == [[True, True, False, True]] * 2


def test_without_other_videos_only_the_own_frame_pair_is_left():
    pair, video = torch.tensor([0, 0, 1, 2]), torch.tensor([7, 7, 7, 8])
    mask = candidate_mask(pair[:2], pair, video[:2], video, offset=0, other_videos=False)
    assert mask.tolist() == [[True, True, False, False]] * 2


def test_far_moments_of_the_same_video_become_candidates():
    pair, video = torch.tensor([0, 1, 2, 3]), torch.tensor([7, 7, 7, 8])
    seconds = torch.tensor([10.0, 29.9, 30.0, 99.0])
    far = far_apart(video, video, seconds, seconds, gap_seconds=20.0)
    for p in range(4):
        for g in range(4):
            assert far[p, g] == (video[p] == video[g] and abs(seconds[p] - seconds[g]) >= 20.0)
    assert far[0].tolist() == [False, False, True, False]
    mask = candidate_mask(pair, pair, video, video, offset=0, other_videos=False, far_PG=far)
    assert mask.tolist()[0] == [True, False, True, False]


@pytest.mark.parametrize(("rows", "columns", "offset"), SHAPES)
@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_log_probability_equals_the_loop_of_the_docstring(rows, columns, offset, temperature):
    similarity, mask = random(rows, columns).tanh(), random_mask(rows, columns, offset)
    got = log_probability(similarity, mask, offset=offset, temperature=temperature)
    assert got.shape == (rows,)
    for p in range(rows):
        candidates = [similarity[p, g].item() / temperature for g in range(columns) if mask[p, g]]
        expected = similarity[p, offset + p].item() / temperature - math.log(sum(math.exp(c) for c in candidates))
        assert got[p].item() == pytest.approx(expected, abs=1e-12)


def of_own_rows(x, y, pair, video, own, *, temperature, margin):
    """Both directions for one process's rows among those of all."""
    rows = (x[own], y[own], x, y, pair[own], pair, video[own], video)
    return pair_log_probabilities(*rows, offset=own.start, temperature=temperature, mask_same_pair_cross=margin)


@pytest.mark.parametrize(("rows", "columns", "offset"), SHAPES)
@pytest.mark.parametrize("margin", [None, 0.5])
def test_both_directions_equal_loops(rows, columns, offset, margin):
    x, y, temperature = unit(columns, 4, seed=1), unit(columns, 4, seed=2), 0.2
    pair, video = labels(columns)
    own = slice(offset, offset + rows)
    got = of_own_rows(x, y, pair, video, own, temperature=temperature, margin=margin)
    for direction, query, key in ((0, x, y), (1, y, x)):
        for p in range(rows):
            i = offset + p
            logit = {g: (query[i] @ key[g]).item() for g in range(columns)}
            kept = [g for g in logit if g == i or pair[g] == pair[i] or video[g] != video[i]]
            if margin is not None:
                kept = [g for g in kept if g == i or pair[g] != pair[i] or logit[g] <= logit[i] - margin]
            expected = logit[i] / temperature - math.log(sum(math.exp(logit[g] / temperature) for g in kept))
            assert got[direction][p].item() == pytest.approx(expected, abs=1e-12)


def test_single_precision_similarities_are_not_lost_in_half_precision():
    similarity = torch.tensor([[0.5, 0.25]], dtype=torch.bfloat16)
    got = log_probability(similarity, torch.ones(1, 2, dtype=torch.bool), offset=0, temperature=0.1)
    assert got.dtype == torch.float32
    assert got.item() == pytest.approx(-math.log(1 + math.exp(-2.5)), rel=1e-6)


def test_without_masks_it_is_the_cross_entropy_of_the_library():
    similarity = random(4, 9)
    got = log_probability(similarity, torch.ones(4, 9, dtype=torch.bool), offset=3, temperature=0.5)
    expected = functional.cross_entropy(similarity / 0.5, torch.arange(4) + 3, reduction="none")
    torch.testing.assert_close(-got, expected)


@pytest.mark.parametrize(("rows", "columns", "offset"), [(1, 1, 0), (3, 5, 2)])
def test_gradient_of_log_probability(rows, columns, offset):
    similarity = random(rows, columns).requires_grad_()
    mask = random_mask(rows, columns, offset)
    assert torch.autograd.gradcheck(
        lambda value: log_probability(value, mask, offset=offset, temperature=0.3), similarity
    )


@pytest.mark.parametrize("margin", [None, 0.5])
def test_gradient_of_both_directions(margin):
    pair, video = labels(5)
    own = slice(2, 5)

    def function(x, y):
        return of_own_rows(x, y, pair, video, own, temperature=0.3, margin=margin)

    inputs = (unit(5, 3, seed=1).requires_grad_(), unit(5, 3, seed=2).requires_grad_())
    assert torch.autograd.gradcheck(function, inputs)


@pytest.mark.parametrize("normalisation", ["self", "mean"])
@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("count", [1, 6])
def test_weighting_equals_the_loop_of_the_docstring(normalisation, beta, count):
    loss, reliability = random(count).abs(), random(count, seed=1).sigmoid()
    total = weight = 0.0
    for p in range(count):
        w = reliability[p].item() ** beta
        total += w * loss[p].item()
        weight += w
    expected = total / weight if normalisation == "self" else total / count
    assert weighted(loss, reliability, beta=beta, normalisation=normalisation).item() == pytest.approx(expected)


# Property 3.
@pytest.mark.parametrize("normalisation", ["self", "mean"])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_3_beta_zero_is_symmetric_infonce(normalisation, count):
    x, y = unit(count, 5, seed=1), unit(count, 5, seed=2)
    target = torch.arange(count)
    similarity = x @ y.T / 0.2
    infonce = (functional.cross_entropy(similarity, target) + functional.cross_entropy(similarity.T, target)) / 2
    # A reliability of 0 still weighs 1.
    reliability = random(count, seed=3).clamp(0, 1)
    got = symmetric_loss(x, y, temperature=0.2, reliability=reliability, normalisation=normalisation)
    torch.testing.assert_close(got, infonce)


# Property 4.
@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0, 3.0])
def test_4_self_normalisation_ignores_the_scale_of_the_reliability(beta):
    x, y = unit(5, 4, seed=1), unit(5, 4, seed=2)
    plain = symmetric_loss(x, y)
    torch.testing.assert_close(symmetric_loss(x, y, reliability=torch.full((5,), 0.3), beta=beta), plain)
    reliability = random(5, seed=3).sigmoid()
    torch.testing.assert_close(
        symmetric_loss(x, y, reliability=0.2 * reliability, beta=beta),
        symmetric_loss(x, y, reliability=reliability, beta=beta),
    )


# Property 5.
def test_5_a_large_beta_leaves_the_most_reliable_pair():
    loss, reliability = random(4).abs(), torch.tensor([0.3, 0.9, 0.7, 0.1], dtype=torch.float64)
    assert weighted(loss, reliability, beta=200.0, normalisation="self").item() == pytest.approx(loss[1].item())


# Property 6.
def test_6_the_share_of_a_wrong_partner_falls_with_beta():
    x = torch.eye(6, dtype=torch.float64)
    y = functional.normalize(x + 0.3 * random(6, 6), dim=1)
    y[0] = functional.normalize(x[3] + 0.3 * x[0], dim=0)
    number = torch.arange(6)
    forward, backward = both_directions(x, y, number, number)
    for reliability in (confidence_reliability(forward, backward), (x * y).sum(dim=1).clamp(0, 1)):
        weights = [pair_weights(reliability, beta=beta) for beta in (0.0, 0.5, 1.0, 2.0)]
        shares = [(weight[0] / weight.sum()).item() for weight in weights]
        assert shares[0] == pytest.approx(1 / 6)
        assert all(later < earlier for earlier, later in itertools.pairwise(shares))


# Property 7.
@pytest.mark.parametrize("normalisation", ["self", "mean"])
def test_7_no_gradient_goes_through_the_weights(normalisation):
    x, y = unit(5, 4, seed=1).requires_grad_(), unit(5, 4, seed=2)
    number = torch.arange(5)
    forward, backward = both_directions(x, y, number, number)
    loss = -0.5 * (forward + backward)
    reliability = (forward + backward).exp()  # with gradient: the weighting must drop it
    (got,) = torch.autograd.grad(
        weighted(loss, reliability, beta=1.5, normalisation=normalisation), x, retain_graph=True
    )
    weight = reliability.detach() ** 1.5
    denominator = weight.sum() if normalisation == "self" else 5
    single = [torch.autograd.grad(value, x, retain_graph=True)[0] for value in loss]
    torch.testing.assert_close(got, sum(w * g for w, g in zip(weight, single, strict=True)) / denominator)
    assert not confidence_reliability(forward, backward).requires_grad


def generalised_cross_entropy(similarity, q):
    probability = (similarity / 0.5).softmax(dim=1).diagonal()
    return ((1 - probability**q) / q).mean()


# Property 7, the identity with generalised cross-entropy: conf, mean, one direction.
@pytest.mark.parametrize("q", [0.3, 0.7, 1.0])
def test_7_conf_and_mean_in_one_direction_have_the_gradient_of_generalised_cross_entropy(q):
    similarity = random(4, 4).requires_grad_()
    mask = torch.ones(4, 4, dtype=torch.bool)
    forward = log_probability(similarity, mask, offset=0, temperature=0.5)
    reliability = confidence_reliability(forward, torch.zeros_like(forward))
    (got,) = torch.autograd.grad(weighted(-forward, reliability, beta=q, normalisation="mean"), similarity)
    (expected,) = torch.autograd.grad(generalised_cross_entropy(similarity, q), similarity)
    torch.testing.assert_close(got, expected)
    step = 1e-6
    for index in range(16):
        shift = torch.zeros(16, dtype=torch.float64).index_fill(0, torch.tensor(index), step).view(4, 4)
        above = generalised_cross_entropy(similarity.detach() + shift, q)
        below = generalised_cross_entropy(similarity.detach() - shift, q)
        assert got.flatten()[index].item() == pytest.approx(((above - below) / (2 * step)).item(), abs=1e-9)


# Property 8.
@pytest.mark.parametrize("count", [1, 2, 8])
@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_8_closed_forms(count, temperature):
    perfect = torch.eye(count, 8, dtype=torch.float64)
    expected = math.log(1 + (count - 1) * math.exp(-1 / temperature))
    assert symmetric_loss(perfect, perfect, temperature=temperature).item() == pytest.approx(expected, abs=1e-12)
    same = unit(1, 8).expand(count, 8)
    assert symmetric_loss(same, same, temperature=temperature).item() == pytest.approx(math.log(count), abs=1e-12)


# Property 9; with the matching in it: test_step.
def test_9_a_joint_rotation_changes_nothing():
    x, y = unit(6, 4, seed=1), unit(6, 4, seed=2)
    rotation = torch.linalg.qr(random(4, 4, seed=3)).Q
    torch.testing.assert_close(symmetric_loss(x @ rotation, y @ rotation), symmetric_loss(x, y))


# Property 10; with the matching in it: test_step.
def test_10_swapping_the_frames_swaps_the_directions():
    x, y = unit(6, 4, seed=1), unit(6, 4, seed=2)
    forward, backward = both_directions(x, y, *labels(6))
    swapped_forward, swapped_backward = both_directions(y, x, *labels(6))
    torch.testing.assert_close(swapped_forward, backward)
    torch.testing.assert_close(swapped_backward, forward)


# Property 10.
def test_10_a_single_pair_has_loss_zero_and_gradient_zero():
    x, y = unit(1, 4, seed=1).requires_grad_(), unit(1, 4, seed=2).requires_grad_()
    loss = symmetric_loss(x, y)
    loss.backward()
    assert loss.item() == 0
    assert not x.grad.any()
    assert not y.grad.any()


@pytest.mark.parametrize("normalisation", ["self", "mean"])
@pytest.mark.parametrize("count", [0, 3])
def test_no_pair_or_no_weight_anywhere_is_zero_with_zero_gradient(normalisation, count):
    loss = random(count).requires_grad_()
    total = weighted(loss, torch.zeros(count), beta=1.0, normalisation=normalisation)
    total.backward()
    assert total.item() == 0
    assert loss.grad.tolist() == [0.0] * count


# Property 11.
def test_11_a_masked_column_has_no_influence_and_exactly_no_gradient():
    pair, video = torch.tensor([0, 0, 1, 2]), torch.tensor([0, 0, 1, 0])
    similarity = torch.tensor([[0.5, 0.45, 0.2, 0.6], [0.1, 0.5, 0.3, 0.4]], dtype=torch.float64, requires_grad=True)
    mask = candidate_mask(pair[:2], pair, video[:2], video, offset=0)
    used = mask_close_in_pair(mask, similarity, pair[:2], pair, offset=0, margin=0.1)
    assert used.tolist() == [[True, False, True, False], [True, True, True, False]]
    got = log_probability(similarity, used, offset=0, temperature=0.1)
    got.sum().backward()
    assert (similarity.grad[~used] == 0).all()
    assert (similarity.grad[used] != 0).all()
    changed = similarity.detach().masked_fill(~used, 123.0)
    torch.testing.assert_close(log_probability(changed, used, offset=0, temperature=0.1), got.detach(), rtol=0, atol=0)


# Property 11.
def test_11_close_negatives_of_other_frame_pairs_stay():
    pair = torch.arange(3)
    similarity = torch.tensor([[0.5, 0.5, 0.5]])
    mask = torch.ones(1, 3, dtype=torch.bool)
    assert mask_close_in_pair(mask, similarity, pair[1:2], pair, offset=1, margin=0.3).all()


def test_effective_share_counts_pairs_that_take_part():
    def share(weight):
        return effective_share(weight.sum(), weight.square().sum(), torch.tensor(float(len(weight)))).item()

    assert share(torch.full((5,), 0.2)) == pytest.approx(1)
    assert share(torch.tensor([0.0, 0, 0.3, 0])) == pytest.approx(1 / 4)
    assert share(torch.zeros(0)) == 0


def test_wrong_input_is_refused():
    x, number = unit(3, 4), torch.arange(3)
    with pytest.raises(ValueError, match=r"temperature must be > 0, got 0\.0"):
        both_directions(x, x, number, number, temperature=0.0)
    with pytest.raises(ValueError, match=r"x \(3, 4\) and y \(2, 4\) must agree"):
        both_directions(x, x[:2], number, number)
    with pytest.raises(ValueError, match=r"gathered x \(3, 3\) and y \(3, 3\)"):
        pair_log_probabilities(x, x, x[:, :3], x[:, :3], number, number, number, number, offset=0, temperature=0.1)
