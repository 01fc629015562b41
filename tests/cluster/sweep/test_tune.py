"""Sweeps on Ray Tune: they go on where they stopped, halve their trials, and leave nothing behind."""

import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.util import placement_group_table

from cluster import session, storage
from cluster.sweep.tune import Halving, asha, check_one_machine, require_applied, sweep

ROOT = Path(__file__).parents[3]


@pytest.mark.ray
def test_trials_are_ordered_failures_are_told_and_nothing_runs_twice(ray_cluster: None, tmp_path: Path):
    def trial(settings, reporter):
        with open(tmp_path / "calls", "a", encoding="utf-8") as stream:
            stream.write(f"{settings['x']}\n")
        if settings["x"] == "3" and not (tmp_path / "mended").exists():
            raise ValueError("x must not be 3")
        return {"score": -((int(settings["x"]) - 2) ** 2), "other": 1.0}

    trials = [{"x": x} for x in "1234"]
    out = str(tmp_path / "sweep")
    found = sweep(trial, trials, out, metric="score", cpus=1)
    assert [(one["settings"]["x"], one["metrics"]["score"]) for one in found[:3]] == [("2", 0), ("1", -1), ("4", -4)]
    assert found[3]["settings"] == {"x": "3"}
    assert "x must not be 3" in found[3]["error"]
    (tmp_path / "mended").touch()
    again = sweep(trial, trials, out, metric="score", cpus=1)
    assert [one["settings"]["x"] for one in again] == ["2", "1", "3", "4"]
    assert sorted((tmp_path / "calls").read_text(encoding="utf-8").split()) == ["1", "2", "3", "3", "4"], (
        "the failed one alone"
    )


@pytest.mark.ray
def test_halving_stops_the_worse_one_at_a_time_and_frees_what_they_held(ray_cluster: None, tmp_path: Path):
    def trial(settings, reporter):
        for step in range(1, 10):
            reporter.report(step, {"loss": settings["x"] / step})
        return {"loss": settings["x"] / 10, "extra": 1.0}

    trials = [{"x": 1}, {"x": 3}, {"x": 2}]
    halving = Halving(max_steps=9, grace_steps=3)
    found = sweep(
        trial, trials, str(tmp_path / "out"), metric="loss", mode="min", cpus=1, halving=halving, max_concurrent=1
    )
    assert [one["settings"]["x"] for one in found] == [1, 2, 3]
    assert found[0]["metrics"] == {"loss": 0.1, "extra": 1.0}, "the last rung stops nothing"
    assert found[0]["steps"] == 9
    assert [(one["stopped_at"], one["metrics"]) for one in found[1:]] == [(3, {"loss": 2 / 3}), (3, {"loss": 1.0})]
    until(lambda: all(group["state"] == "REMOVED" for group in placement_group_table().values()), seconds=300)


def patient_trial(folder: Path):
    """Keeps its step in its own folder; of x = 2, waits after the first until somebody allows it to go on."""

    def trial(settings, reporter):
        with open(folder / "calls", "a", encoding="utf-8") as stream:
            stream.write(f"{settings['x']}\n")
        kept = Path(reporter.folder, "step")
        begun = int(kept.read_text(encoding="utf-8")) if kept.exists() else 0
        for step in range(begun + 1, 4):
            reporter.report(step, {"score": step})
            kept.parent.mkdir(parents=True, exist_ok=True)
            if settings["x"] == 2:
                (folder / "process").write_text(str(os.getpid()), encoding="utf-8")
            kept.write_text(str(step), encoding="utf-8")
            while settings["x"] == 2 and step == 1 and not (folder / "allowed").exists():
                time.sleep(0.05)
        return {"score": settings["x"], "begun": begun}

    return trial


DRIVER = """
import sys
from pathlib import Path
from cluster import session
from cluster.sweep.tune import sweep
from tests.cluster.sweep.test_tune import patient_trial
session.connect()
sweep(patient_trial(Path(sys.argv[1])), [{"x": 1}, {"x": 2}], sys.argv[1] + "/out", metric="score", cpus=1)
"""


@pytest.mark.ray
def test_a_killed_sweep_goes_on(ray_cluster: None, tmp_path: Path):
    out = str(tmp_path / "out")
    environment = {**os.environ, "RAY_ADDRESS": session.address()}
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, str(tmp_path)], cwd=ROOT, env=environment)
    try:
        until(lambda: driver.poll() is not None or len(list(Path(out).glob("trials/*/step"))) == 2, seconds=600)
        until(lambda: driver.poll() is not None or states_of(out) == ["finished", "running"], seconds=600)
        assert driver.poll() is None
    finally:
        driver.kill()
        driver.wait()
    waiting = Path("/proc", (tmp_path / "process").read_text(encoding="utf-8"))
    until(lambda: not waiting.exists(), seconds=600)  # Ray ends what a driver leaves behind
    (tmp_path / "allowed").touch()
    found = sweep(patient_trial(tmp_path), [{"x": 1}, {"x": 2}], out, metric="score", cpus=1)
    assert (tmp_path / "calls").read_text(encoding="utf-8").split()[2:] == ["2"], "the finished one is not run again"
    assert [one["metrics"] for one in found] == [{"score": 2, "begun": 1}, {"score": 1, "begun": 0}]
    record = storage.read_json(found[0]["trial"] + ".json")
    assert [report["step"] for report in record["reports"]] == [1, 2, 3]


def until(condition, *, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds} s")
        time.sleep(0.1)


def states_of(out: str) -> list[str]:
    return sorted(storage.read_json(str(path))["state"] for path in Path(out, "trials").glob("*.json"))


@pytest.mark.parametrize(("mode", "decision"), [("max", "STOP"), ("min", "CONTINUE")])
def test_halving_knows_the_trials_of_earlier_calls(mode, decision):
    past = [[{"step": 1, "metrics": {"m": value}}, {"step": 9, "metrics": {"m": 0.0}}] for value in (0.5, 0.6, 0.7)]
    scheduler = asha(Halving(max_steps=9, grace_steps=1), "m", mode, past)
    controller: Any = None
    trial: Any = SimpleNamespace(trial_id="new")
    scheduler.on_trial_add(controller, trial)
    assert scheduler.on_trial_result(controller, trial, {"step": 1, "value": 0.4}) == decision


@pytest.mark.parametrize("wrong", [{"grace_steps": 0}, {"grace_steps": 11}, {"reduction_factor": 1}])
def test_halving_that_cannot_work_is_refused(wrong):
    with pytest.raises(ValueError, match="halving needs 1 <= grace_steps <= max_steps and reduction_factor > 1"):
        Halving(**{"max_steps": 10, "grace_steps": 1, **wrong})


def test_a_trial_needs_one_machine_that_has_it_all():
    nodes = [{"CPU": 8.0}, {"CPU": 4.0, "GPU": 1.0}]
    check_one_machine(8, 0, nodes)
    check_one_machine(4, 1, nodes)
    with pytest.raises(ValueError, match=r"needs 8 CPUs and 1 GPUs on one machine, .* have 4 and 1; 8 and 0"):
        check_one_machine(8, 1, nodes)


CONFIG = {"loss": {"temperature": 0.1, "beta": 1, "use": True}, "head": "linear", "sizes": [1, 2], "seed": 7}


@pytest.mark.parametrize(
    "asked",
    [
        {"loss.temperature": "0.1", "loss.beta": "1.0", "loss.use": "True", "head": "linear"},
        {"loss.temperature": 0.1, "loss.beta": 1.0, "loss.use": True, "sizes": (1, 2), "seed": "7"},
        {"loss.temperature": "1e-1", "loss.use": "true"},
        {},
    ],
)
def test_settings_that_were_applied_pass(asked):
    require_applied(asked, CONFIG)
    require_applied(asked, {f"loss.{name}": value for name, value in CONFIG["loss"].items()} | CONFIG)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            {"seed": "7", "loss.temperature": "0.05"},
            "asked for loss.temperature=0.05, the checkpoint of the trial has 0.1: the sweep does not apply its "
            "settings",
        ),
        ({"loss.temprature": "0.1"}, "asked for loss.temprature=0.1, the checkpoint of the trial has no such setting"),
        ({"loss.use": "false"}, "asked for loss.use=false, .* has True"),
        ({"loss.beta": True}, "asked for loss.beta=True, .* has 1"),
        ({"loss.beta": "warm"}, "asked for loss.beta=warm, .* has 1"),
        ({"head.size": "3"}, "asked for head.size=3, .* has no such setting"),
        ({"sizes": [1, 3]}, r"asked for sizes=\[1, 3\], .* has \[1, 2\]"),
    ],
)
def test_settings_that_were_not_applied_are_named(asked, message):
    with pytest.raises(ValueError, match=message):
        require_applied(asked, CONFIG)
