"""Training on Ray: a short real run, what it leaves behind, and a run whose worker dies."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import ray.train

from cluster import session, storage
from cluster.errors import InputError
from cluster.values import to_json
from pretrain.config.optimizer import OptimizerConfig
from pretrain.config.run import PretrainConfig
from pretrain.config.scale import ScaleConfig, scaled
from pretrain.export import export
from pretrain.ingest.clips import write_clips
from pretrain.models.config import ModelConfig
from pretrain.models.directory import load_embedder
from pretrain.recipes import isr_tiny
from pretrain.runs import latest_checkpoint, train
from pretrain.training.checkpoint import read_state
from pretrain.training.isr_learner import IsrLearner
from pretrain.training.ray_train import train_loop
from pretrain.training.record import read_metrics
from tests.pretrain.ingest.films import write_clips_directory

CONFIG = replace(
    isr_tiny(),
    epochs=3,
    batch_pairs=4,
    scale=ScaleConfig(checkpoint_every=2, log_every=1),
    model=ModelConfig(architecture="tiny", embedding_size=16, height=32, width=16),
    optimizer=OptimizerConfig(learning_rate=1e-3),
    # Runs on one and two workers are compared: in single precision, another order of sums is another run after a few
    # steps, and which order it is depends on the processor.
    precision="float64",
)
ROOT = Path(__file__).parents[2]
STEPS = 9
"""Two videos of six clips, three epochs, four pairs a step."""


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_clips_directory(tmp_path_factory.mktemp("clips")))


def test_what_cannot_start_takes_no_directory(clips: str, tmp_path: Path):
    out = str(tmp_path / "run")
    with pytest.raises(
        ValueError, match=r"12 clips give 36 frame pairs in 3 epochs, less than a batch of 64; lower --batch"
    ):
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
    with pytest.raises(ValueError, match=r"needs 801 CPUs .* 400 x 2 for training workers \(--workers"):
        train(scaled(replace(CONFIG, batch_pairs=400, epochs=100), workers=400), clips, str(tmp_path / "run"))
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
    record = [json.loads(line) for line in Path(out, "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["step"] for line in record] == list(range(1, STEPS + 1))
    names = ("loss/total", "grad/norm", "reliability/mean", "reliability/effective_share", "pairs/similarity")
    for name in (*names, "data/wait_seconds", "data/wait_share", "images_per_second"):
        assert all(np.isfinite(line[name]) for line in record), name
    assert {name: final[name] for name in names} == {name: record[-1][name] for name in names}
    assert list(Path(out, "tensorboard").glob("events.out.tfevents.*"))
    kept = storage.read_json(f"{out}/config.json")
    assert kept == {"version": 2, "config": to_json(CONFIG), "clips": clips, "num_clips": 12}
    done = storage.read_json(f"{out}/done.json")
    assert "checkpoint" not in done, "a run directory may be moved"
    assert {**done, "checkpoint": final["checkpoint"]} == final
    checkpoints = sorted(Path(out, "checkpoints").glob("*/state.json"))
    assert [path.parent.name for path in checkpoints] == ["000000008", "000000009"]
    assert {path.name for path in Path(out).iterdir()} == {
        "config.json", "start.safetensors", "metrics.jsonl", "tensorboard", "checkpoints", "done.json"
    }  # fmt: skip
    config, state = read_state(final["checkpoint"], PretrainConfig)
    assert (config, state["step"]) == (CONFIG, STEPS)
    assert latest_checkpoint(out) == final["checkpoint"] == str(checkpoints[-1].parent)


@pytest.mark.ray
def test_the_same_command_again_returns_without_ray(
    finished: tuple[str, dict[str, Any]], clips: str, monkeypatch: pytest.MonkeyPatch
):
    out, final = finished
    before = Path(out, "metrics.jsonl").read_bytes()
    monkeypatch.setattr(session, "connect", None)
    assert train(CONFIG, clips, out) == final
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
    with pytest.raises(
        ValueError, match=r"other settings \(config.seed: 0 -> 1; config.loss.temperature: 0.1 -> 0.2\); go on with"
    ):
        train(replace(CONFIG, seed=1, loss=replace(CONFIG.loss, temperature=0.2)), clips, out)
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


@pytest.mark.ray
def test_what_a_worker_cannot_use_is_said_as_it_is_and_not_tried_again(ray_cluster: None, tmp_path: Path):
    """A damaged crop of a clip that nobody looks at before the run: a reader finds it, behind two of Ray's layers."""
    folder = write_clips_directory(tmp_path / "clips")
    file = folder / "clips" / "0.parquet"
    rows = pq.read_table(file).to_pylist()
    for frame in rows[2]["frames"]:
        frame["crops"][0]["jpeg"] = b"no image"
    write_clips(str(file), rows)
    with pytest.raises(InputError, match=r"^a crop of frame \d+ is damaged; prepare the clips again$"):
        train(CONFIG, str(folder), str(tmp_path / "run"))


def test_what_clips_lack_is_said_before_anything_starts(tmp_path: Path):
    folder = write_clips_directory(tmp_path / "clips")
    for file in (folder / "clips").iterdir():
        rows = pq.read_table(file).to_pylist()
        for crop in (crop for row in rows for frame in row["frames"] for crop in frame["crops"]):
            crop["left"] = crop["top"] = float("nan")
        write_clips(str(file), rows)
    with pytest.raises(InputError, match=r"made from crops without boxes, which .*; give left,top,width,height in the"):
        train(CONFIG, str(folder), str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


DIES, WAITS = 4, 8
"""Steps before which a worker is killed once, and before which two workers wait for ever."""


def troubled_loop(folder: Path) -> Callable[[dict[str, Any]], None]:
    """The real loop in two workers of which one is killed, as a machine that goes away is, and which later hang.

    Every worker notes the draws that it learns from, in a file of its own.
    """

    def loop(settings: dict[str, Any]) -> None:
        rank = ray.train.get_context().get_world_rank()
        take_step, to_batch = IsrLearner.step, IsrLearner.to_batch

        def fragile(self: Any, batch: Any, number: int) -> Any:
            if number == DIES and rank == 1 and not (folder / "died").exists():
                (folder / "died").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            if number == WAITS:
                (folder / f"waits-{rank}").touch()
                time.sleep(600)
            return take_step(self, batch, number)

        def noted(self: Any, columns: Any) -> Any:
            with (folder / f"draws-{os.getpid()}").open("a", encoding="utf-8") as stream:
                stream.write(f"{rank} {columns['draw'].tolist()}\n")
            return to_batch(self, columns)

        IsrLearner.step, IsrLearner.to_batch = fragile, noted
        train_loop(settings)

    return loop


def assert_learned_alike(smooth: str, bumpy: str) -> None:
    """The records of two runs tell of the same steps, up to sums in another order."""
    wanted, found = read_metrics(smooth), read_metrics(bumpy)
    assert [line["step"] for line in found] == list(range(1, STEPS + 1))
    for name in ("loss/total", "grad/norm", "pairs/similarity"):
        assert [line[name] for line in found] == pytest.approx([line[name] for line in wanted], rel=1e-8), name
    assert images_of(found) == pytest.approx(images_of(wanted)), "of all workers"


def images_of(record: list[dict[str, Any]]) -> list[float]:
    """Images of each line, from their rate and the seconds of the line."""
    return [line["images_per_second"] * line["data/wait_seconds"] / line["data/wait_share"] for line in record]


DRIVER = """
import sys
from pathlib import Path
import pretrain.training.ray_train
from pretrain.config.scale import scaled
from pretrain.runs import train
from tests.pretrain.test_runs import CONFIG, troubled_loop
clips, out, folder = sys.argv[1:]
pretrain.training.ray_train.train_loop = troubled_loop(Path(folder))
train(scaled(CONFIG, workers=2), clips, out)
"""


@pytest.mark.ray
def test_a_run_that_loses_a_worker_and_then_its_driver_learns_what_one_without_trouble_learns(
    finished: tuple[str, dict[str, Any]], clips: str, tmp_path: Path
):
    """Two workers, of which one is killed; then the driver is, and the same command goes on with one worker.

    They go on with the very samples that come next, so the whole record is that of the run without trouble.
    """
    out = str(tmp_path / "run")
    command = [sys.executable, "-c", DRIVER, clips, out, str(tmp_path)]
    driver = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "RAY_ADDRESS": session.address()})
    try:
        for rank in (0, 1):
            await_file(tmp_path / f"waits-{rank}", driver)
        await_step(WAITS - 1, out)
    finally:
        driver.kill()
        driver.wait()
    assert (tmp_path / "died").exists()
    lines = steps_of(out)
    # The checkpoint of step 2 was safe when the worker died, and that of step 4 was not begun.
    assert lines[:2] == [1, 2]
    assert min(lines[2:]) == 3, "nothing was done again from the start"
    assert lines[-4:] == [4, 5, 6, 7]
    assert_divided(tmp_path)

    final = train(CONFIG, clips, out)
    assert final["step"] == STEPS
    after = steps_of(out)[len(lines) :]
    assert after == [7, 8, 9], "a checkpoint was gone on from"
    assert_learned_alike(finished[0], out)


def assert_divided(folder: Path) -> None:
    """Two workers learned from every sample of their steps, each from its own, and again from few."""
    draws = [
        (int(rank), draw)
        for path in folder.glob("draws-*")
        for rank, _, listed in (line.partition(" ") for line in path.read_text(encoding="utf-8").splitlines())
        for draw in json.loads(listed)
    ]
    assert {draw for _, draw in draws} == set(range(4 * WAITS)), "every clip was learned from"
    assert all(rank == draw % 4 // 2 for rank, draw in draws), "by one worker"
    again = [draw for draw in set(draws) if draws.count(draw) > 1]
    assert all(8 <= draw < 16 for _, draw in again), "twice only what no checkpoint had when the worker died"


def steps_of(out: str) -> list[int]:
    return [json.loads(line)["step"] for line in Path(out, "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def await_step(step: int, out: str, seconds: float = 60) -> None:
    """The workers are before the next step; Ray's controller may not have asked for the reports of this one yet."""
    deadline = time.monotonic() + seconds
    while steps_of(out)[-1] < step:
        assert time.monotonic() < deadline, f"the record of step {step} did not come"
        time.sleep(0.1)


def await_file(path: Path, process: subprocess.Popen[bytes], seconds: float = 900) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None, "it ended by itself"
        assert time.monotonic() < deadline, f"{path.name} did not come"
        time.sleep(0.2)


@pytest.mark.ray
def test_an_elastic_run_that_loses_a_machine_goes_on_with_those_that_are_left(
    finished: tuple[str, dict[str, Any]], clips: str, tmp_path: Path
):
    """On a cluster of two nodes of its own, in a process of its own; see `tests.pretrain.losing_a_node`."""
    out = str(tmp_path / "run")
    command = [sys.executable, "-m", "tests.pretrain.losing_a_node", clips, out, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False, encoding="utf-8")
    assert done.returncode == 0, done.stderr[-3000:]
    said = [line for line in done.stdout.splitlines() if line.startswith("{")]  # Ray tells of the lost node there too
    assert json.loads(said[-1]) == {"step": STEPS, "sizes": [2, 1]}
    assert_learned_alike(finished[0], out)
