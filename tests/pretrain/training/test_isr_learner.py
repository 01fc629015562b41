"""The step: which view is matched, two ranks against one process with all the data, and the golden loss trace."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import pretrain.losses.isr
from pretrain.config.optimizer import OptimizerConfig
from pretrain.config.run import PretrainConfig
from pretrain.config.scale import scaled
from pretrain.data.batch import Batch
from pretrain.distributed.batch_norm import synchronise_batch_norm
from pretrain.losses.config import LossConfig
from pretrain.losses.isr import batch_loss
from pretrain.models.config import ModelConfig
from pretrain.models.encoder import make_encoder
from pretrain.models.precision import dtype_of
from pretrain.recipes import isr_tiny
from pretrain.training.checkpoint import load_checkpoint, save_checkpoint
from pretrain.training.isr_learner import IsrLearner, to_host
from pretrain.training.learner import require_finite
from pretrain.training.optimizer import make_optimizer
from tests.pretrain.scenes import batch_of

STEPS = 2
SCENE = [([2, 3, 1, 2], [3, 2, 1, 2], [0, 1, 0, 2]), ([3, 2], [2, 4], [1, 3])]
"""For two ranks, as in `tests.pretrain.scenes`."""
TINY = PretrainConfig(
    recipe="test",
    batch_pairs=6,
    model=ModelConfig(architecture="tiny", embedding_size=16, height=16, width=16),
    precision="float64",  # what is compared differs in the order of sums
    loss=LossConfig(reliability="sim", beta=2.0, beta_warmup_steps=1),
    optimizer=OptimizerConfig(learning_rate=2e-4, warmup_fraction=0.0),
)


MATCH_ON = ("clean", "augmented")


def tiny(match_on="clean", **optimizer):
    """`TINY` with another view to match, and with other settings of the optimiser."""
    return replace(TINY, loss=replace(TINY.loss, match_on=match_on), optimizer=replace(TINY.optimizer, **optimizer))


def make_learner(config=TINY, total_steps=3):
    encoder = make_encoder(config.model, seed=0).to(dtype_of(config.precision))
    return IsrLearner(config, total_steps=total_steps, device=torch.device("cpu"), wrapped=encoder)


def crops(ranks, step, view, scene=SCENE):
    """Crops of some ranks in one view: all first frames', then all second frames'. The views show different pixels."""
    parts = []
    for rank in ranks:
        generator = torch.Generator().manual_seed(1000 * ("augmented", "clean").index(view) + 100 * step + rank)
        counts = [sum(scene[rank][side]) for side in (0, 1)]
        parts.append([torch.randint(0, 256, (n, 3, 16, 16), generator=generator, dtype=torch.uint8) for n in counts])
    return torch.cat([part[side] for side in (0, 1) for part in parts])


def batch(ranks=(0,), step=1, scene=SCENE):
    return batch_of(scene, ranks, crops(ranks, step, "augmented", scene), crops(ranks, step, "clean", scene))


def calm(learner):
    """Damp the steps of weights whose gradient is rounding error: AdamW makes a whole step of the last digit.

    Their gradients are compared by the optimiser's moments.
    """
    for group in learner.optimizer.param_groups:
        group["eps"] = 1e-5
    return learner


def compiled(learner):
    """The learner with its encoder compiled by a backend that needs seconds: the default writes C++."""
    learner.module.compile(backend="aot_eager")
    return learner


def learner_on_rank(rank, match_on, *, is_compiled=False):
    encoder = synchronise_batch_norm(make_encoder(TINY.model, seed=0).to(dtype_of(TINY.precision)))
    wrapped = DistributedDataParallel(encoder)
    learner = calm(IsrLearner(tiny(match_on), total_steps=3, device=torch.device("cpu"), wrapped=wrapped))
    learner = compiled(learner) if is_compiled else learner
    metrics = [learner.step(batch([rank], step), step) for step in range(1, STEPS + 1)]
    return {"state": learner.module.state_dict(), "metrics": metrics, "moments": first_moments(learner)}


def first_moments(learner):
    return {name: learner.optimizer.state[value]["exp_avg"] for name, value in learner.module.named_parameters()}


FAILURES = {"images": "embedding", "clean": "matched embedding", "gradient": "gradient norm"}
"""What is NaN on rank 1, and the first sum that is, in the order of the message."""


def failure_on_rank(rank, what):
    """Rank 1 alone gets NaN: in the pixels of a view (so in its embeddings), or only in its gradient."""
    encoder = make_encoder(TINY.model, seed=0).to(dtype_of(TINY.precision))
    learner = IsrLearner(TINY, total_steps=3, device=torch.device("cpu"), wrapped=DistributedDataParallel(encoder))
    views = {name: crops([rank], 1, view).float() for name, view in (("images", "augmented"), ("clean", "clean"))}
    if rank == 1 and what in views:
        views[what][0, 0, 0, 0] = torch.nan
    if rank == 1 and what == "gradient":
        encoder.embedding.weight.register_hook(lambda gradient: gradient * torch.nan)
    before = {name: value.clone() for name, value in encoder.named_parameters()}
    try:
        learner.step(batch_of(SCENE, [rank], **views), 1)
    except FloatingPointError as error:
        is_same = all(torch.equal(value, before[name]) for name, value in encoder.named_parameters())
        return {"error": str(error), "is_same": is_same}
    return {"error": "", "is_same": False}


def on_rank(rank, world_size):
    learners = {match_on: learner_on_rank(rank, match_on) for match_on in MATCH_ON}
    learners["compiled"] = learner_on_rank(rank, "clean", is_compiled=True)
    return {"learners": learners, "failures": {what: failure_on_rank(rank, what) for what in FAILURES}}


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def ranks(run_ranks):
    return run_ranks(on_rank, 2)


# Two ranks.


@pytest.mark.slow
@pytest.mark.parametrize("match_on", MATCH_ON)
def test_two_steps_of_two_ranks_are_two_steps_of_one_process_with_all_the_data(ranks, match_on):
    learner = calm(make_learner(tiny(match_on)))
    for step in range(1, STEPS + 1):
        expected = learner.step(batch([0, 1], step), step)
        for found in ranks:
            got = found["learners"][match_on]["metrics"][step - 1]
            assert {k: v.item() for k, v in got.items()} == pytest.approx(
                {k: v.item() for k, v in expected.items()}, rel=1e-9
            )
    start = make_encoder(TINY.model, seed=0).to(dtype_of(TINY.precision)).state_dict()
    one, other = (found["learners"][match_on] for found in ranks)
    for name, value in learner.module.state_dict().items():
        first, second = one["state"][name], other["state"][name]
        assert torch.equal(first, second), name
        torch.testing.assert_close(first, value, rtol=0, atol=1e-10)
        assert not torch.equal(value, start[name]), f"{name} did not learn"
    for name, value in first_moments(learner).items():
        torch.testing.assert_close(one["moments"][name], value, rtol=1e-8, atol=1e-12)


@pytest.mark.slow
def test_two_ranks_learn_the_same_when_compiled(ranks):
    for found in ranks:
        plain, other = found["learners"]["clean"], found["learners"]["compiled"]
        assert other["metrics"][-1]["loss/total"].item() == pytest.approx(plain["metrics"][-1]["loss/total"].item())
        assert plain["state"].keys() == other["state"].keys()
        for name, value in plain["state"].items():
            torch.testing.assert_close(other["state"][name], value, rtol=0, atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("what", FAILURES)
def test_what_is_not_finite_on_one_rank_stops_both_before_the_update(ranks, what):
    for rank, found in enumerate(ranks):
        failure = found["failures"][what]
        assert failure["error"].startswith(f"step 1, rank {rank}: ")
        assert "stopped before the update. Lower optimizer.learning-rate or raise loss.temperature" in failure["error"]
        assert failure["is_same"]
        bad = re.findall(r"[:,] ([a-z ]+) nan(?=[, ])", failure["error"])
        # Gradients are averaged before they are checked; the loss is that of both.
        assert bad[0] == FAILURES[what] if rank == 1 or what == "gradient" else FAILURES[what] not in bad


# Two views.


def buffers(encoder):
    return {name: value.clone() for name, value in encoder.named_buffers() if "running" in name or "tracked" in name}


@pytest.mark.parametrize("match_on", MATCH_ON)
def test_the_statistics_of_batch_norm_are_those_of_the_augmented_view_alone(match_on):
    learner, expected = (
        make_learner(tiny(match_on)),
        make_encoder(TINY.model, seed=0).to(dtype_of(TINY.precision)).train(),
    )
    start = buffers(expected)
    expected(crops([0], 1, "augmented"))
    learner.step(batch(), 1)
    found = buffers(learner.module)
    assert found.keys() == buffers(expected).keys()
    assert any("running_var" in name for name in found)
    for name, value in buffers(expected).items():
        assert torch.equal(found[name], value), name
        assert not torch.equal(value, start[name]), f"{name} sees the augmented view"


@pytest.mark.parametrize("match_on", MATCH_ON)
def test_the_clean_view_is_embedded_in_evaluation_mode_without_gradient_and_the_other_trains(match_on):
    learner, given, seen = make_learner(tiny(match_on)), batch(), []

    def note(module, inputs, output):
        view = "augmented" if torch.equal(inputs[0], given.images) else "clean"
        assert torch.equal(inputs[0], given.images if view == "augmented" else given.clean)
        modes = {child.training for child in module.modules() if isinstance(child, nn.BatchNorm2d)}
        seen.append((view, module.training, modes, output.requires_grad))

    learner.module.register_forward_hook(note)
    for step in (1, 2):
        learner.module.eval()  # as whoever measured in between may leave it
        learner.step(given, step)
        assert learner.module.training
        assert all(child.training for child in learner.module.modules())
    judging = [("clean", False, {False}, False)] if match_on == "clean" else []
    assert seen == 2 * [*judging, ("augmented", True, {True}, True)]


@pytest.mark.parametrize("match_on", MATCH_ON)
@pytest.mark.parametrize("reliability", ["conf", "sim", "mutual", "margin"])
def test_the_loss_is_that_of_the_views_that_the_configuration_names(match_on, reliability):
    config = replace(TINY, loss=LossConfig(match_on=match_on, reliability=reliability, beta_warmup_steps=0))
    given = batch()
    metrics = make_learner(config).step(given, 1)
    embedding = make_encoder(TINY.model, seed=0).to(dtype_of(TINY.precision)).train()(given.images)
    with torch.no_grad():
        judged = (
            make_encoder(TINY.model, seed=0).to(dtype_of(TINY.precision)).eval()(given.clean)
            if match_on == "clean"
            else embedding
        )
    terms = batch_loss(embedding, judged, given, config.loss, beta=config.loss.beta)
    assert metrics["loss/total"].item() == pytest.approx(terms.total.item(), rel=1e-5)
    assert metrics["pairs/similarity"].item() == pytest.approx(terms.similarity_mean.item(), rel=1e-5)
    assert metrics["reliability/mean"].item() == pytest.approx(terms.reliability_mean.item(), rel=1e-5)


@pytest.mark.parametrize("match_on", MATCH_ON)
def test_the_clean_view_matters_exactly_if_it_is_matched(match_on):
    given = batch()
    other = replace(given, clean=crops([0], 2, "clean"))
    config = replace(tiny(match_on), loss=LossConfig(match_on=match_on, reliability="sim"))
    one, two = make_learner(config), make_learner(config)
    first, second = one.step(given, 1), two.step(other, 1)
    is_same = match_on == "augmented"
    for name in ("loss/total", "pairs/similarity", "reliability/mean", "grad/norm"):
        assert (first[name] == second[name]) == is_same, name
    weights = [learner.module.embedding.weight for learner in (one, two)]
    assert torch.equal(*weights) == is_same


# On the way.


def test_what_is_asked_of_the_host_is_what_is_on_the_device():
    values = torch.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(to_host(values)(), values.numpy())


def test_sums_that_are_not_finite_stop_the_run_with_step_and_values():
    require_finite(3, "Do this", loss=torch.tensor(1.0))
    with pytest.raises(
        FloatingPointError, match=r"^step 3, rank 0: loss inf, gradient norm 2\.0 \(.*the update\. Do this$"
    ):
        require_finite(3, "Do this", loss=torch.tensor(torch.inf), gradient_norm=torch.tensor(2.0))


@pytest.mark.parametrize("match_on", MATCH_ON)
def test_the_crops_are_matched_after_the_training_pass_has_begun(match_on, monkeypatch):
    """So a GPU computes while the host matches."""
    order, learner, find = [], make_learner(tiny(match_on)), pretrain.losses.isr.match_batch

    def noted(*arguments, **options):
        order.append("match")
        return find(*arguments, **options)

    monkeypatch.setattr(pretrain.losses.isr, "match_batch", noted)
    learner.module.register_forward_hook(lambda module, inputs, output: order.append(module.training))
    learner.step(batch(), 1)
    assert order == ([False, True, "match"] if match_on == "clean" else [True, "match"])


# Compiled.


@pytest.mark.slow
def test_a_compiled_encoder_learns_the_same_under_the_same_names():
    plain, other = make_learner(), make_learner(scaled(TINY, compile=True))
    assert other.module.state_dict().keys() == plain.module.state_dict().keys()
    assert (plain.module._compiled_call_impl, other.module._compiled_call_impl is None) == (None, False)
    compiled(other)
    for step, scene in ((1, SCENE), (2, [([1, 3, 2, 2], [3, 2, 1, 1], [0, 1, 0, 2])])):  # other numbers of crops
        expected, found = (learner.step(batch(step=step, scene=scene), step) for learner in (plain, other))
        for name in ("loss/total", "grad/norm", "pairs/similarity"):
            assert found[name].item() == pytest.approx(expected[name].item(), rel=1e-9), name
    for name, value in plain.module.state_dict().items():
        torch.testing.assert_close(other.module.state_dict()[name], value, rtol=0, atol=1e-10)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_on_a_gpu_the_optimiser_is_fused_and_a_resumed_run_goes_on(kind, tmp_path):
    learners = [
        IsrLearner(
            tiny(kind=kind),
            total_steps=3,
            device=torch.device("cuda"),
            wrapped=make_encoder(TINY.model, seed=0).to(dtype_of(TINY.precision)).cuda(),
        )
        for _ in range(2)
    ]
    assert learners[0].optimizer.defaults["fused"]
    learners[0].step(batch(), 1)
    save_checkpoint(str(tmp_path), learners[0], 1)
    assert load_checkpoint(str(tmp_path), learners[1]) == 1
    losses = [learner.step(batch(step=2), 2)["loss/total"].item() for learner in learners]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


# One process.


def test_on_a_cpu_the_optimiser_is_the_plain_one():
    assert make_optimizer(make_encoder(TINY.model, seed=0), TINY.optimizer).defaults["fused"] is None


def test_decay_spares_biases_and_norms():
    encoder = make_encoder(TINY.model, seed=0)
    decayed, others = make_optimizer(encoder, TINY.optimizer).param_groups
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.05, 0.0)
    names = {id(value): name for name, value in encoder.named_parameters()}
    spared = {names[id(value)] for value in others["params"]}
    assert {names[id(value)] for value in decayed["params"]} == set(names.values()) - spared
    assert all(name.endswith("bias") or ".bn" in name or "shortcut.1" in name for name in spared)
    assert "embedding.bias" in spared


@pytest.mark.parametrize(
    ("architecture", "tables"), [("vit_s", {"cls_token", "pos_embed"}), ("swin_t", {"relative_position_bias_table"})]
)
def test_decay_spares_what_a_transformer_adds(architecture, tables):
    encoder = make_encoder(replace(TINY.model, architecture=architecture, height=64, width=32), seed=0)
    decayed, _ = make_optimizer(encoder, TINY.optimizer).param_groups
    names = {id(value): name.rpartition(".")[2] for name, value in encoder.named_parameters()}
    assert tables < set(names.values())
    assert {names[id(value)] for value in decayed["params"]} == {"weight"}


def test_gradients_are_scaled_down_and_their_norm_is_told_as_it_was():
    learner = make_learner(tiny(max_gradient_norm=1e-3))
    metrics = learner.step(batch(), 1)
    norm = torch.cat([value.grad.flatten() for value in learner.module.parameters()]).norm()
    assert norm.item() == pytest.approx(1e-3, rel=1e-3)
    assert metrics["grad/norm"] > 0.01


def test_metrics_tell_the_schedules_and_carry_no_gradient():
    learner = make_learner(tiny(warmup_fraction=0.5), total_steps=4)
    found = [learner.step(batch(), step) for step in (1, 2, 3, 4)]
    assert [m["optimizer/learning_rate"].item() for m in found] == pytest.approx([1e-4, 2e-4, 2e-4, 1e-4])
    assert [m["reliability/beta"].item() for m in found] == [0, 2, 2, 2]
    assert not any(value.requires_grad for value in found[0].values())
    assert all(value.ndim == 0 for value in found[0].values())
    assert found[0]["pairs/count"] == 7


def test_a_step_without_any_match_leaves_the_weights_to_decay_alone():
    learner = make_learner(tiny(weight_decay=0.0))
    before = {name: value.clone() for name, value in learner.module.named_parameters()}
    metrics = learner.step(batch(scene=[([3], [0], [0])]), 1)
    assert (metrics["loss/total"], metrics["grad/norm"]) == (0, 0)
    assert all(torch.equal(value, before[name]) for name, value in learner.module.named_parameters())


SECONDS = torch.tensor([0.0, 30, 0, 10, 5, 40], dtype=torch.float64)
"""When the frame pairs of the golden batches were seen: two of each video, near or far apart."""
BY_LOOKS = {"reliability": "sim", "beta": 2.0, "beta_warmup_steps": 4}
TRACES = {
    "augmented": LossConfig(match_on="augmented", **BY_LOOKS),
    "clean": LossConfig(**BY_LOOKS),
    "recipe": replace(isr_tiny().loss, **BY_LOOKS),
}


def golden_trace(loss):
    """Losses of 10 steps of `isr-tiny`, made smaller, on eight people who look alike from frame to frame.

    In float64 and at a low rate: AdamW makes a whole step of a gradient's last digit, which depends on the processor.
    """
    recipe = isr_tiny()
    config = replace(
        recipe,
        model=replace(recipe.model, embedding_size=32, height=32, width=16),
        loss=loss,
        optimizer=replace(recipe.optimizer, learning_rate=2e-4),
    )
    encoder = make_encoder(config.model, seed=0).double()
    learner = IsrLearner(config, total_steps=10, device=torch.device("cpu"), wrapped=encoder)
    # The pixels of the augmented view do not depend on whether there is a clean one.
    rng, clean_rng = np.random.default_rng(0), np.random.default_rng(1)
    people = rng.integers(0, 256, (8, 3, 8, 4))
    losses = []
    for step in range(1, 11):
        shown = [[rng.permutation(8)[: rng.integers(1, 4)] for _ in range(6)] for _ in range(2)]
        looks = people[np.concatenate(shown[0] + shown[1])].repeat(4, axis=2).repeat(4, axis=3)
        images, clean = (
            torch.from_numpy(np.clip(looks + source.normal(0, noise, looks.shape), 0, 255).astype(np.uint8))
            for source, noise in ((rng, 20), (clean_rng, 10))
        )
        x_counts, y_counts = ([len(rows) for rows in side] for side in shown)
        batch = Batch(images, clean, x_counts, y_counts, torch.arange(6) // 2, SECONDS)
        losses.append(learner.step(batch, step)["loss/total"].item())
    return losses


# Changing these numbers needs a reason in the commit message.
GOLDEN = {
    "augmented": [
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
    ],
    "clean": [
        2.99813676,
        2.83351493,
        2.58085513,
        1.52001584,
        2.06862140,
        2.22969127,
        2.17228889,
        2.17472816,
        1.54127300,
        1.48818862,
    ],
    "recipe": [
        1.34846783,
        1.29357827,
        0.92315274,
        0.87815583,
        0.97885495,
        1.05639744,
        1.33878982,
        0.95985758,
        0.32381073,
        0.54358852,
    ],
}


@pytest.mark.parametrize("name", TRACES)
def test_the_loss_trace_is_the_golden_one(name):
    assert golden_trace(TRACES[name]) == pytest.approx(GOLDEN[name], rel=1e-5)
