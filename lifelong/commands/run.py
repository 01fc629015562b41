"""``python -m lifelong run``: learn the stages."""

from typing import Annotated

import tyro

from cluster import session, storage
from cluster.console import console, print_result
from cluster.errors import InputError
from cluster.options import Flat, Repeated
from lifelong.runs.planning import make_plan
from lifelong.runs.run import open_run
from lifelong.runs.sequence import run_sequence
from lifelong.stages.config import StageConfig
from lifelong.train import RayBackend


def run(
    *,
    out: str = "",
    stage: Repeated = (),
    start: str = "",
    from_run: Annotated[str, tyro.conf.arg(name="from", metavar="RUN")] = "",
    unseen: Repeated = (),
    identities: int = 0,
    any_counts: bool = False,
    config: Annotated[StageConfig, Flat],
) -> None:
    """Run the stages on Ray Train, or resume them. The same command again goes on where it was.

    Args:
        out: The run directory: a folder or an s3:// URL.
        stage: A dataset that comes in, several times in order: NAME:FOLDER, csv:FILE, a folder, or LABEL=SPEC.
        start: First weights: a model directory, a file (.safetensors, .pth), torchvision:NAME or timm:TAG; else random.
        from_run: A run that goes on: the stages are added to it, or, with --out, to a copy of its finished stages.
        unseen: A dataset that is tested on and never trained on; several times.
        identities: Training identities of each stage, the first by number; 0 takes all.
        any_counts: Whether to take copies of benchmarks that are not complete.
        config: How each stage is learned.
    """
    if not out and not from_run:
        raise InputError("give --out DIR for a new run, or --from RUN to add stages to one")
    where = storage.resolve(out or from_run)
    if out and from_run and not storage.exists(storage.join(where, "plan.json")):
        open_run(storage.resolve(from_run)).copy(where)
    from_run = where if from_run else ""
    options = {"start": start, "from_run": from_run, "unseen": unseen}
    made = make_plan(config, stage, identities=identities, any_counts=any_counts, **options)
    try:
        result = run_sequence(made, where, RayBackend())
    finally:
        session.disconnect()
    console.print(f"results: {storage.join(where, 'results.md')}", markup=False)
    print_result({"out": where, "stages": result["stages"], "measures": result["measures"]})
