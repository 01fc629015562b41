"""What the step does beside the loss: rates, clipping, modes of batch norm, and schedules that count epochs."""

from dataclasses import replace

import pytest
import torch

from lifelong.stages.loss_config import EpisodeLossConfig, LossConfig, MatchingLossConfig
from lifelong.training.stage_learner import StageLearner
from pretrain.training.checkpoint import load_checkpoint, save_checkpoint
from tests.lifelong.training.test_stage_learner import CONFIG, batch, networks

pytestmark = pytest.mark.usefixtures("one_thread")
EPISODES = replace(
    CONFIG,
    sampler="episodes",
    loss=LossConfig(identity=0, triplet=0, episode=EpisodeLossConfig(metric=1, distillation=1)),
)
MATCHING = replace(CONFIG, loss=LossConfig(identity=0, triplet=0, matching=MatchingLossConfig(triplet=1, channels=4)))
ADAPTIVE = replace(CONFIG, schedule="adaptive", loss=LossConfig())


def learner_of(config, *, stage=2, total_steps=12, steps_per_epoch=2.0, **options):
    teacher, model = networks(config)
    return StageLearner(
        config,
        stage=stage,
        total_steps=total_steps,
        device=torch.device("cpu"),
        wrapped=model,
        teacher=teacher if stage > 1 else None,
        steps_per_epoch=steps_per_epoch,
        **options,
    )


def new_images_only(step=1):
    found = batch(step=step)
    kept = ~found.is_replay
    return replace(found, images=found.images[kept], label=found.label[kept], is_replay=found.is_replay[kept])


def test_prototypes_agree_with_a_teacher_of_the_same_statistics():
    """The student is the teacher: with the batch's statistics in both, there is nothing to distil yet."""
    first = learner_of(replace(EPISODES, teacher_statistics="batch")).step(new_images_only(), 1)
    assert first["loss/prototype_distillation"] == pytest.approx(0, abs=1e-6)
    config = replace(EPISODES.loss.episode, drop_positive=False, target_weight=1.0)
    other = learner_of(replace(EPISODES, loss=replace(EPISODES.loss, episode=config)))
    assert other.step(new_images_only(), 1)["loss/prototype_distillation"] > 1e-6


def test_a_teacher_keeps_its_own_statistics():
    learner = learner_of(replace(EPISODES, teacher_statistics="batch"))
    before = {name: value.clone() for name, value in learner.teacher.state_dict().items()}
    learner.step(new_images_only(), 1)
    assert all(torch.equal(value, before[name]) for name, value in learner.teacher.state_dict().items())
    assert not any(module.training for module in learner.teacher.modules())


def test_what_no_term_reaches_stays_as_it_is():
    learner = learner_of(MATCHING, stage=1)
    before = {name: value.clone() for name, value in learner.module.named_parameters()}
    learner.step(new_images_only(), 1)
    still = {name for name, value in learner.module.named_parameters() if torch.equal(value, before[name])}
    assert {"classifier", "encoder.embedding.weight", "encoder.embedding.bias"} <= still
    assert "matching.neck.weight" not in still
    assert "encoder.backbone.conv1.weight" not in still


def test_the_encoder_may_learn_more_slowly():
    learner = learner_of(replace(CONFIG, encoder_rate=0.0))
    before = {name: value.clone() for name, value in learner.module.named_parameters()}
    learner.step(batch(), 1)
    for name, value in learner.module.named_parameters():
        assert torch.equal(value, before[name]) == name.startswith("encoder."), name


def test_encoder_and_heads_may_be_clipped_apart():
    norms = {}
    for clip in ("together", "apart"):
        config = replace(CONFIG, clip=clip, optimizer=replace(CONFIG.optimizer, max_gradient_norm=1e-3))
        learner = learner_of(config)
        told = learner.step(batch(), 1)["grad/norm"]
        sides = [
            torch.cat([p.grad.flatten() for name, p in learner.module.named_parameters() if name.startswith(s)]).norm()
            for s in ("encoder.", ("classifier", "part_head."))
        ]
        norms[clip] = (float(told), *map(float, sides))
    assert norms["apart"][0] == pytest.approx(norms["together"][0], rel=1e-4)
    assert norms["apart"][1:] == pytest.approx((1e-3, 1e-3), rel=1e-3)
    assert torch.tensor(norms["together"][1:]).norm().item() == pytest.approx(1e-3, rel=1e-3)


def test_batch_norm_may_be_frozen_from_the_beginning():
    learner = learner_of(replace(MATCHING, freeze_batch_norm="always"), stage=1)
    before = learner.module.encoder.backbone.bn1.running_mean.clone()
    matcher = learner.module.matching.bn.running_mean.clone()
    learner.step(new_images_only(), 1)
    assert torch.equal(learner.module.encoder.backbone.bn1.running_mean, before)
    assert not torch.equal(learner.module.matching.bn.running_mean, matcher), "the matcher's own goes on"


def test_epochs_are_announced_at_their_beginning():
    heard = []
    learner = learner_of(
        ADAPTIVE, total_steps=5, before_epoch=lambda epoch, model: heard.append((epoch, model is learner.module))
    )
    for step in range(1, 6):
        learner.step(batch(step=step), step)
        assert len(heard) == min(step // 2, 2)
    assert heard == [(1, True), (2, True)]


def test_the_late_decay_is_constant_at_first():
    learner = learner_of(replace(ADAPTIVE, schedule="late-decay", later_rate=1.0), total_steps=12)
    rates = [float(learner.step(batch(step=step), step)["optimizer/learning_rate"]) for step in range(1, 13)]
    assert rates[:4] == pytest.approx([1e-3] * 4)
    assert rates[11] < rates[7] < rates[4] < 1e-3
    assert rates[6] == rates[7], "steps of one epoch"


def scripted(losses):
    """A learner whose losses are known: they are what its schedule sees."""
    learner = learner_of(ADAPTIVE, total_steps=40)
    for step, loss in enumerate(losses, 1):
        learner._end_step(step, torch.tensor(loss))
    return learner


def test_an_adaptive_stage_ends_soon_after_its_loss_has_fallen():
    learner = scripted([9.0, 9.0, 2.0, 4.0, 2.5, 2.5, 2.0, 2.1])  # means 9, 3, 2.5, 2.05 < 0.7 * 3: the fourth epoch
    assert learner.total_steps == 6 * 2
    assert learner._factor(9) == 0.1
    assert scripted([9.0] * 20).total_steps == 40


def test_a_resumed_stage_knows_what_its_schedule_found_out(tmp_path):
    losses = [9.0, 9.0, 3.0, 3.0, 2.5, 2.5, 2.0]  # in the middle of the epoch in which the loss falls
    save_checkpoint(str(tmp_path), scripted(losses), 7)
    resumed = learner_of(ADAPTIVE, total_steps=40)
    assert load_checkpoint(str(tmp_path), resumed) == 7
    resumed._end_step(8, torch.tensor(2.0))
    assert resumed.total_steps == 12


def test_momentum_goes_into_a_checkpoint(tmp_path):
    config = replace(CONFIG, optimizer=replace(CONFIG.optimizer, kind="sgd"))
    one, other = learner_of(config), learner_of(config)
    one.step(batch(), 1)
    save_checkpoint(str(tmp_path), one, 1)
    assert load_checkpoint(str(tmp_path), other) == 1
    for learner in (one, other):
        learner.step(batch(step=2), 2)
    for (name, a), b in zip(one.module.named_parameters(), other.module.parameters(), strict=True):
        assert torch.equal(a, b), name
