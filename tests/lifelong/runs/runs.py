"""Small runs for tests: two domains of coloured people, a tiny encoder, a few steps."""

from dataclasses import replace
from pathlib import Path

from lifelong.recipes import find_recipe
from lifelong.stages.config import StageConfig
from lifelong.stages.plan import LifelongPlan, Stage
from pretrain.config.scale import ScaleConfig
from pretrain.models.config import ModelConfig
from tests.lifelong.people import write_people

TINTS = {"north": (1.0, 0.8, 0.6), "south": (0.6, 0.9, 1.0), "east": (0.9, 0.5, 0.9)}


def config_of(recipe: str = "lreid-bc", scale: dict | None = None, **changes) -> StageConfig:
    base = find_recipe(f"{recipe}-tiny")()
    return replace(
        base,
        scale=ScaleConfig(**{"log_every": 1, "checkpoint_every": 2, **(scale or {})}),
        model=ModelConfig(architecture="tiny", embedding_size=8, height=32, width=16),
        **{"batch_identities": 4, "epochs": 4, **changes},
    )


def write_domains(folder: Path) -> None:
    for number, (name, tint) in enumerate(TINTS.items()):
        write_people(folder / name, tint=tint, seed=number)


def plan_of(folder: Path, *names: str, recipe: str = "lreid-bc", start: str = "", unseen=(), **changes) -> LifelongPlan:
    config = config_of(recipe, **changes)
    stages = tuple(Stage(name=name, dataset=str(folder / name), config=config) for name in names)
    return LifelongPlan(start=start, stages=stages, unseen=unseen)
