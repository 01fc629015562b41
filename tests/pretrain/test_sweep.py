"""Sweeps of pretraining: held-out clips, trials that are what was asked for, and a small sweep on Ray Tune."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pretrain.sweep
from cluster.sweep.trials import Reporter
from pretrain.config.optimizer import OptimizerConfig
from pretrain.config.run import PretrainConfig
from pretrain.config.scale import ScaleConfig
from pretrain.data.clip_table import load_clip_table
from pretrain.models.config import ModelConfig
from pretrain.models.encoder import make_encoder
from pretrain.recipes import isr_tiny
from pretrain.sweep import LABEL_FREE, SweepConfig, Trial, sweep_pretraining, with_best
from pretrain.training.checkpoint import newest, read_state
from pretrain.validation.heldout import HeldOut, clip_seconds, split_clips
from pretrain.validation.labelled import labelled_scores
from tests.lifelong.people import write_people
from tests.pretrain.ingest.films import write_clips_directory

pytestmark = pytest.mark.usefixtures("one_thread")
CONFIG = replace(
    isr_tiny(),
    epochs=2,
    batch_pairs=4,
    scale=ScaleConfig(log_every=1),
    model=ModelConfig(architecture="tiny", embedding_size=16, height=32, width=16),
    optimizer=OptimizerConfig(learning_rate=1e-3),
)
JUDGING = SweepConfig(heldout_share=0.3, gap_seconds=0.0, reports=2, samples=1)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_clips_directory(tmp_path_factory.mktemp("clips"), clips=8))


def reporter(folder: Path) -> tuple[Reporter, list[dict[str, Any]]]:
    said: list[dict[str, Any]] = []
    return Reporter(str(folder), LABEL_FREE, said.append), said


def test_clips_are_held_out_at_the_end_of_each_video(clips: str):
    table = load_clip_table(clips)
    seconds = clip_seconds(table)
    assert seconds[:8].tolist() == seconds[8:].tolist() == sorted(seconds[:8])
    training, heldout = split_clips(table, share=0.3, gap_seconds=0.0)
    assert set(training.video) == set(heldout.video) == {0, 1}
    assert clip_seconds(training).max() < clip_seconds(heldout).min()
    assert len(training) + len(heldout) == len(table)


def test_every_encoder_is_judged_on_the_same_pairs(clips: str):
    _, heldout = split_clips(load_clip_table(clips), share=0.3, gap_seconds=0.0)
    baseline = replace(CONFIG, pairs=replace(CONFIG.pairs, partner="itself"), epochs=9)
    judge, other = (HeldOut(heldout, config, gap_seconds=0.0) for config in (CONFIG, baseline))
    encoder = make_encoder(CONFIG.model, seed=0).eval()
    found = judge(1, encoder)
    assert found == other(7, encoder)
    assert found != judge(1, make_encoder(CONFIG.model, seed=1).eval())
    assert 0 < found["heldout/chance_rank1"] < found["heldout/rank1"] <= 1
    assert found["heldout/num_queries"] == 2 * 3 * len(heldout)


def test_a_trial_reports_as_often_as_asked_and_its_checkpoint_holds_its_settings(clips: str, tmp_path: Path):
    tell, said = reporter(tmp_path / "trial")
    found = Trial(CONFIG, clips, JUDGING)({"loss.temperature": "0.2", "loss.beta": 0.5}, tell)
    steps = [entry["at"] for entry in said]
    assert len(steps) >= 2
    assert found[LABEL_FREE] == said[-1]["metrics"][LABEL_FREE]
    checkpoint = newest(str(tmp_path / "trial"))
    assert checkpoint is not None
    config, state = read_state(checkpoint, PretrainConfig)
    assert (config.loss.temperature, config.loss.beta, state["step"]) == (0.2, 0.5, steps[-1])


def test_a_trial_that_ran_with_other_settings_is_an_error(clips: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pretrain.sweep, "override", lambda config, settings: config)
    with pytest.raises(
        ValueError, match=r"asked for loss.temperature=0.2, the checkpoint of the trial has 0.1: the sweep does"
    ):
        Trial(CONFIG, clips, JUDGING)({"loss.temperature": "0.2"}, reporter(tmp_path / "trial")[0])


def test_a_labelled_dataset_can_decide(tmp_path: Path):
    write_people(tmp_path / "people", tint=(1.0, 0.8, 0.6), seed=0)
    found = labelled_scores(str(tmp_path / "people"), make_encoder(CONFIG.model, seed=0).eval(), CONFIG)
    assert set(found) == {"mAP", "rank1"}
    assert all(0 < value <= 1 for value in found.values())
    assert SweepConfig(validate="market1501:x").metric == "mAP"


@pytest.mark.ray
def test_a_small_sweep_leaves_tables_a_picture_and_what_train_takes(ray_cluster: None, clips: str, tmp_path: Path):
    out = str(tmp_path / "sweep")
    found = sweep_pretraining(CONFIG, clips, out, JUDGING, over=["loss.beta=0,1"])
    assert sorted(trial["settings"]["loss.beta"] for trial in found) == ["0", "1"]
    assert np.isfinite([trial["metrics"][LABEL_FREE] for trial in found]).all()
    for name in ("sweep.json", "results.md", "response.svg", "best.json"):
        assert Path(out, name).stat().st_size > 0
    best = json.loads(Path(out, "best.json").read_text(encoding="utf-8"))
    assert with_best(CONFIG, f"{out}/best.json").loss.beta == float(best["settings"]["loss.beta"])
    assert sweep_pretraining(CONFIG, clips, out, JUDGING, over=["loss.beta=0,1"]) == found, "all trials are over"
    with pytest.raises(ValueError, match=r"belongs to a sweep with other settings \(over: .*beta=0,1.* -> .*beta=0,2"):
        sweep_pretraining(CONFIG, clips, out, JUDGING, over=["loss.beta=0,2"])
