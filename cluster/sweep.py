"""Ray Tune around any function of a configuration.

A trial is one plain function in one process that holds all its resources: no group of workers inside it, which on
Ray 2.60 starves beside others of its kind and leaks when it is stopped.
"""

import itertools
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from ray import tune

from cluster import session, storage
from cluster.console import console
from cluster.resources import Demand, check_fits

MAX_TRIALS = 10_000


def parse_space(texts: Sequence[str], *, samples: int, seed: int) -> list[dict[str, str | float]]:
    """Make the trials of a sweep of what was named on the command line.

    Args:
        texts: ``NAME=A,B,C`` for values of which all combinations are tried, or ``NAME=LOW:HIGH`` for values drawn
            between two positive numbers, evenly in their logarithm.
        samples: How often each combination is tried with other drawn values; 1 where none is drawn.
        seed: Of the drawn values.

    Returns:
        Settings of each trial by name.

    Raises:
        ValueError: If a text is of neither form, or a name comes twice.
    """
    choices: dict[str, list[str]] = {}
    ranges: dict[str, tuple[float, float]] = {}
    for text in texts:
        name, separator, values = text.partition("=")
        low, colon, high = values.partition(":")
        if not separator or not name or not values or name in choices or name in ranges:
            raise ValueError(f"--over must be NAME=A,B,C or NAME=LOW:HIGH, each name once, got {text!r}")
        if not colon:
            choices[name] = values.split(",")
            continue
        try:
            ranges[name] = float(low), float(high)
        except ValueError as error:
            raise ValueError(f"--over {name}=LOW:HIGH needs two numbers, got {values!r}") from error
        if not 0 < ranges[name][0] < ranges[name][1]:
            raise ValueError(f"--over {name}=LOW:HIGH needs 0 < LOW < HIGH, got {values!r}")
    rng = np.random.default_rng(seed)
    trials: list[dict[str, str | float]] = []
    for combination in itertools.product(*choices.values()):
        for _ in range(samples if ranges else 1):
            drawn = {name: float(np.exp(rng.uniform(*np.log(ends)))) for name, ends in ranges.items()}
            trials.append(dict(zip(choices, combination, strict=True)) | drawn)
    if not texts or len(trials) > MAX_TRIALS:
        raise ValueError(f"a sweep needs 1 to {MAX_TRIALS:,} trials, got {len(trials) if texts else 0}: name --over")
    return trials


def sweep(
    trial: Callable[[dict[str, Any]], Mapping[str, float]],
    trials: Sequence[Mapping[str, Any]],
    out: str,
    *,
    metric: str,
    cpus: int,
    gpus: int = 0,
) -> list[dict[str, Any]]:
    """Run all trials, as many at once as fit the connected cluster; the same call again runs those that are missing.

    Args:
        trial: From the settings of a trial to its metrics; runs in a process of its own.
        trials: Settings of each.
        out: Where Ray Tune keeps the state of the sweep: a folder or a URL.
        metric: By which trials are ordered, the largest first.
        cpus: Logical CPUs of a trial.
        gpus: GPUs of a trial.

    Returns:
        Settings and metrics of every trial that finished, the best first; of one that failed, settings and ``error``,
        at the end.

    Raises:
        ValueError: If a trial does not fit the cluster.
    """
    check_fits(
        [Demand(what="a trial", count=1, cpus=cpus, gpus=gpus, remedy="--cpus-per-worker")], session.total_resources()
    )
    logging.getLogger("ray.tune").setLevel(logging.WARNING)
    resources = tune.with_resources(_Reporting(trial), {"cpu": cpus, **({"gpu": gpus} if gpus else {})})
    name = "tune"
    state = storage.join(out, name)
    if tune.Tuner.can_restore(state):
        tuner = tune.Tuner.restore(state, trainable=resources, resume_errored=True)
    else:
        tuner = tune.Tuner(
            resources,
            param_space={"settings": tune.grid_search([dict(settings) for settings in trials])},
            tune_config=tune.TuneConfig(metric=metric, mode="max"),
            run_config=tune.RunConfig(name=name, storage_path=out, verbose=0),
        )
    found: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    for result in tuner.fit():
        settings = dict((result.config or {})["settings"])
        if result.error is not None:
            text = str(result.error).strip().splitlines()[-1]
            console.print(f"a trial failed: {settings}: {text}", markup=False)
            failed.append({"settings": settings, "error": text})
        else:
            reported = result.metrics or {}
            found.append({"settings": settings, "metrics": {name: reported[name] for name in reported["names"]}})
    return sorted(found, key=lambda one: -one["metrics"][metric]) + failed


class _Reporting:
    """A trial that reports its metrics once, at its end."""

    def __init__(self, trial: Callable[[dict[str, Any]], Mapping[str, float]]) -> None:
        self.trial = trial
        self.__name__ = "trial"

    def __call__(self, config: dict[str, Any]) -> None:
        metrics = self.trial(config["settings"])
        tune.report({**metrics, "names": list(metrics)})
