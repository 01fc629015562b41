"""``python -m lifelong plan``: what a run would do."""

from typing import Annotated

import tyro

from cluster.console import console, print_result
from cluster.options import Flat, Repeated
from lifelong.runs.planning import describe, make_plan
from lifelong.stages.config import StageConfig


def plan(
    *,
    stage: Repeated = (),
    start: str = "",
    from_run: Annotated[str, tyro.conf.arg(name="from", metavar="RUN")] = "",
    unseen: Repeated = (),
    identities: int = 0,
    any_counts: bool = False,
    config: Annotated[StageConfig, Flat],
) -> None:
    """Print what a run would do, and train nothing.

    Args:
        stage: A dataset that comes in, several times in order: NAME:FOLDER, csv:FILE, a folder, or LABEL=SPEC.
        start: First weights: a model directory, a file (.safetensors, .pth), torchvision:NAME or timm:TAG; else random.
        from_run: A run that goes on: the stages are added to it.
        unseen: A dataset that is tested on and never trained on; several times.
        identities: Training identities of each stage, the first by number; 0 takes all.
        any_counts: Whether to take copies of benchmarks that are not complete.
        config: How each stage is learned.
    """
    options = {"start": start, "from_run": from_run, "unseen": unseen}
    made = make_plan(config, stage, identities=identities, any_counts=any_counts, **options)
    described = describe(made)
    console.print(f"{len(made.stages)} stages, starting from {made.start or 'random weights'}", markup=False)
    for number, entry in enumerate(described, 1):  # no table: its columns would be a word wide on a small terminal
        console.print(
            f"{number}. {entry['stage']}: {entry['method']}, {entry['steps']:,} steps on {entry['images']:,} images of "
            f"{entry['identities']:,} identities\n"
            f"   tested with {entry['query']:,} queries in a gallery of {entry['gallery']:,}\n"
            f"   loss: {entry['terms']}",
            markup=False,
        )
    for name in made.unseen:
        console.print(f"never trained on, only tested: {name}", markup=False)
    print_result({"stages": described, "unseen": list(made.unseen)})
