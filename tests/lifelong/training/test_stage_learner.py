"""The step of a stage: terms by name, two ranks against one process with all the data, and what may not change."""

from dataclasses import replace

import pytest
import torch
from torch.nn.parallel import DistributedDataParallel

from lifelong.data.feed import Batch
from lifelong.models.network import next_model
from lifelong.recipes import FULL_SIZE, RECIPES, find_recipe
from lifelong.stages.config import MemoryConfig, StageConfig
from lifelong.stages.loss_config import LossConfig
from lifelong.training.batch_view import Bank
from lifelong.training.objective import weighted_sum
from lifelong.training.stage_learner import StageLearner
from pretrain.config.optimizer import OptimizerConfig
from pretrain.distributed.batch_norm import synchronise_batch_norm
from pretrain.models.config import ModelConfig
from pretrain.models.encoder import make_encoder
from pretrain.training.checkpoint import load_checkpoint, save_checkpoint

pytestmark = pytest.mark.usefixtures("one_thread")
EVERYTHING = LossConfig(
    compatibility=1.0,
    influence=0.5,
    parts=0.1,
    consolidation=1.0,
    logit_distillation=1.0,
    relation_distillation=1.0,
)
CONFIG = StageConfig(
    recipe="test",
    batch_identities=2,
    later_rate=1.0,
    model=ModelConfig(architecture="tiny", embedding_size=8, height=32, width=16),
    loss=EVERYTHING,
    memory=MemoryConfig(identities=2),
    optimizer=OptimizerConfig(learning_rate=1e-3, warmup_fraction=0.0),
)


def networks(config=CONFIG):
    """A teacher with three identities and a network with five that begins where the teacher ended."""
    encoder = {f"encoder.{name}": value for name, value in make_encoder(config.model, seed=0).state_dict().items()}
    generator = torch.Generator().manual_seed(0)
    teacher = next_model(config, encoder, torch.randn(3, 8, generator=generator))
    return teacher, next_model(config, teacher.state_dict(), torch.randn(2, 8, generator=generator))


def bank():
    generator = torch.Generator().manual_seed(1)
    feature = torch.nn.functional.normalize(torch.randn(6, 8, generator=generator), dim=1)
    return Bank(feature, torch.tensor([0, 0, 1, 1, 2, 2]), torch.tensor([1, 1, 1, 1, 2, 2]))


def make_learner(config=CONFIG, wrap=lambda model: model, stage=2):
    teacher, model = networks(config)
    return StageLearner(
        config,
        stage=stage,
        total_steps=3,
        device=torch.device("cpu"),
        wrapped=wrap(model),
        teacher=teacher if stage > 1 else None,
        bank=bank() if stage > 1 else None,
    )


def batch(ranks=(0, 1), step=1):
    """For each rank: four new images of one identity, four replayed ones of two."""
    parts = []
    for rank in ranks:
        generator = torch.Generator().manual_seed(10 * step + rank)
        images = torch.randint(0, 256, (8, 3, 32, 16), generator=generator, dtype=torch.uint8)
        label = torch.tensor([3 + rank] * 4 + [rank, rank, 2, 2])
        parts.append((images, label, torch.tensor([False] * 4 + [True] * 4)))
    return Batch(*(torch.cat(column) for column in zip(*parts, strict=True)))


def test_every_term_is_reported_by_its_name():
    metrics = make_learner().step(batch(), 1)
    names = {name.removeprefix("loss/") for name in metrics if name.startswith("loss/")} - {"total"}
    assert names == set(EVERYTHING.weights())
    terms = {name: metrics[f"loss/{name}"] for name in names}
    assert torch.allclose(metrics["loss/total"], weighted_sum(terms, EVERYTHING))
    assert all(value.isfinite() for value in metrics.values())


def test_the_first_stage_looks_at_nothing_old():
    metrics = make_learner(stage=1).step(batch(), 1)
    assert {name for name in metrics if name.startswith("loss/")} == {
        "loss/total", "loss/identity", "loss/triplet", "loss/parts",
    }  # fmt: skip


def test_a_stage_begins_where_the_last_one_ended():
    """The student is the teacher: logits of known identities and relations agree, but for batch norm's mode."""
    learner = make_learner(replace(CONFIG, freeze_batch_norm="later"))
    metrics = learner.step(batch(), 1)
    for name in ("consolidation", "logit_distillation", "relation_distillation"):
        assert metrics[f"loss/{name}"] == pytest.approx(0, abs=1e-6), name
    assert learner.step(batch(), 2)["loss/logit_distillation"] > 0


def test_the_past_does_not_change():
    learner = make_learner()
    remembered = bank()
    before = {name: value.clone() for name, value in learner.teacher.state_dict().items()}
    frozen = learner.past.frozen_CD.clone()
    for step in (1, 2, 3):
        learner.step(batch(step=step), step)
    assert all(torch.equal(value, before[name]) for name, value in learner.teacher.state_dict().items())
    assert torch.equal(learner.past.bank.feature_MD, remembered.feature_MD)
    assert torch.equal(learner.past.frozen_CD, frozen)
    assert not torch.equal(learner.module.classifier[:3], frozen[:3]), "the network does"


def test_frozen_batch_norm_keeps_its_statistics():
    for frozen in (True, False):
        learner = make_learner(replace(CONFIG, freeze_batch_norm="later" if frozen else "never"))
        before = learner.module.encoder.backbone.bn1.running_mean.clone()
        learner.step(batch(), 1)
        assert torch.equal(learner.module.encoder.backbone.bn1.running_mean, before) == frozen


def test_only_the_previous_stage_is_in_the_bank_when_that_is_asked_for():
    learner = make_learner(replace(CONFIG, loss=replace(EVERYTHING, bank="previous")))
    assert learner.past.bank.stage_M.tolist() == [2, 2]


def test_later_stages_learn_more_slowly():
    config = replace(CONFIG, later_rate=0.1)
    rates = [make_learner(config, stage=stage).step(batch(), 1)["optimizer/learning_rate"] for stage in (1, 2)]
    assert rates[1] == pytest.approx(0.1 * rates[0])


def test_a_number_that_is_not_finite_stops_the_stage_before_the_update():
    learner = make_learner()
    with torch.no_grad():
        learner.module.encoder.embedding.weight[0, 0] = float("nan")
    before = {name: value.clone() for name, value in learner.module.state_dict().items() if "running" not in name}
    with pytest.raises(FloatingPointError, match=r"step 1, rank 0: embedding nan .*stopped before the update"):
        learner.step(batch(), 1)
    kept = learner.module.state_dict()
    assert all(
        torch.equal(kept[name].nan_to_num(), value.nan_to_num())
        for name, value in before.items()
        if "num_batches" not in name
    )


def calm(config):
    """In double precision, and without decay, which acts on weights whose gradient is rounding error too."""
    return replace(config, optimizer=replace(config.optimizer, weight_decay=0.0), precision="float64")


def gradients(learner):
    return {name: value.grad.clone() for name, value in learner.module.named_parameters()}


def one_step(rank, world_size):
    learner = make_learner(calm(CONFIG), wrap=lambda model: DistributedDataParallel(synchronise_batch_norm(model)))
    metrics = learner.step(batch((rank,)), 1)
    return metrics, gradients(learner)


@pytest.mark.slow
def test_two_ranks_have_the_loss_and_the_gradient_of_the_whole_batch(run_ranks):
    learner = make_learner(calm(CONFIG))
    expected_metrics = learner.step(batch((0, 1)), 1)
    expected = gradients(learner)
    for metrics, found in run_ranks(one_step, 2):
        for name, value in expected_metrics.items():
            assert metrics[name] == pytest.approx(float(value), rel=1e-9, abs=1e-12), name
        for name, value in expected.items():
            assert torch.allclose(found[name], value, rtol=1e-7, atol=1e-9 * float(value.abs().max())), name


def test_a_resumed_stage_equals_one_that_was_never_stopped_bit_by_bit(tmp_path):
    whole = make_learner()
    for step in (1, 2):
        whole.step(batch(step=step), step)
    save_checkpoint(str(tmp_path), whole, 2)
    whole.step(batch(step=3), 3)
    resumed = make_learner()
    assert load_checkpoint(str(tmp_path), resumed) == 2
    resumed.step(batch(step=3), 3)
    found, expected = resumed.module.state_dict(), whole.module.state_dict()
    assert {name for name in expected if not torch.equal(found[name], expected[name])} == set()


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_takes_a_step(name):
    config = replace(
        find_recipe(name)(), model=CONFIG.model, batch_identities=2, optimizer=CONFIG.optimizer, scale=CONFIG.scale
    )
    metrics = make_learner(config).step(batch(), 1)
    assert {key for key in metrics if key.startswith("loss/")} == {
        f"loss/{term}" for term in ("total", *config.loss.weights())
    }
    assert config.recipe == name


def test_recipes_differ_where_they_say():
    full = find_recipe("lreid-bc")()
    average = find_recipe("lreid-bc-average")()
    assert replace(average, recipe="lreid-bc", loss=replace(average.loss, combine="product")) == full
    assert find_recipe("finetune")().memory.identities == find_recipe("lwf")().memory.identities == 0
    assert find_recipe("joint")().joint
    assert len(RECIPES) == 2 * len(FULL_SIZE)
    with pytest.raises(ValueError, match="perhaps you meant lreid-bc"):
        find_recipe("lreidbc")
