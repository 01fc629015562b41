"""What a second training worker on the CPU brings."""

import os
import statistics
import tempfile
from dataclasses import replace

from benchmarks.speed.from_clips import drawn_clips, make_run, seconds_on_ray
from cluster import session
from pretrain.config.scale import scaled

BUDGET = 1.7


def two_against_one(*, is_shared: bool, height: int) -> dict[str, float]:
    """Images per second of `pretrain.runs` with two workers over those with one, on one machine.

    Every worker has one thread and one process that reads: two of them want four cores, and fewer show in the ratio.
    A step exchanges some 30 messages (batch norm two a layer), so larger images hide more of what those take.

    Args:
        is_shared: Two workers share the batch that one has alone, so the steps are the very same (strong scaling);
            otherwise each has a batch of that size (weak scaling), as one adds machines to train on larger batches.
        height: Of images, twice their width, pixels.
    """
    with tempfile.TemporaryDirectory() as folder:
        clips = drawn_clips(folder)
        one = make_run(clips, workers=1)
        one = replace(one, model=replace(one.model, height=height, width=height // 2))
        two = scaled(one, workers=2)
        if not is_shared:
            two = replace(two, batch_pairs=2 * one.batch_pairs, epochs=2 * one.epochs)
        try:
            alone, both = (seconds_on_ray(run, clips) for run in (one, two))
        finally:
            session.disconnect()
    ratios = [b["images_per_second"] / a["images_per_second"] for a, b in zip(alone, both, strict=True)]
    return {
        "ratio": statistics.median(ratios),
        "lowest": min(ratios),
        "highest": max(ratios),
        "wait_share_of_one": statistics.median(block["wait"] for block in alone),
        "wait_share_of_two": statistics.median(block["wait"] for block in both),
        "cores": float(os.cpu_count() or 1),
    }
