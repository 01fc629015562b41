"""The rows of ``make bench``: what is measured, and its budget. Ratios are to a baseline in the same run."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from benchmarks.speed import (
    augmentation,
    from_clips,
    gallery,
    ingestion,
    lifting,
    qaconv,
    retrieval,
    training_step,
    workers,
)
from benchmarks.speed.budget import Budget, at_least, at_most

Measured = dict[str, float]
"""``ratio`` (the median, or the figure itself), ``lowest``, ``highest``, and whatever else there is to know."""


@dataclass(frozen=True, slots=True)
class Row:
    """What is measured, and what it should be."""

    measure: Callable[[], Measured]
    budget: Budget


ROWS: dict[str, Row] = {
    "ingestion: video to crops, stride 5, over raw decoding (frame rate)": Row(
        ingestion.crops_against_decode, at_least(ingestion.BUDGET)
    ),
    "training: matching and loss over encoder forward + backward (time)": Row(
        training_step.loss_against_encoder, at_most(training_step.BUDGET)
    ),
    "training from clips: Ray Train and Ray Data over the same steps from memory (images per second)": Row(
        from_clips.clips_against_memory, at_least(from_clips.BUDGET)
    ),
    "training: two CPU workers over one, the same batch, 64 x 32 (images per second)": Row(
        partial(workers.two_against_one, is_shared=True, height=64), at_least(workers.BUDGET)
    ),
    "training: two CPU workers over one, a batch for each, 64 x 32 (images per second)": Row(
        partial(workers.two_against_one, is_shared=False, height=64), at_least(workers.BUDGET)
    ),
    "training: two CPU workers over one, a batch for each, 128 x 64 (images per second)": Row(
        partial(workers.two_against_one, is_shared=False, height=128), at_least(workers.BUDGET)
    ),
    "augmentation: torchvision crop by crop over ours, 256 x 64 x 32 (CPU time)": Row(
        partial(augmentation.batch_against_crops, 256, 64, 32), at_least(augmentation.BUDGET)
    ),
    "augmentation: the same, 128 x 256 x 128": Row(
        partial(augmentation.batch_against_crops, 128, 256, 128), at_least(augmentation.BUDGET)
    ),
    "scoring: argsort per query over ours, 3,368 x 15,913 (time)": Row(
        retrieval.ranks_against_argsort, at_least(retrieval.BUDGET)
    ),
    "scoring: peak memory at 11,659 x 82,161, D = 2,048 (GB)": Row(
        retrieval.memory_of_msmt17, at_most(retrieval.MEMORY_BUDGET_GB)
    ),
    "re-ranking: dense NumPy form over ours, N = 3,000 (time)": Row(
        lifting.reranking_against_dense, at_least(lifting.RERANKING_BUDGET)
    ),
    "tlift: loops in Python over ours, 300 x 1,500 (time)": Row(
        partial(lifting.tlift_against_loops, vectorised=False), at_least(lifting.TLIFT_BUDGET)
    ),
    "tlift: loops over queries and cameras with NumPy inside over ours (time)": Row(
        partial(lifting.tlift_against_loops, vectorised=True), at_least(lifting.TLIFT_BUDGET)
    ),
    "qaconv: ours over einsum + max + cat, 8 x 64, float32 (pairs per second)": Row(
        partial(qaconv.speed_against_einsum, "float32", queries=8, candidates=64), at_least(qaconv.SPEED_BUDGET)
    ),
    "qaconv: the same, bfloat16": Row(
        partial(qaconv.speed_against_einsum, "bfloat16", queries=8, candidates=64), at_least(qaconv.SPEED_BUDGET)
    ),
    "qaconv: the same, one query x 100 candidates, float32": Row(
        partial(qaconv.speed_against_einsum, "float32"), at_least(qaconv.SPEED_BUDGET)
    ),
    "qaconv: the same, one query x 100 candidates, bfloat16": Row(
        partial(qaconv.speed_against_einsum, "bfloat16"), at_least(qaconv.SPEED_BUDGET)
    ),
    "qaconv: top 10 that a shortlist of 100 keeps, of 11,000 to 13,000 images": Row(
        qaconv.shortlist_agreement, at_least(qaconv.AGREEMENT_BUDGET)
    ),
    "gallery: index over exhaustive search of 1,000,000 stored images (queries per second)": Row(
        gallery.ivf_against_flat, at_least(gallery.SPEED_BUDGET)
    ),
}
