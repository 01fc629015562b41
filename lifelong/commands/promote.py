"""``python -m lifelong promote``: the gate before a release."""

from typing import Annotated

import tyro

from cluster import storage
from cluster.console import print_result
from lifelong.runs.promotion import promote as promote_stage


def promote(
    run: Annotated[str, tyro.conf.Positional],
    *,
    stage: int = 0,
    max_forgetting: float = 0.05,
    tolerance: float = 0.0,
    gallery: str = "",
) -> None:
    """Judge whether the model of a stage may be released: its queries work against the old galleries, and it remembers.

    Args:
        run: A run directory.
        stage: Number of the stage, from 1; 0 is the newest.
        max_forgetting: How much mAP it may lose on an earlier dataset, re-extracted, in fractions of 1.
        tolerance: How much worse than the old model its queries may do against an old gallery, in fractions of 1.
        gallery: A gallery that is to accept the model's queries and features, if it passes.
    """
    verdict = promote_stage(
        storage.resolve(run),
        stage=stage,
        max_forgetting=max_forgetting,
        tolerance=tolerance,
        gallery=storage.resolve(gallery) if gallery else "",
    )
    print_result(verdict)
