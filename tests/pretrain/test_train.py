"""Training on Ray: a short real run, what it leaves behind, and a run whose worker dies."""

import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pretrain.train
from cluster import storage
from cluster.values import fingerprint, to_json
from pretrain.config import ModelConfig, OptimizerConfig, PretrainConfig
from pretrain.models.directory import load_embedder
from pretrain.models.export import export
from pretrain.recipes import isr_tiny
from pretrain.runs.checkpoint import read_state
from pretrain.runs.metrics import read_metrics
from pretrain.train import latest_checkpoint, train, train_loop
from tests.pretrain.ingest.films import write_clips_directory

CONFIG = replace(
    isr_tiny(),
    epochs=3,
    batch_pairs=4,
    cpus_per_worker=1,
    checkpoint_every=2,
    log_every=1,
    model=ModelConfig(architecture="tiny", embedding_size=16, height=32, width=16),
    optimizer=OptimizerConfig(learning_rate=1e-3),
)
STEPS = 9
"""Two videos of six clips, three epochs, four pairs a step."""


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_clips_directory(tmp_path_factory.mktemp("clips")))


def test_what_cannot_start_takes_no_directory(clips: str, tmp_path: Path):
    out = str(tmp_path / "run")
    with pytest.raises(ValueError, match=r"gives 36 frame pairs in 3 epochs, less than a batch of 64; lower --batch"):
        train(replace(CONFIG, batch_pairs=64), clips, out)
    with pytest.raises(ValueError, match="holds no finished clips"):
        train(CONFIG, str(tmp_path), out)
    assert not Path(out).exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(ValueError, match=r"mine holds other files and no config\.json of a run; give an empty --out"):
        train(CONFIG, clips, str(tmp_path / "mine"))
    with pytest.raises(ValueError, match="is no run directory"):
        latest_checkpoint(str(tmp_path))


@pytest.mark.ray
def test_a_plan_that_does_not_fit_is_refused_and_takes_no_directory(ray_cluster: None, clips: str, tmp_path: Path):
    with pytest.raises(ValueError, match=r"needs 402 CPUs .* 400 x 1 for training workers \(--workers"):
        train(replace(CONFIG, workers=400, batch_pairs=400, epochs=100), clips, str(tmp_path / "run"))
    assert not (tmp_path / "run").exists(), "the same folder can be used with fewer workers"


@pytest.fixture(scope="module")
def finished(ray_cluster: None, clips: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    """A run without any trouble."""
    out = str(tmp_path_factory.mktemp("runs") / "run")
    return out, train(CONFIG, clips, out)


@pytest.mark.ray
def test_a_run_leaves_its_record_and_its_checkpoints(finished: tuple[str, dict[str, Any]], clips: str):
    out, final = finished
    assert final["step"] == STEPS
    record = [json.loads(line) for line in Path(out, "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in record] == list(range(1, STEPS + 1))
    names = ("loss/total", "grad/norm", "reliability/mean", "reliability/effective_share", "pairs/similarity")
    for name in (*names, "data/wait_seconds", "data/wait_share", "images_per_second"):
        assert all(np.isfinite(line[name]) for line in record), name
    assert {name: final[name] for name in names} == {name: record[-1][name] for name in names}
    assert list(Path(out, "tensorboard").glob("events.out.tfevents.*"))
    assert storage.read_json(f"{out}/config.json") == {"config": to_json(CONFIG), "clips": clips, "num_clips": 12}
    done = storage.read_json(f"{out}/done.json")
    assert not Path(done["checkpoint"]).is_absolute(), "a run directory may be moved"
    assert {**done, "checkpoint": f"{out}/{done['checkpoint']}"} == final
    checkpoints = sorted(Path(out, "ray", f"isr-tiny-{fingerprint(CONFIG)}").glob("checkpoint_*/state.json"))
    assert len(checkpoints) == CONFIG.keep_checkpoints
    config, state = read_state(final["checkpoint"], PretrainConfig)
    assert (config, state["step"]) == (CONFIG, STEPS)
    assert latest_checkpoint(out) == final["checkpoint"] == str(checkpoints[-1].parent)


@pytest.mark.ray
def test_the_same_command_again_returns_at_once(finished: tuple[str, dict[str, Any]], clips: str):
    out, final = finished
    before = Path(out, "metrics.jsonl").read_bytes()
    started = time.perf_counter()
    assert train(CONFIG, clips, out) == final
    assert time.perf_counter() - started < 2
    assert Path(out, "metrics.jsonl").read_bytes() == before


@pytest.mark.ray
def test_a_run_that_only_lost_its_last_mark_finishes_without_a_step(finished: tuple[str, dict[str, Any]], clips: str):
    out, final = finished
    Path(out, "done.json").unlink()
    before = Path(out, "metrics.jsonl").read_bytes()
    assert latest_checkpoint(out) == final["checkpoint"]
    assert train(CONFIG, clips, out) == final
    assert Path(out, "metrics.jsonl").read_bytes() == before


@pytest.mark.ray
def test_another_run_in_the_same_directory_is_refused(finished: tuple[str, dict[str, Any]], clips: str, tmp_path: Path):
    out, _ = finished
    with pytest.raises(ValueError, match=r"another configuration \(seed: 0 -> 1; loss.tau: 0.1 -> 0.2\); resume with"):
        train(replace(CONFIG, seed=1, loss=replace(CONFIG.loss, tau=0.2)), clips, out)
    others = str(write_clips_directory(tmp_path / "others", clips=4))
    with pytest.raises(ValueError, match=r"clips: .* -> .*others; num_clips: 12 -> 8"):
        train(CONFIG, others, out)


@pytest.mark.ray
def test_a_run_can_be_exported(finished: tuple[str, dict[str, Any]], tmp_path: Path):
    out, _ = finished
    trained = export(out, str(tmp_path / "trained"))
    fresh = export(out, str(tmp_path / "fresh"), untrained=True)
    assert (trained["step"], fresh["step"]) == (STEPS, 0)
    image = np.random.default_rng(0).integers(0, 256, (50, 25, 3), dtype=np.uint8)
    one, other = (load_embedder(str(tmp_path / name)).embed([image])[0] for name in ("trained", "fresh"))
    assert np.linalg.norm(one) == pytest.approx(1, abs=1e-5)
    assert not np.allclose(one, other, atol=1e-3)


def dies_once_before(step: int, marker: Path) -> Callable[[dict[str, Any]], None]:
    """The real loop in a worker that ends its process, as a machine that goes away does, once before a step."""

    def loop(settings: dict[str, Any]) -> None:
        learner = pretrain.train.Learner
        take_step = learner.step

        def fragile(self: Any, batch: Any, number: int) -> Any:
            if number == step and not marker.exists():
                marker.touch()
                os._exit(1)
            return take_step(self, batch, number)

        learner.step = fragile
        train_loop(settings)

    return loop


@pytest.mark.ray
def test_a_worker_that_dies_costs_only_the_steps_since_the_checkpoint(
    finished: tuple[str, dict[str, Any]], clips: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """It goes on with the very samples that come next, so the whole record is that of the run without trouble."""
    monkeypatch.setattr(pretrain.train, "train_loop", dies_once_before(6, tmp_path / "died"))
    out = str(tmp_path / "run")
    final = train(CONFIG, clips, out)
    assert (tmp_path / "died").exists()
    assert final["step"] == STEPS
    lines = [json.loads(line)["step"] for line in Path(out, "metrics.jsonl").read_text().splitlines()]
    # The checkpoint of step 2 was safe by then; that of step 4 may have died on its way, as the report of step 5.
    assert lines[:2] == [1, 2]
    assert min(lines[2:]) == 3, "nothing was done again from the start"
    assert lines[-5:] == [5, 6, 7, 8, 9]
    smooth, bumpy = read_metrics(finished[0]), read_metrics(out)
    assert [line["step"] for line in bumpy] == list(range(1, STEPS + 1))
    for name in ("loss/total", "grad/norm", "pairs/similarity"):
        assert [line[name] for line in bumpy] == pytest.approx([line[name] for line in smooth], rel=1e-6), name
