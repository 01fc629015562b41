"""Loss traces of small recipes on drawn data, 20 steps a stage, seed 0: python -m tests.golden.traces writes them anew.

In double precision, so that they are the same on every processor.
"""

import contextlib
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from lifelong.losses.parts import PartHead
from lifelong.recipes import find_recipe as find_stage_recipe
from lifelong.runs.backend import LocalBackend
from lifelong.runs.sequence import run_sequence
from lifelong.stages.plan import LifelongPlan, Stage
from lifelong.training.stage_learner import StageLearner
from pretrain.config.scale import ScaleConfig
from pretrain.data.clip_table import load_clip_table
from pretrain.models.config import ModelConfig
from pretrain.models.encoder import Encoder
from pretrain.models.matching import MatchingBranch
from pretrain.models.precision import Precision
from pretrain.recipes import find_recipe
from pretrain.runs import train_here
from pretrain.training.isr_learner import IsrLearner
from tests.lifelong.people import write_people
from tests.pretrain.ingest.films import write_clips_directory

FILE = Path(__file__).with_name("traces.json")
STEPS = 20
SIZES = {"height": 54, "width": 28}
"""Of the drawn crops: to resize would be another arithmetic on each kind of processor."""
MODEL = ModelConfig(architecture="tiny", embedding_size=16, height=32, width=16)
"""The recipes' own encoder takes minutes in double precision."""
STAGES = {"lreid-bc-tiny": 2, "dwopp-tiny": 2, "qaconv-gs-tiny": 1}
"""Of lifelong recipes; what a method adds to its loss begins with the second stage."""
KEPT = ("loss/", "grad/", "pairs/", "reliability/mean", "identity/")
"""Metrics that are recorded, by the start of their names."""
TINTS = ((1.0, 0.8, 0.6), (0.6, 0.9, 1.0))


def pretraining(recipe: str, precision: Precision) -> list[dict[str, float]]:
    """Record a pretraining on drawn clips."""
    with tempfile.TemporaryDirectory() as folder, recorded(IsrLearner) as trace:
        clips = write_clips_directory(Path(folder, "clips"), clips=8)
        config = replace(
            find_recipe(recipe)(),
            batch_pairs=8,
            epochs=10,
            scale=ScaleConfig(),
            model=replace(MODEL, **SIZES),
            precision=precision,
        )
        train_here(config, load_clip_table(str(clips)), str(Path(folder, "run")))
    return trace


def stages(recipe: str, count: int, precision: Precision) -> list[dict[str, float]]:
    """Record the stages of a lifelong recipe on drawn people, one after the other."""
    with tempfile.TemporaryDirectory() as folder, recorded(StageLearner) as trace:
        config = replace(
            find_stage_recipe(recipe)(),
            steps=STEPS,
            batch_identities=4,
            scale=ScaleConfig(),
            model=MODEL,
            precision=precision,
        )
        for number in range(count):
            write_people(Path(folder, f"{number}"), tint=TINTS[number], seed=number)
        names = [f"{number}" for number in range(count)]
        plan = LifelongPlan(
            start="", stages=tuple(Stage(name=name, dataset=str(Path(folder, name)), config=config) for name in names)
        )
        run_sequence(plan, str(Path(folder, "run")), LocalBackend(), evaluate=False)
    return trace


class _Drawn:
    """Modules whose weights are drawn by NumPy: PyTorch's own draws differ in their last bits between processors."""

    def __init__(self, *kinds: type[nn.Module]) -> None:
        self.kinds = {kind: kind.__init__ for kind in kinds}

    def __enter__(self) -> None:
        for kind, make in self.kinds.items():
            kind.__init__ = self._drawing(make)

    def __exit__(self, *_: object) -> None:
        for kind, make in self.kinds.items():
            kind.__init__ = make

    def _drawing(self, make: Any) -> Any:
        def drawn(module: nn.Module, *arguments: Any, **options: Any) -> None:
            make(module, *arguments, **options)
            rng = np.random.default_rng(0)
            for value in module.parameters():
                if value.ndim > 1:
                    scale = (2 / value[0].numel()) ** 0.5
                    value.data.copy_(torch.from_numpy(scale * rng.standard_normal(value.shape)))

        return drawn


@contextlib.contextmanager
def recorded(learner: Any) -> Iterator[list[dict[str, float]]]:
    """Note the metrics of every step that learners of a class take."""
    trace: list[dict[str, float]] = []
    take_step = learner.step

    def noted(self: Any, batch: Any, step: int) -> Any:
        found = take_step(self, batch, step)
        trace.append({name: float(found[name]) for name in sorted(found) if name.startswith(KEPT)})
        return found

    learner.step = noted
    try:
        yield trace
    finally:
        learner.step = take_step


def record(name: str, precision: Precision = "float64") -> list[dict[str, float]]:
    """Record a recipe by its name."""
    with _Drawn(Encoder, PartHead, MatchingBranch):
        return stages(name, STAGES[name], precision) if name in STAGES else pretraining(name, precision)


NAMES = ("isr-tiny", *STAGES)


def main(target: str) -> None:
    """Write what the code at hand computes."""
    traces = [f'"{name}": [\n' + ",\n".join(map(json.dumps, record(name))) + "\n]" for name in NAMES]
    Path(target).write_text("{" + ",\n".join(traces) + "}\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else str(FILE))
