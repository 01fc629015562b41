"""The gate before a release: does the new model work against the galleries that are there, and does it remember?"""

from typing import Any

from cluster import storage
from cluster.console import console
from cluster.errors import InputError, Refusal
from evaluation.compatibility.verdict import judge
from lifelong.gallery.gallery import Gallery
from lifelong.runs.measure import measure
from lifelong.runs.run import open_run


def promote(run: str, *, stage: int, max_forgetting: float, tolerance: float, gallery: str) -> dict[str, Any]:
    """Judge the model of a stage, and say so in ``RUN/promoted.json`` if it passes.

    Args:
        run: Location of the run.
        stage: From 1; 0 is the newest finished one.
        max_forgetting: How much mAP it may lose on an earlier dataset, re-extracted.
        tolerance: How much worse than the old model its queries may do against an old gallery.
        gallery: Location of a gallery where the model is declared if it passes; empty for none.

    Returns:
        What was judged, by which rule.

    Raises:
        Refusal: If it does not pass, saying by how much.
        InputError: If there is no such stage or gallery.
    """
    opened = open_run(run)
    result = measure(opened)
    number = stage or len(result.names)
    if not 1 <= number <= len(result.names):
        raise InputError(f"{run} has finished stages 1 to {len(result.names)}, got --stage {number}")
    fingerprint = opened.stage(number).fingerprint
    target = Gallery.open(gallery) if gallery else None
    verdict = judge(
        result.table.mAP,
        result.own.mAP,
        number - 1,
        names=result.names,
        tolerance=tolerance,
        max_forgetting=max_forgetting,
    )
    if not verdict.passes:
        raise Refusal(f"stage {number}, {result.names[number - 1]}, is not promoted: {'; '.join(verdict.reasons)}")
    promoted = {
        "stage": number,
        "name": result.names[number - 1],
        "model_fingerprint": fingerprint,
        "tolerance": tolerance,
        "max_forgetting": max_forgetting,
        "earlier": [{"name": one.name, "gain": one.gain, "forgetting": one.forgetting} for one in verdict.datasets],
    }
    storage.write_json(opened.file("promoted.json"), promoted)
    if target is not None:
        target.declare(fingerprint, note=f"promoted: stage {number} of {run}")
    console.print(f"promoted: stage {number}, {result.names[number - 1]}, model {fingerprint}", markup=False)
    return promoted
