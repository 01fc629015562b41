"""What a second training worker on the CPU brings."""

import os
import statistics
import tempfile

from benchmarks.from_clips import drawn_clips, make_run, seconds_on_ray
from cluster import session

BUDGET = 1.7


def two_against_one() -> dict[str, float]:
    """Images per second of `pretrain.train` with two workers over those with one, on one machine.

    The batch is the same, so two workers have half of it each (strong scaling), and the steps are the very same. Every
    worker has one thread and one process that reads: two of them want four cores, and fewer show in the ratio.
    """
    with tempfile.TemporaryDirectory() as folder:
        clips = drawn_clips(folder)
        try:
            one, two = (seconds_on_ray(make_run(clips, workers=workers), clips) for workers in (1, 2))
        finally:
            session.disconnect()
    ratios = [alone["seconds"] / both["seconds"] for alone, both in zip(one, two, strict=True)]
    return {
        "ratio": statistics.median(ratios),
        "lowest": min(ratios),
        "highest": max(ratios),
        "wait_share_of_one": statistics.median(block["wait"] for block in one),
        "wait_share_of_two": statistics.median(block["wait"] for block in two),
        "cores": float(os.cpu_count() or 1),
    }
