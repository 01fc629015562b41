"""Checkpoints: a run that stops and goes on is the run that never stopped."""

import json
from dataclasses import replace

import pytest
import torch

from pretrain.config.run import PretrainConfig
from pretrain.data.batch import Batch
from pretrain.losses.config import LossConfig
from pretrain.models.config import ModelConfig
from pretrain.models.encoder import make_encoder
from pretrain.training.checkpoint import load_checkpoint, read_state, save_checkpoint
from pretrain.training.isr_learner import IsrLearner

CONFIG = PretrainConfig(
    recipe="test",
    batch_pairs=2,
    model=ModelConfig(architecture="tiny", embedding_size=8, height=16, width=16),
    loss=LossConfig(reliability="sim", beta_warmup_steps=1),
)


pytestmark = pytest.mark.usefixtures("one_thread")


def make_learner(seed=0, config=CONFIG):
    encoder = make_encoder(config.model, seed=seed)
    return IsrLearner(config, total_steps=6, device=torch.device("cpu"), wrapped=encoder)


def run(learner, steps):
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        views = torch.randint(0, 256, (2, 10, 3, 16, 16), generator=generator, dtype=torch.uint8)
        images, clean = views.unbind()
        metrics = learner.step(Batch(images, clean, [2, 3], [3, 2], torch.tensor([0, 1])), step)
    return metrics


def everything(learner):
    """All tensors that a run changes, by name."""
    found = dict(learner.module.state_dict())
    for name, parameter in learner.module.named_parameters():
        found |= {f"{name}/{key}": value for key, value in learner.optimizer.state[parameter].items()}
    return found


def test_a_resumed_run_equals_one_that_was_never_stopped_bit_by_bit(tmp_path):
    whole = make_learner()
    run(whole, [1, 2])
    save_checkpoint(str(tmp_path), whole, 2)
    expected_metrics = run(whole, [3, 4])
    resumed = make_learner(seed=9)
    assert load_checkpoint(str(tmp_path), resumed) == 2
    metrics = run(resumed, [3, 4])
    expected, got = everything(whole), everything(resumed)
    assert expected.keys() == got.keys()
    assert {name for name in expected if not torch.equal(expected[name], got[name])} == set()
    assert metrics == expected_metrics


def test_it_starts_before_the_first_step_too(tmp_path):
    first, second = make_learner(), make_learner(seed=9)
    save_checkpoint(str(tmp_path), first, 0)
    assert load_checkpoint(str(tmp_path), second) == 0
    assert run(first, [1]) == run(second, [1])


def test_a_checkpoint_is_data_that_loads_without_running_code(tmp_path):
    learner = make_learner()
    run(learner, [1])
    save_checkpoint(str(tmp_path), learner, 1)
    assert {path.name for path in tmp_path.iterdir()} == {"model.safetensors", "optimizer.safetensors", "state.json"}
    config, state = read_state(str(tmp_path), PretrainConfig)
    assert config == CONFIG
    assert (state["step"], state["total_steps"]) == (1, 6)
    for path in tmp_path.glob("*.safetensors"):
        # The format: the length of a JSON header, the header, raw numbers.
        data = path.read_bytes()
        assert isinstance(json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]), dict)


def test_another_configuration_is_refused_and_nothing_is_loaded(tmp_path):
    save_checkpoint(str(tmp_path), make_learner(), 1)
    other = make_learner(seed=9, config=replace(CONFIG, seed=9, loss=replace(CONFIG.loss, temperature=0.2)))
    before = {name: value.clone() for name, value in other.module.state_dict().items()}
    with pytest.raises(ValueError, match=r"another configuration \(seed: 0 -> 9; loss\.temperature: 0\.1 -> 0\.2\)"):
        load_checkpoint(str(tmp_path), other)
    assert all(torch.equal(value, before[name]) for name, value in other.module.state_dict().items())


def test_a_checkpoint_of_another_version_is_refused(tmp_path):
    save_checkpoint(str(tmp_path), make_learner(), 1)
    path = tmp_path / "state.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"temperature"', '"warmth"'), encoding="utf-8")
    with pytest.raises(ValueError, match=r"unknown fields \['warmth'\], missing fields \['temperature'\]"):
        load_checkpoint(str(tmp_path), make_learner())
    path.write_text(path.read_text(encoding="utf-8").replace('"version": 2', '"version": 3'), encoding="utf-8")
    with pytest.raises(ValueError, match="has version 3, and this program reads up to 2; update perennial-reid"):
        load_checkpoint(str(tmp_path), make_learner())


def test_moments_come_back_in_the_memory_layout_of_their_parameters(tmp_path):
    """Fused optimisers refuse others; what safetensors stores has none."""
    learner, resumed = make_learner(), make_learner(seed=9)
    run(learner, [1])
    save_checkpoint(str(tmp_path), learner, 1)
    load_checkpoint(str(tmp_path), resumed)
    last = 0
    for parameter in resumed.module.parameters():
        for key in ("exp_avg", "exp_avg_sq"):
            assert resumed.optimizer.state[parameter][key].stride() == parameter.stride()
        last += not parameter.is_contiguous()
    assert last > 0, "some are channels last"
