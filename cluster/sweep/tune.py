"""Ray Tune around any function of a configuration.

A trial is one plain function in one process that holds all its resources: no group of workers inside it, which on
Ray 2.60 starves beside others of its kind and leaks when it is stopped. Of Tune's own state nothing is read again:
it lacks what happened since it was last saved, and forgets what the scheduler knew.
"""

import logging
import math
import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler

from cluster import session, storage
from cluster.console import console
from cluster.errors import InputError
from cluster.resources import Demand, check_fits
from cluster.sweep.trials import (
    Halving,
    Mode,
    Record,
    Reporter,
    announce,
    begin,
    folder_of,
    new_record,
    ordered,
    write_record,
)

Trial = Callable[[dict[str, Any], Reporter], Mapping[str, float]]
"""From the settings of a trial to its metrics."""


def sweep(
    trial: Trial,
    trials: Sequence[Mapping[str, Any]],
    out: str,
    *,
    metric: str,
    mode: Mode = "max",
    cpus: int,
    gpus: int = 0,
    halving: Halving | None = None,
    max_concurrent: int | None = None,
) -> list[dict[str, Any]]:
    """Run all trials, as many at once as fit what is free; the same call again runs those that are missing or failed.

    Args:
        trial: From the settings of a trial and a `Reporter` to its metrics; runs in a process of its own.
        trials: Settings of each.
        out: Location of the sweep: a folder or a URL.
        metric: By which trials are ordered.
        mode: Whether the best has the largest or the smallest.
        cpus: Logical CPUs of a trial.
        gpus: GPUs of a trial.
        halving: Which trials are stopped early; none unless given.
        max_concurrent: Trials at once, at most.

    Returns:
        See `cluster.sweep.trials.ordered`: the best first.

    Raises:
        InputError: If a trial does not fit the cluster, two are alike, or ``out`` holds another sweep.
        KeyboardInterrupt: If the sweep was interrupted.
    """
    if max_concurrent is not None and max_concurrent < 1:
        raise InputError(f"max_concurrent must be >= 1, got {max_concurrent}")
    demand = Demand(what="a trial", count=1, cpus=cpus, gpus=gpus, remedy="--cpus-per-worker")
    check_fits([demand], session.total_resources())
    check_one_machine(cpus, gpus, [node["Resources"] for node in ray.nodes() if node["Alive"]])
    records = begin(out, trials, metric=metric, mode=mode, halving=halving and asdict(halving))
    missing = {name: record for name, record in records.items() if record["state"] not in ("finished", "stopped")}
    announce(out, len(records), missing)
    if missing:
        past = [record["reports"] for name, record in records.items() if name not in missing]
        records |= {name: new_record(record["settings"]) for name, record in missing.items()}
        logging.getLogger("ray.tune").setLevel(logging.WARNING)
        os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # the new one prints on standard output, however quiet
        max_steps = halving.max_steps if halving else math.inf
        work = _Work(trial, out, metric, max_steps, missing)
        tune.Tuner(
            tune.with_resources(work, {"cpu": cpus, **({"gpu": gpus} if gpus else {})}),
            param_space={"trial": tune.grid_search(list(missing))},
            tune_config=tune.TuneConfig(
                scheduler=asha(halving, metric, mode, past) if halving else None, max_concurrent_trials=max_concurrent
            ),
            run_config=tune.RunConfig(
                name=uuid.uuid4().hex[:8],  # Tune's logs of this call, beside those of earlier ones
                storage_path=storage.join(out, "tune"),
                callbacks=[_Recorder(out, metric, records)],
                verbose=0,
            ),
        ).fit()
    if any(record["state"] in ("new", "running") for record in records.values()):
        raise KeyboardInterrupt  # after which Tune returns as if all was well
    return ordered(out, records, metric, mode)


def check_one_machine(cpus: float, gpus: float, nodes: Sequence[Mapping[str, float]]) -> None:
    """Refuse a trial that no single machine has room for; it would wait for ever.

    Args:
        cpus: Logical CPUs of the trial.
        gpus: GPUs of the trial.
        nodes: Resources of each machine by name.

    Raises:
        InputError: If there is no such machine.
    """
    if not any(node.get("CPU", 0) >= cpus and node.get("GPU", 0) >= gpus for node in nodes):
        have = "; ".join(sorted({f"{node.get('CPU', 0):g} and {node.get('GPU', 0):g}" for node in nodes}))
        raise InputError(
            f"a trial needs {cpus:g} CPUs and {gpus:g} GPUs on one machine, and the cluster's machines have {have}; "
            "give fewer (--cpus-per-worker) or join one with larger machines"
        )


def asha(halving: Halving, metric: str, mode: Mode, past: Sequence[Sequence[Mapping[str, Any]]]) -> ASHAScheduler:
    """Make Ray Tune's scheduler, and tell it what trials of earlier calls reported.

    Args:
        halving: How trials are halved.
        metric: By which.
        mode: Whether larger or smaller is better.
        past: The reports of each earlier trial, see `cluster.sweep.trials`.
    """
    scheduler = ASHAScheduler(
        time_attr="step",
        metric="value",
        mode=mode,
        max_t=halving.max_steps,
        grace_period=halving.grace_steps,
        reduction_factor=halving.reduction_factor,
    )
    controller = cast("Any", None)  # which this scheduler never asks
    for number, reports in enumerate(past):
        trial = cast("Any", SimpleNamespace(trial_id=f"past-{number}"))
        scheduler.on_trial_add(controller, trial)
        for report in reports:
            if report["step"] < halving.max_steps:
                known = {"step": report["step"], "value": report["metrics"][metric]}
                scheduler.on_trial_result(controller, trial, known)
    return scheduler


def require_applied(asked: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """Refuse a trial whose own checkpoint or configuration says that it ran with other settings.

    Args:
        asked: Settings by path, such as ``loss.temperature``; text is read as the kind of value that was found.
        found: The configuration that the trial wrote, nested or by path.

    Raises:
        ValueError: Names the first setting that differs.
    """
    for path, wanted in asked.items():
        value: Any = found
        for part in [path] if path in found else path.replace("-", "_").split("."):
            value = value.get(part, "no such setting") if isinstance(value, Mapping) else "no such setting"
        if not _is_same(wanted, value):
            raise InputError(
                f"asked for {path}={wanted}, the checkpoint of the trial has {value}: "
                "the sweep does not apply its settings"
            )


def _is_same(wanted: Any, value: Any) -> bool:
    if isinstance(wanted, str) and isinstance(value, bool):
        return wanted.lower() == str(value).lower()
    if isinstance(wanted, str) and isinstance(value, int | float):
        try:
            return float(wanted) == value
        except ValueError:
            return False
    if isinstance(wanted, list | tuple) and isinstance(value, list | tuple):
        return list(wanted) == list(value)
    return wanted == value and isinstance(wanted, bool) == isinstance(value, bool)


class _Work:
    """What Tune runs: the trial of a name."""

    def __init__(self, trial: Trial, out: str, metric: str, max_steps: float, records: Mapping[str, Record]) -> None:
        self.trial, self.out, self.metric, self.max_steps, self.records = trial, out, metric, max_steps, records
        self.__name__ = "trial"

    def __call__(self, config: dict[str, Any]) -> None:
        record, folder = self.records[config["trial"]], folder_of(self.out, config["trial"])
        reporter = Reporter(folder, self.metric, tune.report, max_steps=self.max_steps, earlier=record["reports"])
        reporter.finish(self.trial(record["settings"], reporter))


class _Recorder(tune.Callback):
    """Keeps what trials say, in the process of the sweep."""

    def __init__(self, out: str, metric: str, records: dict[str, Record]) -> None:
        self.out, self.metric, self.records = out, metric, records

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
        record = self.records[trial.config["trial"]]
        record["metrics"] = result["metrics"]
        if "at" in result:
            record["reports"].append({"step": result["at"], "metrics": result["metrics"]})
        # Tune sets `done` before it tells us, where its scheduler stops the trial.
        self._keep(trial, "finished" if "final" in result else "stopped" if result.get("done") else "running")

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        traceback = Path(trial.error_file).read_text(encoding="utf-8")  # which Tune copies to the storage only later
        self.records[trial.config["trial"]]["error"] = traceback.strip().splitlines()[-1]
        self._keep(trial, "failed")

    def _keep(self, trial: Any, state: str) -> None:
        name = trial.config["trial"]
        record = self.records[name]
        record["state"] = state
        write_record(self.out, name, record)
        if state != "running":
            num_over = sum(one["state"] not in ("new", "running") for one in self.records.values())
            said = record["error"] if state == "failed" else f"{self.metric} {record['metrics'][self.metric]:.4g}"
            console.print(f"{num_over} of {len(self.records)}: trial {name} {state}: {said}", markup=False)
