"""A run and its stages as values: where everything is, what is done, and the images of each dataset, read once.

Everything is found from the run's location, so that a run may be moved::

    RUN/plan.json                          the stages, in order; grows, and nothing in it changes but who computes
    RUN/start/                             the first weights, a model directory
    RUN/stages/01-NAME/model/              what the stage learned, a model directory
                       memory.parquet      images that later stages replay, features frozen for ever
                       network.safetensors the network with its heads, where the next stage begins
                       metrics.jsonl, tensorboard/, checkpoints/, images.json, start.safetensors, config.json
                       done.json           written last: fingerprints, hashes, counts
    RUN/features/NAME/by-01.parquet        queries and gallery of a dataset by the model of a stage
    RUN/gallery/                           what is searched: every dataset's gallery, by the model of its own stage
    RUN/matching.json                      scores by QAConv, of models that have a matching branch
    RUN/results.json, results.md, results.svg   what is measured of all of it: values, tables, heat map
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from cluster import storage
from cluster.claims import claim
from cluster.errors import InputError
from evaluation.datasets.registry import read_dataset
from evaluation.datasets.rows import ImageRow
from lifelong.stages.config import StageConfig
from lifelong.stages.plan import LifelongPlan, Stage, named, plan_from_json, plan_to_json, refuse_other_past
from lifelong.training.job import NETWORK, StageJob

PLAN = "plan.json"
MEMORY = "memory.parquet"


@dataclass(frozen=True)
class StageFolder:
    """One stage of a run: its number, its settings, and what it leaves."""

    run: "Run"
    number: int
    """From 1."""
    stage: Stage

    @property
    def name(self) -> str:
        """Of the dataset that comes in."""
        return self.stage.name

    @property
    def config(self) -> StageConfig:
        """How it is learned."""
        return self.stage.config

    @property
    def location(self) -> str:
        """The folder."""
        return storage.join(self.run.location, "stages", f"{self.number:02d}-{self.name}")

    @property
    def model(self) -> str:
        """Its model directory."""
        return self.run.model(self.number)

    @property
    def network(self) -> str:
        """The network as it ended, heads included."""
        return storage.join(self.location, NETWORK)

    @property
    def memory(self) -> str:
        """What it keeps for ever."""
        return storage.join(self.location, MEMORY)

    @property
    def before(self) -> "StageFolder | None":
        """The stage before it; None for the first."""
        return self.run.stage(self.number - 1) if self.number > 1 else None

    @property
    def done(self) -> dict[str, Any] | None:
        """What it says of itself once it is finished; None before."""
        location = storage.join(self.location, "done.json")
        return storage.read_json(location) if storage.exists(location) else None

    @property
    def fingerprint(self) -> str:
        """Of the model of a finished stage."""
        done = self.done
        assert done is not None, f"stage {self.number} has not finished"
        return done["model_fingerprint"]

    def finish(self, done: dict[str, Any]) -> dict[str, Any]:
        """Say that the stage is finished."""
        storage.write_json(storage.join(self.location, "done.json"), done)
        return done

    def rows(self, *splits: str) -> list[ImageRow]:
        """List the images of its dataset that a stage uses, of some splits; all unless named."""
        return [row for row in self.run.rows_of(self.number) if not splits or row.split in splits]

    @property
    def training_rows(self) -> list[ImageRow]:
        """The images that it learns from; junk and distractors are none."""
        return [row for row in self.rows("train") if row.identity > 0]

    @property
    def job(self) -> StageJob:
        """Its training, with the memory of all stages before it, which must be finished."""
        memory: list[tuple[str, str]] = []
        for earlier in self.run.stages[: self.number - 1]:
            done = earlier.done
            assert done is not None, "stages run in order"
            if done["memory_sha256"]:
                memory.append((earlier.memory, done["memory_sha256"]))
        before = self.before.network if self.before else ""
        return StageJob(
            config=self.config, stage=self.number, folder=self.location, before=before, memory=tuple(memory)
        )


@dataclass(frozen=True)
class Run:
    """A whole run: where it is, and what it is to do."""

    location: str
    plan: LifelongPlan

    @cached_property
    def stages(self) -> tuple[StageFolder, ...]:
        """All stages, in order."""
        return tuple(StageFolder(self, number, stage) for number, stage in enumerate(self.plan.stages, 1))

    def stage(self, number: int) -> StageFolder:
        """Return a stage, counted from 1."""
        return self.stages[number - 1]

    @property
    def finished(self) -> list[StageFolder]:
        """The stages that are done."""
        return [stage for stage in self.stages if stage.done]

    def model(self, number: int) -> str:
        """Return the model directory of a stage; that of stage 0 holds the first weights."""
        return storage.join(self.stage(number).location, "model") if number else storage.join(self.location, "start")

    def features(self, dataset: str, number: int) -> str:
        """Return the features file of a dataset by the model of a stage."""
        return storage.join(self.location, "features", dataset, f"by-{number:02d}.parquet")

    def file(self, name: str) -> str:
        """Return a file beside the stages, such as ``results.json``."""
        return storage.join(self.location, name)

    def rows_of(self, number: int) -> list[ImageRow]:
        """List the images of a stage's dataset; read once, whoever asks."""
        if number not in self._rows:
            self._rows[number] = self.plan.stages[number - 1].rows()
        return self._rows[number]

    @cached_property
    def _rows(self) -> dict[int, list[ImageRow]]:
        return {}

    @property
    def unseen_names(self) -> tuple[str, ...]:
        """Names of the datasets that are only tested on."""
        return tuple(name for name, _ in map(named, self.plan.unseen))

    @cached_property
    def unseen(self) -> Mapping[str, list[ImageRow]]:
        """Queries and gallery of the datasets that are only tested on, by name."""
        return {
            name: [row for row in read_dataset(spec, any_counts=True) if row.split != "train"]
            for name, spec in map(named, self.plan.unseen)
        }

    def copy(self, target: str) -> "Run":
        """Copy the finished stages, to try something else after them; checkpoints stay behind.

        Raises:
            InputError: If the target holds anything.
        """
        if storage.list_files(target):
            raise InputError(f"{target} is not empty; give another --out to copy {self.location} to")
        finished = self.finished
        unfinished = {stage.location for stage in self.stages} - {stage.location for stage in finished}
        skipped = tuple(f"{folder}/" for folder in unfinished)
        skipped += tuple(f"{stage.location}/checkpoints/" for stage in finished)
        for file in storage.list_files(self.location):
            relative = file.removeprefix(self.location.rstrip("/") + "/")
            if not file.startswith(skipped) and relative != PLAN:
                storage.write_bytes(storage.join(target, relative), storage.read_bytes(file))
        copied = Run(target, replace(self.plan, stages=self.plan.stages[: len(finished)]))
        storage.write_json(copied.file(PLAN), plan_to_json(copied.plan))  # last: without it, it is no run yet
        return copied


def open_run(location: str) -> Run:
    """Open a run.

    Raises:
        InputError: If there is none.
    """
    plan = storage.join(location, PLAN)
    if not storage.exists(plan):
        raise InputError(f"{location} is no run of python -m lifelong run (no {PLAN}); check the path")
    return Run(location, plan_from_json(storage.read_json(plan)))


def claim_run(plan: LifelongPlan, location: str) -> Run:
    """Take a location for a run, or go on with the run there, which may have grown at its end.

    Raises:
        InputError: If the location holds another run or other files, or a dataset cannot be read.
    """
    run = Run(location, plan)

    def compare(theirs: Any, _: Any) -> list[str]:
        refuse_other_past(plan_from_json(theirs), plan)
        return []

    for stage in run.stages:
        stage.rows()  # what cannot be read is found before anything is trained
    claim(location, plan_to_json(plan), file=PLAN, compare=compare)
    return run
