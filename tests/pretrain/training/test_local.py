"""A run in one process: the same steps after an interruption, and what it leaves."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pretrain.config.optimizer import OptimizerConfig
from pretrain.config.run import PretrainConfig
from pretrain.config.scale import ScaleConfig, scaled
from pretrain.data.clip_table import ClipTable, load_clip_table
from pretrain.models.config import ModelConfig
from pretrain.recipes import cycas_tiny, instance_tiny, isr_tiny
from pretrain.runs import train_here
from pretrain.training.checkpoint import newest, plain, read_state
from pretrain.training.record import read_metrics
from tests.pretrain.ingest.films import write_clips_directory

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = {
    "epochs": 2,
    "batch_pairs": 4,
    "scale": ScaleConfig(checkpoint_every=2, log_every=1),
    "model": ModelConfig(architecture="tiny", embedding_size=16, height=32, width=16),
    "optimizer": OptimizerConfig(learning_rate=1e-3),
}
CONFIG = replace(isr_tiny(), **SMALL)
STEPS = 6


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> ClipTable:
    return load_clip_table(str(write_clips_directory(tmp_path_factory.mktemp("clips"))))


def test_a_run_that_was_interrupted_ends_with_the_same_weights(table: ClipTable, tmp_path: Path):
    whole, _ = train_here(CONFIG, table, str(tmp_path / "whole"))

    def interrupted(step: int, encoder: torch.nn.Module) -> dict[str, float]:
        if step == 4:
            raise KeyboardInterrupt
        return {}

    with pytest.raises(KeyboardInterrupt):
        train_here(CONFIG, table, str(tmp_path / "run"), look=interrupted)
    resumed, records = train_here(
        CONFIG, table, str(tmp_path / "run"), look=lambda step, encoder: {"seen": float(step)}
    )
    assert [record["step"] for record in records] == [3, 4, 5, 6]
    assert records[-1]["seen"] == STEPS
    for name, value in whole.module.state_dict().items():
        torch.testing.assert_close(resumed.module.state_dict()[name], value, rtol=1e-5, atol=1e-6)
    _, again = train_here(CONFIG, table, str(tmp_path / "run"))
    assert again == [], "a finished run does nothing"
    assert [record["step"] for record in read_metrics(str(tmp_path / "run"))] == list(range(1, STEPS + 1))
    folders = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert folders == ["000000004", "000000006"]
    found = newest(str(tmp_path / "run"))
    assert found is not None
    assert read_state(found, PretrainConfig)[1]["step"] == STEPS


@pytest.mark.parametrize("recipe", [instance_tiny, cycas_tiny])
def test_baselines_run_on_the_same_clips(recipe, table: ClipTable, tmp_path: Path):
    _, records = train_here(replace(recipe(), **SMALL), table, str(tmp_path / "run"))
    assert len(records) == STEPS
    assert len({record["loss/total"] for record in records}) >= STEPS - 1
    assert sum(record["grad/norm"] > 0 for record in records) >= 3, "a margin can be kept by all of a batch"


def test_the_run_begins_with_given_weights(table: ClipTable, tmp_path: Path):
    first, _ = train_here(CONFIG, table, str(tmp_path / "first"))
    save_file(plain(first.module.state_dict()), tmp_path / "weights.safetensors")
    config = replace(CONFIG, start=str(tmp_path / "weights.safetensors"), optimizer=OptimizerConfig(learning_rate=1e-9))
    second, _ = train_here(config, table, str(tmp_path / "second"))
    for name, value in second.module.named_parameters():
        torch.testing.assert_close(value, first.module.state_dict()[name], rtol=0, atol=1e-6)


def test_another_loss_is_another_run(table: ClipTable, tmp_path: Path):
    train_here(CONFIG, table, str(tmp_path / "run"))
    with pytest.raises(ValueError, match=r"other settings \(config.loss.temperature: 0.1 -> 0.2\)"):
        train_here(replace(CONFIG, loss=replace(CONFIG.loss, temperature=0.2)), table, str(tmp_path / "run"))
    train_here(scaled(CONFIG, log_every=3, workers=2), table, str(tmp_path / "run"))
