"""What a trial of a sweep says while it runs, and what is kept of it: a file of each, written as soon as it is known.

A record holds ``settings``; ``state``: new, running, finished, stopped or failed; ``metrics``, the last known;
``reports``, each with ``step`` and ``metrics``; and ``error`` of one that failed. It stands beside the folder of the
trial and not in it: that belongs to the trial alone.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cluster import storage
from cluster.claims import claim, refuse_others
from cluster.console import console
from cluster.errors import InputError
from cluster.sweep.search_space import name_of_trial

Mode = Literal["max", "min"]
"""Whether the best trial has the largest metric or the smallest."""
Record = dict[str, Any]
PLAN = "sweep-plan.json"
"""What a sweep is of; its trials are listed beside it."""
SHOWN = 50
"""Trials that are listed on the screen."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Halving:
    """Asynchronous successive halving (Li et al., "A System for Massively Parallel Hyperparameter Tuning", 2020).

    A trial that gets to a rung, at ``grace_steps * reduction_factor ** k`` steps, goes on if its metric is among the
    best ``1 / reduction_factor`` of those that got there before it. From ``max_steps`` on none is stopped any more:
    it ends by itself.
    """

    max_steps: int
    grace_steps: int
    """Steps of every trial, however bad; report at these and at all rungs."""
    reduction_factor: float = 3

    def __post_init__(self) -> None:
        if not (1 <= self.grace_steps <= self.max_steps and self.reduction_factor > 1):
            raise InputError(f"halving needs 1 <= grace_steps <= max_steps and reduction_factor > 1, got {self}")


class Reporter:
    """Through which a trial says how far it is."""

    def __init__(
        self,
        folder: str,
        metric: str,
        send: Callable[[dict[str, Any]], None],
        *,
        max_steps: float = math.inf,
        earlier: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Make one; only sweeps and tests do.

        Args:
            folder: Location for whatever the trial keeps: empty, or from its own earlier run, which it then continues.
            metric: What every report must hold.
            send: Takes each report.
            max_steps: From which on a trial is not stopped.
            earlier: Reports of its earlier run, sent again up to where it goes on, so that no rung is left out.
        """
        self.folder = folder
        self._metric, self._send, self._max_steps, self._earlier = metric, send, max_steps, list(earlier)
        self._step = -1

    def report(self, step: int, metrics: Mapping[str, float]) -> None:
        """Report metrics after a step; where trials are halved, this one may end here by `SystemExit`.

        Raises:
            InputError: If the step is not above the one before, or the metric is missing or any is not finite.
        """
        if step <= self._step:
            raise InputError(f"a trial must report increasing steps >= 0, got {step} after {self._step}")
        earlier, self._earlier = self._earlier, []
        for report in earlier:
            if report["step"] < step:
                self._tell(report["step"], report["metrics"])
        self._tell(step, metrics)

    def finish(self, metrics: Mapping[str, float]) -> None:
        """Report what a trial returned; same errors."""
        self._send({"final": True, **self._checked(metrics)})

    def _tell(self, step: int, metrics: Mapping[str, float]) -> None:
        self._step = step
        halved = {"step": step} if step < self._max_steps else {}
        self._send({"at": step, **halved, **self._checked(metrics)})

    def _checked(self, metrics: Mapping[str, float]) -> dict[str, Any]:
        numbers = {name: float(value) for name, value in metrics.items()}
        wrong = [f"{name}={value}" for name, value in numbers.items() if not math.isfinite(value)]
        if wrong or self._metric not in numbers:
            raise InputError(
                f"a trial must report a finite {self._metric}, got {', '.join(wrong or numbers) or 'none'}"
            )
        return {"value": numbers[self._metric], "metrics": numbers}


def folder_of(out: str, name: str) -> str:
    """Return where a trial keeps its own files."""
    return storage.join(out, "trials", name)


def new_record(settings: Mapping[str, Any]) -> Record:
    """Return the record of a trial that has said nothing yet."""
    return {"settings": dict(settings), "state": "new", "metrics": {}, "reports": []}


def write_record(out: str, name: str, record: Record) -> None:
    """Write the record of a trial."""
    storage.write_json(f"{folder_of(out, name)}.json", record)


def begin(out: str, trials: Sequence[Mapping[str, Any]], **options: Any) -> dict[str, Record]:
    """Write ``trials.json``, the list of trials, and read what is known of them.

    Args:
        out: Location of the sweep.
        trials: Settings of each.
        options: Whatever else tells this sweep from another one.

    Returns:
        The record of each trial by its name, in their order.

    Raises:
        InputError: If there are no trials, two are alike, or there is another sweep.
    """
    records = {name_of_trial(settings): new_record(settings) for settings in trials}
    if len(records) != len(trials) or not trials:
        raise InputError(f"a sweep needs trials that differ, got {len(trials)}, of which {len(records)} differ")
    listing = [{"trial": name, "settings": record["settings"]} for name, record in records.items()]
    plan = json.loads(json.dumps({**options, "trials": listing}))
    claim(out, plan, file="trials.json", what="sweep", beside=(PLAN,))
    for name in records:
        if storage.exists(f"{folder_of(out, name)}.json"):
            records[name] = storage.read_json(f"{folder_of(out, name)}.json")
    return records


def claim_sweep(out: str, mine: Mapping[str, Any], *, writes: bool) -> None:
    """Take a folder for a sweep, or go on with it; without `writes`, only check that this can be done.

    Raises:
        InputError: If there is another sweep, or other files.
    """
    (claim if writes else refuse_others)(out, mine, file=PLAN, what="sweep")


def announce(out: str, total: int, missing: Mapping[str, Record]) -> None:
    """Print which trials of a sweep are going to run."""
    console.print(f"{total} trials, {total - len(missing)} of them are over already", markup=False)
    for name, record in list(missing.items())[:SHOWN]:
        shown = ", ".join(f"{setting}={value}" for setting, value in record["settings"].items())
        console.print(f"  {name}: {shown}", markup=False)
    if len(missing) > SHOWN:
        console.print(f"  and {len(missing) - SHOWN} more, see {storage.join(out, 'trials.json')}", markup=False)


def ordered(out: str, records: Mapping[str, Record], metric: str, mode: Mode) -> list[dict[str, Any]]:
    """List trials: finished ones, the best first; then stopped ones, the furthest first; then those that failed.

    Returns:
        Of each ``settings``, its folder ``trial``, and ``metrics`` or ``error``; ``steps``, the last it reported, if
        any; and ``stopped_at``, the same, where it was stopped.
    """
    entries: list[tuple[tuple[float, ...], dict[str, Any]]] = []
    for name, record in records.items():
        steps = record["reports"][-1]["step"] if record["reports"] else None
        entry: dict[str, Any] = {"settings": record["settings"], "trial": folder_of(out, name)}
        entry |= {} if steps is None else {"steps": steps}
        if record["state"] == "failed":
            entries.append(((2,), entry | {"error": record["error"]}))
            continue
        value = record["metrics"][metric] * (1 if mode == "min" else -1)
        entry["metrics"] = record["metrics"]
        if record["state"] == "stopped":
            entries.append(((1, -entry["steps"], value), entry | {"stopped_at": steps}))
        else:
            entries.append(((0, value), entry))
    return [entry for _, entry in sorted(entries, key=lambda one: one[0])]
