"""Drawn streets with labels: the domains of the lifelong studies, which share them."""

from collections.abc import Iterable
from functools import partial
from typing import Any

from benchmarks.studies.study import Place, Preparation
from cluster.values import to_json
from pretrain.street.config import StreetConfig
from pretrain.street.write import write_labelled


def street(style: int, seed: int, *, keep_company: bool = False) -> StreetConfig:
    """Return a labelled domain; each seed has its own people in it."""
    return StreetConfig(
        style=style,
        seed=seed,
        identities=1,
        seconds=1,
        cameras=6,
        train_identities=60,
        test_identities=40,
        fps=5,
        keep_company=keep_company,
    )


def name_of(config: StreetConfig) -> str:
    """Return under which name a domain is prepared."""
    return f"street-{config.style}-{config.seed}{'-company' if config.keep_company else ''}"


def domain(place: Place, config: StreetConfig) -> str:
    """Return the folder of a domain."""
    return place.prepared(name_of(config))


def draw(configs: Iterable[StreetConfig]) -> dict[str, Preparation]:
    """Return the drawing of domains."""
    return {name_of(config): Preparation(to_json(config), partial(_draw, config)) for config in configs}


def _draw(config: StreetConfig, place: Place) -> None:
    write_labelled(config, place.folder)


def about(styles: Iterable[int]) -> dict[str, Any]:
    """Return what a result says of its domains."""
    return {"styles": list(styles), "street": to_json(street(0, 0))}
