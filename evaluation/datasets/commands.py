"""The commands of benchmarks: which there are, and what has to be unpacked or cut out first."""

from typing import Annotated

import tyro

from cluster import storage
from cluster.console import console, print_result
from evaluation.datasets.cuhk03_unpack import unpack_cuhk03
from evaluation.datasets.registry import BENCHMARKS
from evaluation.datasets.video.tracks import crop_tracks


def unpack(
    mat: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="CUHK-03.MAT")],
    *,
    out: str,
) -> None:
    """Unpack CUHK03's MATLAB file into images, for the cuhk03-classic datasets.

    Args:
        mat: cuhk-03.mat of cuhk03_release.zip.
        out: Folder to make.
    """
    print_result({"out": storage.resolve(out), "num_images": unpack_cuhk03(mat, out)})


def crop(
    video: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="VIDEO")],
    *,
    out: str,
    boxes: str | None = None,
    every: int = 5,
    min_height: int = 64,
    gap_seconds: float = 2.0,
) -> None:
    """Cut tracked people out of a video with true boxes: a benchmark within one camera.

    Args:
        video: A MOTChallenge sequence folder, or a video beside NAME.gt.csv.
        out: Folder to make; embed csv:OUT/manifest.csv then.
        boxes: Where the boxes are, if elsewhere.
        every: Take every so many frames.
        min_height: Pixels that a box must be high.
        gap_seconds: Between a query and the first gallery image of the same person.
    """
    options = {"every": every, "min_height": min_height, "gap_seconds": gap_seconds, "boxes": boxes}
    manifest = crop_tracks(video, out, **options)
    console.print(f"next: python -m evaluation embed MODEL csv:{manifest} --out features.parquet")
    print_result({"manifest": manifest})


def list_benchmarks() -> None:
    """List the benchmarks that can be read, by name."""
    for name, benchmark in sorted(BENCHMARKS.items()):
        partitions = f"  partitions {name}#0 to #{benchmark.num_splits - 1}" if benchmark.num_splits > 1 else ""
        counts = ", ".join(f"{count:,} {split}" for split, count in benchmark.images.items())
        console.print(f"{name:<24} {counts}{partitions}", markup=False)
    print_result({"datasets": sorted(BENCHMARKS)})
