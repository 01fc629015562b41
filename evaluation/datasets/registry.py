"""Datasets by name.

A dataset is named by a *spec*: ``NAME:FOLDER`` (see `BENCHMARKS`; ``NAME#K:FOLDER`` is the K-th partition of a
benchmark that defines several, counted from 0), ``csv:FILE``, or only a location, where a name that ends in ``.csv`` is
a manifest and anything else a folder of Market-1501's layout, of any size.
"""

import difflib
import re

from cluster import storage
from cluster.errors import InputError
from evaluation.datasets import camera_pairs, cuhk03, cuhk_sysu, market, msmt17, qmul, sensereid, vehicles
from evaluation.datasets.manifest import read_manifest
from evaluation.datasets.rows import Benchmark, ImageRow, check_counts

BENCHMARKS: dict[str, Benchmark] = {
    **market.BENCHMARKS,
    **msmt17.BENCHMARKS,
    **cuhk03.BENCHMARKS,
    **cuhk_sysu.BENCHMARKS,
    **camera_pairs.BENCHMARKS,
    **qmul.BENCHMARKS,
    **sensereid.BENCHMARKS,
    **vehicles.BENCHMARKS,
}


def read_dataset(spec: str, *, any_counts: bool = False) -> list[ImageRow]:
    """List the images of a dataset: train, then query, then gallery for a benchmark; a manifest keeps its order.

    >>> import evaluation
    >>> rows = evaluation.read_dataset(f"{folder}/people")  # or market1501:FOLDER, csv:FILE
    >>> rows[0].split, rows[0].identity, rows[0].camera
    ('train', 1, 1)

    Args:
        spec: ``NAME:FOLDER``, ``NAME#K:FOLDER``, ``csv:FILE``, or a location (see the module).
        any_counts: Take a copy of a benchmark that is not complete.

    Raises:
        InputError: If the dataset is missing, incomplete, or has names or values that cannot be read.
    """
    kind, separator, rest = spec.partition(":")
    if not separator or rest.startswith("//") or len(kind) == 1:  # a path, a URL, or a drive letter
        is_manifest = spec.lower().endswith(".csv")
        rows = read_manifest(storage.resolve(spec)) if is_manifest else market.read_market(storage.resolve(spec))
    elif kind == "csv":
        rows = read_manifest(storage.resolve(rest))
    else:
        rows = _read_benchmark(kind, storage.resolve(rest), any_counts)
    present = {row.split for row in rows}
    for split in ("query", "gallery"):
        if split not in present:
            raise InputError(f"{spec} has no {split} images; retrieval needs both query and gallery")
    return rows


def _read_benchmark(kind: str, folder: str, any_counts: bool) -> list[ImageRow]:
    match = re.fullmatch(r"([^#]+)(?:#(\d+))?", kind)
    name = match[1] if match else kind
    if match is None or name not in BENCHMARKS:
        near = difflib.get_close_matches(name, BENCHMARKS, 1)
        hint = f"; perhaps you meant {near[0]}" if near else ""
        raise InputError(f"unknown dataset {kind!r}{hint}; there are csv, {', '.join(sorted(BENCHMARKS))}, or a path")
    benchmark, split = BENCHMARKS[name], int(match[2] or 0)
    if split >= benchmark.num_splits:
        raise InputError(f"{name} has partitions 0 to {benchmark.num_splits - 1}, got #{split}")
    if not storage.is_folder(folder):
        raise InputError(f"{folder}: no such dataset folder; give the folder that {name} was unpacked to")
    rows = benchmark.read(folder, split)
    if not any_counts:
        check_counts(name, folder, rows, benchmark)
    return rows
