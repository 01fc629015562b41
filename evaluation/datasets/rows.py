"""What every benchmark becomes: one row per image; and what a reader of a benchmark tells of it."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from cluster import storage
from cluster.errors import InputError

SPLITS = ("train", "query", "gallery")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageRow:
    """One image of a dataset."""

    path: str
    """Absolute location."""
    identity: int
    """Who; -1 is junk, 0 a distractor: somebody whom no query seeks."""
    camera: int
    time_seconds: float | None
    """On a clock of its camera; None is unknown."""
    split: str
    """``train``, ``query`` or ``gallery``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Benchmark:
    """How a public benchmark is read, and what a complete copy holds."""

    read: Callable[[str, int], list[ImageRow]]
    """From the folder (a location) and the number of the split to the rows: train, then query, then gallery."""
    images: Mapping[str, int] = field(default_factory=dict)
    """Images in each split of a complete copy. A split that is absent here may hold any number."""
    identities: Mapping[str, int] = field(default_factory=dict)
    """Identities in each split of a complete copy, junk (-1) and distractors (0) not counted."""
    num_splits: int = 1
    """How many partitions into training and test the benchmark defines; they are counted from 0."""


def check_counts(name: str, folder: str, rows: Sequence[ImageRow], benchmark: Benchmark) -> None:
    """Refuse a copy of a benchmark that is not complete: scores on it would be compared with other people's.

    Raises:
        InputError: If a split has another number of images or identities than the benchmark's paper says.
    """
    num_images = Counter(row.split for row in rows)
    seen = {split: {row.identity for row in rows if row.split == split and row.identity > 0} for split in SPLITS}
    problems = [
        f"{num_images[split]:,} {split} images where {name} has {expected:,}"
        for split, expected in benchmark.images.items()
        if num_images[split] != expected
    ] + [
        f"{len(seen[split]):,} {split} identities where {name} has {expected:,}"
        for split, expected in benchmark.identities.items()
        if len(seen[split]) != expected
    ]
    if problems:
        raise InputError(
            f"{folder}: {'; '.join(problems)}: an incomplete copy, or another release; get it again, or take it as it "
            "is with --any-counts (its scores are then not those of the benchmark)"
        )


def list_images(folder: str, *, what: str) -> list[str]:
    """List the images below a folder that must be there, sorted by path.

    Args:
        folder: Location.
        what: What the folder is, for the error text, such as ``the test images of VeRi-776``.

    Raises:
        InputError: If the folder is absent or holds no image.
    """
    paths = storage.list_files(folder, IMAGE_SUFFIXES)
    if not paths:
        raise InputError(f"{folder}: no images there; it should hold {what}")
    return paths
