"""The matcher that a command line names: cosine of features, or QAConv of feature maps."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from cluster.errors import InputError
from evaluation.features.files import maps_location
from evaluation.scoring.problem import Problem
from evaluation.scoring.ranking import CosineMatcher, Matcher


@dataclass(frozen=True, kw_only=True, slots=True)
class MatchingConfig:
    """How two images are compared."""

    matcher: Literal["cosine", "qaconv"] = "cosine"
    """Cosine of features; or QAConv of the feature maps that `embed --maps` wrote beside the features file."""
    head: str = ""
    """File with a trained QAConv head; unless given, that of the maps, or uniform weights where they have none."""
    shortlist: int = 100
    """QAConv re-scores so many candidates of each query, the nearest by pooled maps."""
    exact: bool = False
    """Whether QAConv compares every query with the whole gallery instead."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of QAConv's products."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where distances are computed: `auto` takes a GPU if there is one."""

    def __post_init__(self) -> None:
        if self.shortlist < 1:
            raise InputError(f"shortlist must be >= 1, got {self.shortlist}")
        if self.device == "cuda" and not _has_gpu():
            raise InputError("device cuda was asked for and there is no GPU; leave --device out")


@contextlib.contextmanager
def open_matcher(problem: Problem, locations: Sequence[str], config: MatchingConfig) -> Iterator[Matcher]:
    """Open what compares the images of a problem.

    Args:
        problem: The images.
        locations: The features files they came from, in order; maps lie beside them.
        config: Which matcher.

    Raises:
        InputError: If there are no maps, or they are of other images or another model.
    """
    device = ("cuda" if _has_gpu() else "cpu") if config.device == "auto" else config.device
    k = None if config.exact else config.shortlist
    if config.matcher == "cosine":
        yield CosineMatcher(problem.images, device)
        return
    from evaluation.scoring.qaconv_matcher import open_qaconv  # torch takes 700 MB and two seconds to load

    stores = [maps_location(location) for location in locations]
    with open_qaconv(problem, stores, device=device, precision=config.precision, head=config.head, k=k) as matcher:
        yield matcher


def _has_gpu() -> bool:
    """Tell whether there is an NVIDIA driver, without loading torch to ask it."""
    return os.path.exists("/dev/nvidiactl")
