"""The step: a batch's loss against the specification's loops, and two ranks against one process with all the data."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from pretrain.collectives import synchronise_batch_norm
from pretrain.config import LossConfig, ModelConfig, OptimizerConfig, PretrainConfig
from pretrain.models.encoder import make_encoder
from pretrain.objective import Batch, batch_loss
from pretrain.pairs import match
from pretrain.recipes import isr_tiny
from pretrain.step import Learner, make_optimizer

# What each rank has: crops of the first frames, crops of the second frames, and the video of each frame pair.
SCENES = {
    "different": [([2, 3, 1], [3, 2, 1], [0, 1, 0]), ([4, 0], [2, 3], [2, 1])],
    "no matches on rank 1": [([2, 1], [2, 2], [0, 1]), ([0, 2], [3, 0], [1, 0])],
    "no matches on rank 0": [([0], [2], [3]), ([3, 1], [3, 1], [3, 5])],
    "no matches at all": [([2, 0], [0, 0], [0, 1]), ([0], [3], [2])],
}
LOSSES = {
    f"{reliability}, {normalisation}, margin {margin}": LossConfig(
        tau=0.2, tau_r=0.3, reliability=reliability, normalisation=normalisation, mask_same_pair_cross=margin
    )
    for reliability in ("conf", "sim", "mutual", "margin")
    for normalisation, margin in (("self", None), ("mean", None), ("self", 0.2))
}
BETA = 1.5
STEPS = 2
STEP_SCENE = [([2, 3, 1, 2], [3, 2, 1, 2], [0, 1, 0, 2]), ([3, 2], [2, 4], [1, 3])]
TINY = PretrainConfig(
    recipe="test",
    batch_pairs=6,
    model=ModelConfig(architecture="tiny", embedding_size=16, height=16, width=16),
    loss=LossConfig(beta_warmup_steps=1),
    optimizer=OptimizerConfig(learning_rate=2e-4, warmup_fraction=0.0),
)


def embeddings(scene, rank, dtype=torch.float32):
    """Unit vectors of one rank's crops; the second frames' are noisy copies of the first frames', in another order."""
    generator = torch.Generator().manual_seed(rank)
    x_counts, y_counts, _ = scene[rank]
    people = torch.randn(8, 6, generator=generator)

    def sides(counts):
        rows = [torch.randperm(8, generator=generator)[:count] for count in counts]
        shown = people[torch.cat(rows)]
        return functional.normalize(shown + 0.7 * torch.randn(shown.shape, generator=generator), dim=1)

    return [sides(counts).to(dtype).requires_grad_() for counts in (x_counts, y_counts)]


def batch_of(scene, ranks, images=None):
    """The frame pairs of some ranks as one batch."""
    x_counts, y_counts, video = ([value for rank in ranks for value in scene[rank][part]] for part in range(3))
    return Batch(torch.zeros(0) if images is None else images, x_counts, y_counts, torch.tensor(video))


def whole(scene, dtype=torch.float32):
    """The embeddings of both ranks, and the batch of both."""
    parts = [embeddings(scene, rank, dtype) for rank in (0, 1)]
    x, y = (torch.cat([part[side].detach() for part in parts]).requires_grad_() for side in (0, 1))
    return x, y, batch_of(scene, [0, 1])


def step_images(scene, rank, step):
    """Crops of the first and of the second frames of one rank."""
    generator = torch.Generator().manual_seed(100 * step + rank)
    counts = [sum(scene[rank][side]) for side in (0, 1)]
    return [torch.randint(0, 256, (n, 3, 16, 16), generator=generator, dtype=torch.uint8) for n in counts]


def losses_on_rank(rank):
    found = {}
    for (scene_name, scene), (name, config) in itertools.product(SCENES.items(), LOSSES.items()):
        x, y = embeddings(scene, rank)
        terms = batch_loss(x, y, batch_of(scene, [rank]), config, beta=BETA)
        terms.loss.backward()
        numbers = {part: getattr(terms, part).detach() for part in TERMS}
        found[f"{scene_name}, {name}"] = {**numbers, "x": x.grad, "y": y.grad}
    return found


TERMS = ("loss", "total", "count", "reliability_mean", "similarity_mean", "accuracy", "effective_share")


def learner_on_rank(rank):
    encoder = synchronise_batch_norm(make_encoder(TINY.model, seed=0))
    learner = Learner(TINY, total_steps=3, device=torch.device("cpu"), wrapped=DistributedDataParallel(encoder))
    metrics = []
    for step in range(1, STEPS + 1):
        images = torch.cat(step_images(STEP_SCENE, rank, step))
        metrics.append(learner.step(batch_of(STEP_SCENE, [rank], images), step))
    return {"state": learner.encoder.state_dict(), "metrics": metrics, "moments": first_moments(learner)}


def first_moments(learner):
    return {name: learner.optimizer.state[value]["exp_avg"] for name, value in learner.encoder.named_parameters()}


def failure_on_rank(rank, *, what):
    """Rank 1 alone gets NaN: in its pixels (so in its loss), or only in its gradient."""
    encoder = make_encoder(TINY.model, seed=0)
    learner = Learner(TINY, total_steps=3, device=torch.device("cpu"), wrapped=DistributedDataParallel(encoder))
    images = torch.cat(step_images(STEP_SCENE, rank, 1)).float()
    if rank == 1 and what == "pixels":
        images[0, 0, 0, 0] = torch.nan
    if rank == 1 and what == "gradient":
        encoder.embedding.weight.register_hook(lambda gradient: gradient * torch.nan)
    before = {name: value.clone() for name, value in encoder.named_parameters()}
    try:
        learner.step(batch_of(STEP_SCENE, [rank], images), 1)
    except FloatingPointError as error:
        is_same = all(torch.equal(value, before[name]) for name, value in encoder.named_parameters())
        return {"error": str(error), "is_same": is_same}
    return {"error": "", "is_same": False}


def on_rank(rank, world_size):
    return {
        "losses": losses_on_rank(rank),
        "learner": learner_on_rank(rank),
        "pixels": failure_on_rank(rank, what="pixels"),
        "gradient": failure_on_rank(rank, what="gradient"),
    }


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """The order of sums, and so their last digits, must not depend on the machine's cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def ranks(run_ranks):
    return run_ranks(on_rank, 2)


# A batch of one process.


def loop(x, y, batch, config, beta):
    """Specification 1.7.2 and 1.7.3 in loops over float64 numbers."""
    x, y = x.detach().double().numpy(), y.detach().double().numpy()
    pairs, reliability = [], []  # (crop of x, crop of y, frame pair, video)
    x_start = y_start = 0
    for f, (n, m) in enumerate(zip(batch.x_counts, batch.y_counts, strict=True)):
        s = np.array([[x[x_start + i] @ y[y_start + j] for j in range(m)] for i in range(n)]).reshape(n, m)
        for i, j in zip(*match(s), strict=True):
            pairs.append((x_start + i, y_start + j, f, int(batch.video[f])))
            row, column = np.exp(s[i] / config.tau_r), np.exp(s[:, j] / config.tau_r)
            others = [*np.delete(s[i], j), *np.delete(s[:, j], i)]
            lead = s[i, j] - max(others, default=-math.inf)
            reliability.append(
                {
                    "mutual": row[j] / row.sum() * column[i] / column.sum(),
                    "sim": min(1.0, max(0.0, s[i, j])),
                    "margin": 1 / (1 + math.exp(-lead / config.tau_r)),
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
                if q == p or ((pair == own_pair or video != own_video) and not is_close):
                    kept.append(math.exp(similarity[q] / config.tau))
            logs.append(similarity[p] / config.tau - math.log(sum(kept)))
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


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("beta", [0.0, BETA])
def test_a_batch_equals_the_loops_of_the_specification(name, beta):
    for scene_name, scene in SCENES.items():
        if scene_name == "no matches at all":
            continue
        x, y, batch = whole(scene)
        got = batch_loss(x, y, batch, LOSSES[name], beta=beta)
        expected = loop(x, y, batch, LOSSES[name], beta)
        assert {part: getattr(got, part).item() for part in TERMS} == pytest.approx(expected, rel=1e-5)


def test_wrong_pairs_can_be_dropped_by_their_similarity():
    x = torch.eye(3)
    batch = Batch(torch.zeros(0), [1, 1, 1], [1, 1, 1], torch.arange(3))
    y = torch.stack([x[0], x[2], x[2]])
    kept = batch_loss(x, y, batch, LossConfig(tau=0.5, min_similarity=0.5), beta=0.0)
    assert kept.count == 2
    # The dropped pair is no negative either.
    assert kept.total.item() == pytest.approx(math.log(1 + math.exp(-2)))


# Property 9.
@pytest.mark.parametrize("reliability", ["conf", "sim", "mutual", "margin"])
def test_9_a_joint_rotation_and_the_scale_of_raw_features_change_nothing(reliability):
    x, y, batch = whole(SCENES["different"])
    config = LossConfig(reliability=reliability)
    plain = batch_loss(x, y, batch, config, beta=BETA).total
    generator = torch.Generator().manual_seed(5)
    rotation = torch.linalg.qr(torch.randn(6, 6, generator=generator)).Q
    torch.testing.assert_close(batch_loss(x @ rotation, y @ rotation, batch, config, beta=BETA).total, plain)
    scale = torch.rand(len(x), 1, generator=generator) + 0.5
    rescaled = functional.normalize(scale * x, dim=1)
    torch.testing.assert_close(batch_loss(rescaled, y, batch, config, beta=BETA).total, plain)


# Property 10.
@pytest.mark.parametrize("reliability", ["conf", "sim", "mutual", "margin"])
def test_10_swapping_the_frames_changes_nothing(reliability):
    x, y, batch = whole(SCENES["different"])
    swapped = Batch(batch.images, batch.y_counts, batch.x_counts, batch.video)
    config = LossConfig(reliability=reliability)
    torch.testing.assert_close(
        batch_loss(y, x, swapped, config, beta=BETA).total, batch_loss(x, y, batch, config, beta=BETA).total
    )


# Property 10.
@pytest.mark.parametrize("reliability", ["conf", "sim", "mutual", "margin"])
def test_10_a_batch_of_one_crop_on_each_side_has_loss_and_gradient_zero(reliability):
    x, y = embeddings([([1], [1], [0])], 0)
    terms = batch_loss(
        x, y, Batch(torch.zeros(0), [1], [1], torch.tensor([0])), LossConfig(reliability=reliability), beta=BETA
    )
    terms.loss.backward()
    assert (terms.total, terms.count) == (0, 1)
    assert not x.grad.any()
    assert not y.grad.any()


# Property 10.
@pytest.mark.parametrize("name", LOSSES)
def test_10_a_batch_without_any_match_has_loss_and_gradient_zero(name):
    x, y, batch = whole(SCENES["no matches at all"])
    terms = batch_loss(x, y, batch, LOSSES[name], beta=BETA)
    terms.loss.backward()
    assert [getattr(terms, part).item() for part in TERMS] == [0.0] * len(TERMS)
    assert (x.grad == 0).all()
    assert (y.grad == 0).all()


# Two ranks.


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("name", LOSSES)
def test_two_ranks_have_the_value_and_the_gradient_of_the_whole_batch(ranks, scene, name):
    x, y, batch = whole(SCENES[scene])
    expected = batch_loss(x, y, batch, LOSSES[name], beta=BETA)
    expected.loss.backward()
    first, second = (found["losses"][f"{scene}, {name}"] for found in ranks)
    torch.testing.assert_close(first["loss"] + second["loss"], expected.total)
    for part in TERMS[1:]:
        torch.testing.assert_close(first[part], getattr(expected, part).detach())
        torch.testing.assert_close(second[part], getattr(expected, part).detach())
    torch.testing.assert_close(torch.cat([first["x"], second["x"]]), x.grad, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(torch.cat([first["y"], second["y"]]), y.grad, rtol=1e-4, atol=1e-6)


def test_two_steps_of_two_ranks_are_two_steps_of_one_process_with_all_the_data(ranks):
    learner = Learner(TINY, total_steps=3, device=torch.device("cpu"), wrapped=make_encoder(TINY.model, seed=0))
    for step in range(1, STEPS + 1):
        parts = [step_images(STEP_SCENE, rank, step) for rank in (0, 1)]
        images = torch.cat([part[side] for side in (0, 1) for part in parts])
        expected = learner.step(batch_of(STEP_SCENE, [0, 1], images), step)
        for found in ranks:
            got = found["learner"]["metrics"][step - 1]
            assert {k: v.item() for k, v in got.items()} == pytest.approx(
                {k: v.item() for k, v in expected.items()}, rel=1e-4
            )
    start = make_encoder(TINY.model, seed=0).state_dict()
    for name, value in learner.encoder.state_dict().items():
        first, second = (found["learner"]["state"][name] for found in ranks)
        assert torch.equal(first, second), name
        torch.testing.assert_close(first, value, rtol=0, atol=1e-5)
        assert not torch.equal(value, start[name]), f"{name} did not learn"
    for name, value in first_moments(learner).items():
        torch.testing.assert_close(ranks[0]["learner"]["moments"][name], value, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(("what", "text"), [("pixels", "embedding nan"), ("gradient", "gradient norm nan")])
def test_what_is_not_finite_on_one_rank_stops_both_before_the_update(ranks, what, text):
    for rank, found in enumerate(ranks):
        assert found[what]["error"].startswith(f"step 1, rank {rank}: ")
        assert "stopped before the update. Lower optimizer.learning-rate or raise loss.tau" in found[what]["error"]
        assert found[what]["is_same"]
    assert text in ranks[1][what]["error"]
    assert (text in ranks[0][what]["error"]) == (what == "gradient")  # gradients are averaged before they are checked


# One process.


def test_decay_spares_biases_and_norms():
    encoder = make_encoder(TINY.model, seed=0)
    decayed, others = make_optimizer(encoder, TINY).param_groups
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.05, 0.0)
    names = {id(value): name for name, value in encoder.named_parameters()}
    spared = {names[id(value)] for value in others["params"]}
    assert {names[id(value)] for value in decayed["params"]} == set(names.values()) - spared
    assert all(name.endswith("bias") or ".bn" in name or "shortcut.1" in name for name in spared)
    assert "embedding.bias" in spared


def test_gradients_are_scaled_down_and_their_norm_is_told_as_it_was():
    optimizer = replace(TINY.optimizer, max_gradient_norm=1e-3)
    config = replace(TINY, optimizer=optimizer)
    learner = Learner(config, total_steps=3, device=torch.device("cpu"), wrapped=make_encoder(TINY.model, seed=0))
    metrics = learner.step(batch_of(STEP_SCENE, [0], torch.cat(step_images(STEP_SCENE, 0, 1))), 1)
    norm = torch.cat([value.grad.flatten() for value in learner.encoder.parameters()]).norm()
    assert norm.item() == pytest.approx(1e-3, rel=1e-3)
    assert metrics["grad/norm"] > 0.01


def test_metrics_tell_the_schedules_and_carry_no_gradient():
    config = replace(TINY, optimizer=replace(TINY.optimizer, warmup_fraction=0.5))
    learner = Learner(config, total_steps=4, device=torch.device("cpu"), wrapped=make_encoder(TINY.model, seed=0))
    images = torch.cat(step_images(STEP_SCENE, 0, 1))
    found = [learner.step(batch_of(STEP_SCENE, [0], images), step) for step in (1, 2, 3, 4)]
    assert [m["optimizer/learning_rate"].item() for m in found] == pytest.approx([1e-4, 2e-4, 2e-4, 1e-4])
    assert [m["reliability/beta"].item() for m in found] == [0, 2, 2, 2]
    assert not any(value.requires_grad for value in found[0].values())
    assert all(value.ndim == 0 for value in found[0].values())
    assert found[0]["pairs/count"] == 7


def test_a_step_without_any_match_leaves_the_weights_to_decay_alone():
    config = replace(TINY, optimizer=replace(TINY.optimizer, weight_decay=0.0))
    learner = Learner(config, total_steps=3, device=torch.device("cpu"), wrapped=make_encoder(TINY.model, seed=0))
    before = {name: value.clone() for name, value in learner.encoder.named_parameters()}
    scene = [([3], [0], [0])]
    metrics = learner.step(batch_of(scene, [0], torch.cat(step_images(scene, 0, 1))), 1)
    assert (metrics["loss/total"], metrics["grad/norm"]) == (0, 0)
    assert all(torch.equal(value, before[name]) for name, value in learner.encoder.named_parameters())


def golden_trace():
    """Losses of 10 steps of `isr-tiny`, made smaller, on eight people who look alike from frame to frame.

    In float64 and at a low rate: AdamW makes a whole step of a gradient's last digit, which depends on the processor.
    """
    recipe = isr_tiny()
    config = replace(
        recipe,
        model=replace(recipe.model, embedding_size=32, height=32, width=16),
        loss=replace(recipe.loss, beta_warmup_steps=4),
        optimizer=replace(recipe.optimizer, learning_rate=2e-4),
    )
    encoder = make_encoder(config.model, seed=0).double()
    learner = Learner(config, total_steps=10, device=torch.device("cpu"), wrapped=encoder)
    rng = np.random.default_rng(0)
    people = rng.integers(0, 256, (8, 3, 8, 4))
    losses = []
    for step in range(1, 11):
        shown = [[rng.permutation(8)[: rng.integers(1, 4)] for _ in range(6)] for _ in range(2)]
        looks = people[np.concatenate(shown[0] + shown[1])].repeat(4, axis=2).repeat(4, axis=3)
        pixels = np.clip(looks + rng.normal(0, 20, looks.shape), 0, 255).astype(np.uint8)
        counts = [[len(rows) for rows in side] for side in shown]
        batch = Batch(torch.from_numpy(pixels), counts[0], counts[1], torch.arange(6) // 2)
        losses.append(learner.step(batch, step)["loss/total"].item())
    return losses


# Changing these numbers needs a reason in the commit message.
GOLDEN = [
    2.64710188,
    2.36124301,
    2.06295061,
    1.78082025,
    1.81087029,
    1.89729977,
    2.03294587,
    1.70430279,
    1.57184100,
    1.45538568,
]


def test_the_loss_trace_is_the_golden_one():
    assert golden_trace() == pytest.approx(GOLDEN, rel=1e-5)
