"""``make bench``: one row per budget. Ratios against a baseline in the same run; a shared machine is noisy.

``make bench ARGS=qaconv`` runs only the rows whose names hold that word.
"""

import os
import sys
from collections.abc import Callable
from functools import partial

from rich.table import Table

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
from cluster.console import console, print_result

Measured = dict[str, float]
"""``ratio`` (the median, or the figure itself), ``lowest``, ``highest``, and whatever else there is to know."""

ROWS: dict[str, tuple[Callable[[], Measured], str]] = {
    "ingestion: video to crops, stride 5, over raw decoding (frame rate)": (
        ingestion.crops_against_decode,
        f">= {ingestion.BUDGET}",
    ),
    "training: matching and loss over encoder forward + backward (time)": (
        training_step.loss_against_encoder,
        f"<= {training_step.BUDGET}",
    ),
    "training from clips: Ray Train and Ray Data over the same steps from memory (images per second)": (
        from_clips.clips_against_memory,
        f">= {from_clips.BUDGET}",
    ),
    "training: two CPU workers over one, the same batch, 64 x 32 (images per second)": (
        partial(workers.two_against_one, is_shared=True, height=64),
        f">= {workers.BUDGET}",
    ),
    "training: two CPU workers over one, a batch for each, 64 x 32 (images per second)": (
        partial(workers.two_against_one, is_shared=False, height=64),
        f">= {workers.BUDGET}",
    ),
    "training: two CPU workers over one, a batch for each, 128 x 64 (images per second)": (
        partial(workers.two_against_one, is_shared=False, height=128),
        f">= {workers.BUDGET}",
    ),
    "augmentation: torchvision crop by crop over ours, 256 x 64 x 32 (CPU time)": (
        partial(augmentation.batch_against_crops, 256, 64, 32),
        f">= {augmentation.BUDGET:g}",
    ),
    "augmentation: the same, 128 x 256 x 128": (
        partial(augmentation.batch_against_crops, 128, 256, 128),
        f">= {augmentation.BUDGET:g}",
    ),
    "scoring: argsort per query over ours, 3,368 x 15,913 (time)": (
        retrieval.ranks_against_argsort,
        f">= {retrieval.BUDGET:g}",
    ),
    "scoring: peak memory at 11,659 x 82,161, D = 2,048 (GB)": (
        retrieval.memory_of_msmt17,
        f"<= {retrieval.MEMORY_BUDGET_GB:g}",
    ),
    "re-ranking: dense NumPy form over ours, N = 3,000 (time)": (
        lifting.reranking_against_dense,
        f">= {lifting.RERANKING_BUDGET:g}",
    ),
    "tlift: loops in Python over ours, 300 x 1,500 (time)": (
        partial(lifting.tlift_against_loops, vectorised=False),
        f">= {lifting.TLIFT_BUDGET:g}",
    ),
    "tlift: loops over queries and cameras with NumPy inside over ours (time)": (
        partial(lifting.tlift_against_loops, vectorised=True),
        "",
    ),
    "qaconv: ours over einsum + max + cat, 8 x 64, float32 (pairs per second)": (
        partial(qaconv.speed_against_einsum, "float32", queries=8, candidates=64),
        f">= {qaconv.SPEED_BUDGET:g}",
    ),
    "qaconv: the same, bfloat16": (
        partial(qaconv.speed_against_einsum, "bfloat16", queries=8, candidates=64),
        f">= {qaconv.SPEED_BUDGET:g}",
    ),
    "qaconv: the same, one query x 100 candidates, float32": (
        partial(qaconv.speed_against_einsum, "float32"),
        f">= {qaconv.SPEED_BUDGET:g}",
    ),
    "qaconv: the same, one query x 100 candidates, bfloat16": (
        partial(qaconv.speed_against_einsum, "bfloat16"),
        f">= {qaconv.SPEED_BUDGET:g}",
    ),
    "qaconv: top 10 that a shortlist of 100 keeps, of 11,000 to 13,000 images": (
        qaconv.shortlist_agreement,
        f">= {qaconv.AGREEMENT_BUDGET:g}",
    ),
    "gallery: index over exhaustive search of 1,000,000 stored images (queries per second)": (
        gallery.ivf_against_flat,
        f">= {gallery.SPEED_BUDGET:g}",
    ),
}


def main(words: list[str]) -> None:
    """Run the rows and print them."""
    chosen = {name: row for name, row in ROWS.items() if all(word in name for word in words)}
    if not chosen:
        sys.exit(f"error: no row has {' and '.join(words)} in its name; there are:\n" + "\n".join(ROWS))
    found: dict[str, Measured] = {}
    for name, (measure, _) in chosen.items():
        console.print(f"{name} ...")
        found[name] = measure()
    table = Table(title=f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", title_justify="left")
    for column in ("what", "median", "lowest", "highest", "budget"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for name, row in found.items():
        numbers = (f"{row.get(key, row['ratio']):.3f}" for key in ("ratio", "lowest", "highest"))
        table.add_row(name, *numbers, chosen[name][1])
    console.print(table)
    print_result(found)


if __name__ == "__main__":
    main(sys.argv[1:])
