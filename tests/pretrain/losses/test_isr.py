"""The objective: a batch's loss against loops of the whole method, and two ranks against the whole batch."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from pretrain.association.assignment import LOST, match
from pretrain.data.batch import Batch
from pretrain.losses.config import LossConfig
from pretrain.losses.isr import batch_loss
from tests.pretrain.scenes import batch_of

SCENES = {
    "different": [([2, 3, 1], [3, 2, 1], [0, 1, 0]), ([4, 0], [2, 3], [2, 1])],
    "no matches on rank 1": [([2, 1], [2, 2], [0, 1]), ([0, 2], [3, 0], [1, 0])],
    "no matches on rank 0": [([0], [2], [3]), ([3, 1], [3, 1], [3, 5])],
    "no matches at all": [([2, 0], [0, 0], [0, 1]), ([0], [3], [2])],
}
"""For two ranks, as in `tests.pretrain.scenes`."""
LOSSES = {
    f"{reliability}, {normalisation}, margin {margin}": LossConfig(
        temperature=0.2,
        reliability_temperature=0.3,
        reliability=reliability,
        normalisation=normalisation,
        mask_same_pair_cross=margin,
    )
    for reliability in ("conf", "sim", "mutual", "margin", "track")
    for normalisation, margin in (("self", None), ("mean", None), ("self", 0.2))
}
LOSSES |= {
    f"gap {gap} s, other videos {others}": LossConfig(
        temperature=0.2, other_video_negatives=others, same_video_gap_seconds=gap
    )
    for gap, others in ((10.0, True), (14.0, False), (50.0, False), (None, False))
}
BETA = 1.5
TERMS = ("loss", "total", "count", "reliability_mean", "similarity_mean", "accuracy", "effective_share")
VIEWS = ("itself", "another")
"""What is judged: the very embeddings that learn, or those of another view, with other matches."""


def sides(scene, rank, view, dtype):
    """Unit vectors of one rank's crops; the second frames' are noisy copies of the first frames', in another order."""
    generator = torch.Generator().manual_seed(1000 * VIEWS.index(view) + rank)
    x_counts, y_counts, _ = scene[rank]
    people = torch.randn(8, 6, generator=generator)

    def side(counts):
        rows = [torch.randperm(8, generator=generator)[:count] for count in counts]
        shown = people[torch.cat(rows)]
        return functional.normalize(shown + 0.7 * torch.randn(shown.shape, generator=generator), dim=1)

    return [side(counts).to(dtype) for counts in (x_counts, y_counts)]


def embedding_of(scene, ranks, view="itself", dtype=torch.float32):
    """The embeddings of some ranks as one batch: all first frames' crops, then all second frames'."""
    parts = [sides(scene, rank, view, dtype) for rank in ranks]
    return torch.cat([part[side] for side in (0, 1) for part in parts]).requires_grad_()


def judged_of(embedding, scene, ranks, view):
    return embedding if view == "itself" else embedding_of(scene, ranks, view, embedding.dtype)


def on_rank(rank, world_size):
    found = {}
    for (scene_name, scene), (name, config), view in itertools.product(SCENES.items(), LOSSES.items(), VIEWS):
        embedding = embedding_of(scene, [rank])
        judged = judged_of(embedding, scene, [rank], view)
        terms = batch_loss(embedding, judged, batch_of(scene, [rank]), config, beta=BETA)
        terms.loss.backward()
        numbers = {part: getattr(terms, part).detach() for part in TERMS}
        is_judged_left_alone = view == "itself" or judged.grad is None
        found[f"{scene_name}, {name}, {view}"] = {
            **numbers,
            "gradient": embedding.grad,
            "is_judged_left_alone": is_judged_left_alone,
        }
    return found


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def ranks(run_ranks):
    return run_ranks(on_rank, 2)


# A batch of one process.


def loop(embedding, judged, batch, config, beta):
    """METHOD.md 3.1, 4 and 5 in loops over float64 numbers."""
    start = sum(batch.x_counts)
    x, y = np.split(embedding.detach().double().numpy(), [start])
    judged_x, judged_y = np.split(judged.detach().double().numpy(), [start])
    pairs, reliability = [], []  # (crop of x, crop of y, frame pair, video)
    x_start = y_start = 0
    for f, (n, m) in enumerate(zip(batch.x_counts, batch.y_counts, strict=True)):
        s = np.array([[judged_x[x_start + i] @ judged_y[y_start + j] for j in range(m)] for i in range(n)]).reshape(
            n, m
        )
        for i, j in zip(*match(s), strict=True):
            pairs.append((x_start + i, y_start + j, f, int(batch.video[f])))
            row, column = (
                np.exp(s[i] / config.reliability_temperature),
                np.exp(s[:, j] / config.reliability_temperature),
            )
            others = [*np.delete(s[i], j), *np.delete(s[:, j], i)]
            lead = s[i, j] - max(others, default=-math.inf)
            reliability.append(
                {
                    "mutual": row[j] / row.sum() * column[i] / column.sum(),
                    "sim": min(1.0, max(0.0, s[i, j])),
                    "margin": 1 / (1 + math.exp(-lead / config.reliability_temperature)),
                    "track": 1.0 if i == j else 0.0 if i < m or j < n else 0.5,  # as `batch_of` has them followed
                }
            )
        x_start, y_start = x_start + n, y_start + m
    total = weight_sum = weight_square_sum = reliability_sum = sure = 0.0
    for p, (own_x, own_y, own_pair, own_video) in enumerate(pairs):
        logs = []
        for query, keys in ((x[own_x], [y[q[1]] for q in pairs]), (y[own_y], [x[q[0]] for q in pairs])):
            similarity = [query @ key for key in keys]
            kept = []
            for q, (_, _, pair, video) in enumerate(pairs):
                is_close = config.mask_same_pair_cross is not None and pair == own_pair
                is_close = is_close and similarity[q] > similarity[p] - config.mask_same_pair_cross
                is_elsewhere = config.other_video_negatives and video != own_video
                apart = abs(float(batch.seconds[pair] - batch.seconds[own_pair]))
                is_far = config.same_video_gap_seconds is not None and apart >= config.same_video_gap_seconds
                is_far = is_far and video == own_video
                if q == p or ((pair == own_pair or is_elsewhere or is_far) and not is_close):
                    kept.append(math.exp(similarity[q] / config.temperature))
            logs.append(similarity[p] / config.temperature - math.log(sum(kept)))
        r = math.exp(logs[0] + logs[1]) if config.reliability == "conf" else reliability[p][config.reliability]
        w = r**beta
        total += w * -0.5 * (logs[0] + logs[1])
        weight_sum, weight_square_sum = weight_sum + w, weight_square_sum + w * w
        reliability_sum, sure = reliability_sum + r, sure + (min(logs) > math.log(0.5))
    count = len(pairs)
    return {
        "loss": total / (weight_sum if config.normalisation == "self" else count),
        "total": total / (weight_sum if config.normalisation == "self" else count),
        "count": count,
        "reliability_mean": reliability_sum / count,
        "similarity_mean": sum(x[p[0]] @ y[p[1]] for p in pairs) / count,
        "accuracy": sure / count,
        "effective_share": weight_sum**2 / (count * weight_square_sum),
    }


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("beta", [0.0, BETA])
def test_a_batch_equals_the_loops_of_the_method(name, beta, view):
    for scene_name, scene in SCENES.items():
        if scene_name == "no matches at all":
            continue
        embedding, batch = embedding_of(scene, [0, 1]), batch_of(scene, [0, 1])
        judged = judged_of(embedding, scene, [0, 1], view)
        got = batch_loss(embedding, judged, batch, LOSSES[name], beta=beta)
        expected = loop(embedding, judged, batch, LOSSES[name], beta)
        assert {part: getattr(got, part).item() for part in TERMS} == pytest.approx(expected, rel=1e-5)


def test_wrong_pairs_can_be_dropped_by_their_similarity():
    x = torch.eye(3)
    y = torch.stack([x[0], x[2], x[2]])
    embedding, batch = torch.cat([x, y]), batch_of([([1, 1, 1], [1, 1, 1], [0, 1, 2])], [0])
    kept = batch_loss(embedding, embedding, batch, LossConfig(temperature=0.5, min_similarity=0.5), beta=0.0)
    assert kept.count == 2
    # The dropped pair is no negative either.
    assert kept.total.item() == pytest.approx(math.log(1 + math.exp(-2)))


# The judged view decides, the embedding learns.


def test_the_judged_view_decides_who_is_matched_and_how_reliable_that_is():
    """Two crops on each side that look alike one way to the embedding, and the other way, less surely, when judged."""
    angle = math.acos(0.6)
    embedding = torch.tensor([[1.0, 0, 0], [0, 1, 0], [1, 0, 0], [0, 1, 0]], requires_grad=True)
    lean = torch.tensor([[0, math.cos(angle), math.sin(angle)], [math.cos(angle), 0, -math.sin(angle)]])
    judged = torch.cat([torch.eye(3)[:2], lean]).requires_grad_()
    batch = batch_of([([2], [2], [0])], [0])
    terms = batch_loss(embedding, judged, batch, LossConfig(temperature=0.5, reliability="sim"), beta=1.0)
    # Matched are the orthogonal couples: their own logit is 0, and the equal crop is a negative with logit 2.
    assert terms.total.item() == pytest.approx(math.log(1 + math.exp(2)))
    assert terms.similarity_mean.item() == pytest.approx(0, abs=1e-6)
    assert terms.reliability_mean.item() == pytest.approx(0.6)
    terms.loss.backward()
    assert judged.grad is None
    # The logit of the negative has probability s = 1 / (1 + exp(-2)). Of each crop, both directions pull towards the
    # match and push from the equal crop, each with s / temperature, over two pairs:
    # 2 * 0.5 * s / temperature * (equal - match) / 2.
    pull = 1 / (1 + math.exp(-2)) / 0.5 / 2
    expected = pull * torch.tensor([[1.0, -1, 0], [-1, 1, 0], [1, -1, 0], [-1, 1, 0]])
    torch.testing.assert_close(embedding.grad, expected)
    itself = batch_loss(embedding, embedding, batch, LossConfig(temperature=0.5, reliability="sim"), beta=1.0)
    assert itself.total.item() == pytest.approx(math.log(1 + math.exp(-2)))


def test_weak_pairs_can_be_dropped_by_their_judged_similarity_alone():
    embedding = torch.eye(3).repeat(2, 1)
    judged = torch.cat([torch.eye(3), torch.eye(3)[[0, 2, 2]]])
    batch = batch_of([([1, 1, 1], [1, 1, 1], [0, 1, 2])], [0])
    config = LossConfig(temperature=0.5, min_similarity=0.5)
    assert batch_loss(embedding, judged, batch, config, beta=0.0).count == 2
    assert batch_loss(judged, embedding, batch, config, beta=0.0).count == 3


@pytest.mark.parametrize("reliability", ["sim", "mutual", "margin"])
@pytest.mark.parametrize("normalisation", ["self", "mean"])
def test_the_gradient_is_that_of_the_embedding_with_matches_and_weights_held(reliability, normalisation):
    scene = SCENES["different"]
    embedding = embedding_of(scene, [0, 1], dtype=torch.float64)
    judged = judged_of(embedding, scene, [0, 1], "another")
    config = LossConfig(
        temperature=0.2, reliability_temperature=0.3, reliability=reliability, normalisation=normalisation
    )
    assert torch.autograd.gradcheck(
        lambda value: batch_loss(value, judged, batch_of(scene, [0, 1]), config, beta=BETA).loss, (embedding,)
    )


@pytest.mark.parametrize("name", LOSSES)
def test_judging_by_the_embedding_itself_sends_no_gradient_through_the_reliability(name):
    scene = SCENES["different"]
    gradients = []
    for is_copy in (False, True):
        embedding = embedding_of(scene, [0, 1])
        judged = embedding.detach().clone() if is_copy else embedding
        batch_loss(embedding, judged, batch_of(scene, [0, 1]), LOSSES[name], beta=BETA).loss.backward()
        gradients.append(embedding.grad)
    assert torch.equal(*gradients)


# Property 9.
@pytest.mark.parametrize("reliability", ["conf", "sim", "mutual", "margin"])
def test_9_a_joint_rotation_and_the_scale_of_raw_features_change_nothing(reliability):
    embedding, batch = embedding_of(SCENES["different"], [0, 1]), batch_of(SCENES["different"], [0, 1])
    config = LossConfig(reliability=reliability)
    plain = batch_loss(embedding, embedding, batch, config, beta=BETA).total
    generator = torch.Generator().manual_seed(5)
    rotation = torch.linalg.qr(torch.randn(6, 6, generator=generator)).Q
    rotated = embedding @ rotation
    torch.testing.assert_close(batch_loss(rotated, rotated, batch, config, beta=BETA).total, plain)
    scale = torch.rand(len(embedding), 1, generator=generator) + 0.5
    scale[sum(batch.x_counts) :] = 1
    rescaled = functional.normalize(scale * embedding, dim=1)
    torch.testing.assert_close(batch_loss(rescaled, rescaled, batch, config, beta=BETA).total, plain)


@pytest.mark.parametrize("reliability", ["conf", "sim", "mutual", "margin"])
def test_9_the_two_views_may_be_rotated_apart(reliability):
    scene = SCENES["different"]
    embedding, batch = embedding_of(scene, [0, 1]), batch_of(scene, [0, 1])
    judged, config = judged_of(embedding, scene, [0, 1], "another"), LossConfig(reliability=reliability)
    rotation = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(5))).Q
    torch.testing.assert_close(
        batch_loss(embedding, judged @ rotation, batch, config, beta=BETA).total,
        batch_loss(embedding, judged, batch, config, beta=BETA).total,
    )


# Property 10.
@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("reliability", ["conf", "sim", "mutual", "margin"])
def test_10_swapping_the_frames_changes_nothing(reliability, view):
    scene = SCENES["different"]
    embedding, batch = embedding_of(scene, [0, 1]), batch_of(scene, [0, 1])
    judged, config = judged_of(embedding, scene, [0, 1], view), LossConfig(reliability=reliability)
    other = Batch(batch.images, batch.clean, batch.y_counts, batch.x_counts, batch.video, batch.seconds)

    def swapped(value):
        x, y = value.split([sum(batch.x_counts), sum(batch.y_counts)])
        return torch.cat([y, x])

    torch.testing.assert_close(
        batch_loss(swapped(embedding), swapped(judged), other, config, beta=BETA).total,
        batch_loss(embedding, judged, batch, config, beta=BETA).total,
    )


# Property 10.
@pytest.mark.parametrize("reliability", ["conf", "sim", "mutual", "margin"])
def test_10_a_batch_of_one_crop_on_each_side_has_loss_and_gradient_zero(reliability):
    scene = [([1], [1], [0])]
    embedding = embedding_of(scene, [0])
    terms = batch_loss(embedding, embedding, batch_of(scene, [0]), LossConfig(reliability=reliability), beta=BETA)
    terms.loss.backward()
    assert (terms.total, terms.count) == (0, 1)
    assert not embedding.grad.any()


# Property 10.
@pytest.mark.parametrize("name", LOSSES)
def test_10_a_batch_without_any_match_has_loss_and_gradient_zero(name):
    scene = SCENES["no matches at all"]
    embedding = embedding_of(scene, [0, 1])
    terms = batch_loss(embedding, embedding, batch_of(scene, [0, 1]), LOSSES[name], beta=BETA)
    terms.loss.backward()
    assert [getattr(terms, part).item() for part in TERMS] == [0.0] * len(TERMS)
    assert (embedding.grad == 0).all()


# Two ranks.


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("name", LOSSES)
def test_two_ranks_have_the_value_and_the_gradient_of_the_whole_batch(ranks, scene, name, view):
    embedding = embedding_of(SCENES[scene], [0, 1])
    judged = judged_of(embedding, SCENES[scene], [0, 1], view)
    expected = batch_loss(embedding, judged, batch_of(SCENES[scene], [0, 1]), LOSSES[name], beta=BETA)
    expected.loss.backward()
    first, second = (found[f"{scene}, {name}, {view}"] for found in ranks)
    torch.testing.assert_close(first["loss"] + second["loss"], expected.total)
    for part in TERMS[1:]:
        torch.testing.assert_close(first[part], getattr(expected, part).detach())
        torch.testing.assert_close(second[part], getattr(expected, part).detach())
    counts = [sum(SCENES[scene][rank][0]) for rank in (0, 1)]
    parts = [found["gradient"].tensor_split([count]) for found, count in zip((first, second), counts, strict=True)]
    gathered = torch.cat([part[side] for side in (0, 1) for part in parts])
    torch.testing.assert_close(gathered, embedding.grad, rtol=1e-4, atol=1e-6)
    assert first["is_judged_left_alone"]
    assert second["is_judged_left_alone"]


def test_the_two_views_of_these_tests_are_matched_differently():
    """Otherwise the tests above would not see which of them decides."""
    scene = SCENES["different"]
    embedding, batch = embedding_of(scene, [0, 1]), batch_of(scene, [0, 1])
    judged = judged_of(embedding, scene, [0, 1], "another")
    found = [
        batch_loss(embedding, value, batch, LossConfig(), beta=0.0).similarity_mean for value in (embedding, judged)
    ]
    assert found[0] > found[1] + 0.1


def test_boxes_that_know_everybody_weigh_pairs_as_the_truth_does():
    """People are numbered by their places in the second frames, and the boxes lead there; who is not there is lost."""
    scene = SCENES["different"]
    embedding, batch = embedding_of(scene, [0, 1]), batch_of(scene, [0, 1])
    size_x, size_y = sum(batch.x_counts), sum(batch.y_counts)
    followed_x = torch.tensor([1, 0, 2, 4, 3, 5, 6, 8, 7, 9])[:size_x]
    followed_y = torch.full((size_y,), LOST)
    followed_y[followed_x[followed_x < size_y]] = torch.nonzero(followed_x < size_y).flatten()
    identities = torch.cat([followed_x, torch.arange(size_y)])
    known = replace(batch, identities=identities, followed=(followed_x, followed_y))
    by_boxes, by_truth = (
        batch_loss(embedding, embedding, known, LossConfig(reliability=name), beta=1.0) for name in ("track", "oracle")
    )
    assert 0 < by_truth.precision < 1, "some matches are wrong"
    torch.testing.assert_close(by_truth.precision, by_truth.reliability.mean())
    nobody = replace(known, identities=torch.full_like(identities, -1))
    terms = batch_loss(embedding, embedding, nobody, LossConfig(reliability="oracle"), beta=1.0)
    assert terms.precision.isnan()
    assert not terms.reliability.any(), "who is not known is not right"
    torch.testing.assert_close(by_boxes.reliability, by_truth.reliability)
    torch.testing.assert_close(by_boxes.total, by_truth.total)
