"""The runner of all studies: prepare what arms share, run arms x seeds over the cores, write results with provenance.

::

    OUT/prepared/NAME/                 streets, clips, first stages; studies share them
    OUT/STUDY/runs/ARM/SEED/           see `benchmarks.studies.tasks`
    OUT/STUDY/results.json, table.md   what was found, see `benchmarks.results_file`; and pictures
"""

import re
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks import results_file
from benchmarks.provenance import Watch
from benchmarks.studies.study import Numbers, Place, Study
from benchmarks.studies.tasks import Task, perform_all
from cluster import storage
from cluster.console import console
from cluster.errors import InputError


@dataclass(frozen=True, kw_only=True, slots=True)
class RunnerConfig:
    """What the runner is told; no number depends on it."""

    out: str = "out/studies"
    """Everything goes below it, a local folder; what is finished is kept."""
    processes: int = 2
    """Runs at the same time, one thread each. Studies on Ray run one after the other."""
    save: str = ""
    """Also write benchmarks/results/NAME.json; a study with several results has a name for each."""

    def __post_init__(self) -> None:
        if self.processes < 1:
            raise InputError(f"processes must be >= 1, got {self.processes}")


class StudyFailed(Exception):  # noqa: N818 - it says what happened
    """Some runs failed. All others were kept; the same command tries the failed ones again."""


def run_study(study: Study, config: RunnerConfig) -> dict[str, Any]:
    """Run what is missing of a study, and write its results.

    Returns:
        The results file's content.

    Raises:
        InputError: If something was begun with other settings, or the name of the results belongs to another study.
        StudyFailed: If a run failed; the results of the others are written below ``out``, and nowhere else.
    """
    watch = Watch()
    if storage.is_remote(config.out):
        raise InputError(f"--out must be a local folder, got {config.out}")
    out = storage.resolve(config.out)
    if config.save:
        results_file.check_replaceable(results_file.location_of(config.save), study.name)
    processes = config.processes if study.is_parallel else 1
    rounds = [_preparations(study, out, number) for number in range(len(study.prepare))]
    runs = _runs(study, out)
    for task in [*(task for tasks in rounds for task in tasks), *runs.values()]:
        task.claim()
    for tasks in rounds:
        _refuse(perform_all(tasks, processes=processes, one_thread=study.is_parallel), "preparations")
    failed = perform_all(list(runs.values()), processes=processes, one_thread=study.is_parallel)
    content = _content(study, runs, watch)
    if content["results"]:
        _write(study, content, f"{out}/{study.name}")
    _refuse(failed, "runs")
    if config.save:
        results_file.write(results_file.location_of(config.save), content)
    return content


def _preparations(study: Study, out: str, number: int) -> list[Task]:
    shared = f"{out}/prepared"
    return [
        Task(name, f"{shared}/{name}", one.settings, one.make, shared) for name, one in study.prepare[number].items()
    ]


def _runs(study: Study, out: str) -> dict[tuple[str, int], Task]:
    """Return all runs: seed by seed, so that a study that was stopped has whole rows."""
    return {
        (arm, seed): Task(
            label=f"{arm}, seed {seed}",
            folder=f"{out}/{study.name}/runs/{folder_of(arm)}/{seed}",
            settings={"arm": arm, "seed": seed, "options": study.options, "settings": settings},
            work=partial(_measure, study.run, arm, seed),
            shared=f"{out}/prepared",
        )
        for seed in study.seeds
        for arm, settings in study.arms.items()
    }


def _measure(run: Any, arm: str, seed: int, place: Place) -> Numbers:
    return run(arm, seed, place)


def folder_of(arm: str) -> str:
    """Return the name of an arm's folder: ``dwpp, T = 1`` becomes ``dwpp-T-1``."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", arm).strip("-")


def _refuse(failed: list[Task], what: str) -> None:
    if failed:
        reasons = "; ".join(f"{task.label}: {task.error().strip().splitlines()[-1]}" for task in failed)
        raise StudyFailed(
            f"{len(failed)} {what} failed ({reasons}); the tracebacks are in error.txt of their folders, "
            "and the same command tries them again"
        )


def _content(study: Study, runs: dict[tuple[str, int], Task], watch: Watch) -> dict[str, Any]:
    """Gather what is done; a commit of a run that is not today's is named."""
    found = {key: task.result() for key, task in runs.items()}
    done = {key: result for key, result in found.items() if result is not None}
    results = {
        arm: by_seed
        for arm in study.arms
        if (by_seed := {str(seed): done[arm, seed]["numbers"] for seed in study.seeds if (arm, seed) in done})
    }
    commits = {result["provenance"]["commit"]: None for result in done.values()}
    seconds = sum(result["provenance"]["seconds"] for result in done.values())
    is_dirty = any(result["provenance"]["dirty"] for result in done.values())
    own = watch.provenance()
    return {
        "kind": "study",
        "name": study.name,
        "provenance": {**own, "dirty": own["dirty"] or is_dirty, "commits": list(commits), "run_seconds": seconds},
        "options": dict(study.options),
        "arms": {arm: dict(settings) for arm, settings in study.arms.items()},
        "seeds": list(study.seeds),
        "results": results,
        "table": study.table(results) if results else "",
    }


def _write(study: Study, content: dict[str, Any], folder: str) -> None:
    console.print(content["table"], markup=False)
    results_file.write(f"{folder}/results.json", content)
    storage.write_bytes(f"{folder}/table.md", f"{content['table']}\n".encode())
    if study.pictures:
        study.pictures(content["results"], folder)
