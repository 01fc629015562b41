"""What exactly is trained and tested, as hashes: runs whose manifests differ are not compared.

A manifest depends neither on where a dataset lies nor on the method. It is of names, identities and cameras, as a
dataset's reader gives them, and not of pixels: an image that was re-encoded under its own name goes unnoticed.

=============  ========================================================================================================
field          content
=============  ========================================================================================================
``benchmark``  ``intra`` or ``inter``
``rule``       how training identities are chosen
``protocol``   of the evaluation
``tasks``      in order: ``name``, ``dataset``, ``identities``, ``images``, ``sha256`` of the training images
``tests``      datasets that are trained on: ``name``, ``dataset``, and for ``query`` and ``gallery`` each ``images``,
               ``identities``, ``sha256``
``unseen``     the same of datasets that are never trained on
``missing``    unseen sets of the benchmark that are not here; not hashed, since ``unseen`` says what is
``sha256``     of all but the last two
=============  ========================================================================================================
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any, Literal

from evaluation.datasets.registry import read_dataset
from evaluation.datasets.rows import ImageRow
from lifelong.stages.plan import LifelongPlan, Stage, named

Kind = Literal["intra", "inter"]
NOT_HASHED = ("missing", "sha256")


def make_manifest(plan: LifelongPlan, kind: Kind, *, protocol: str, missing: Sequence[str] = ()) -> dict[str, Any]:
    """Read the datasets of a plan, each once, and write down what it trains and tests.

    Raises:
        ValueError: If a dataset cannot be read, or cannot be cut into the tasks.
    """
    rows_of = {stage.dataset: read_dataset(stage.dataset, any_counts=stage.any_counts) for stage in plan.stages}
    name_in = {spec: relative_names(rows) for spec, rows in rows_of.items()}
    manifest: dict[str, Any] = {
        "benchmark": kind,
        "rule": _rule(plan),
        "protocol": protocol,
        "tasks": [
            {"name": stage.name, "dataset": benchmark_name(stage.dataset)}
            | _summary(_trained(stage, rows_of[stage.dataset]), name_in[stage.dataset])
            for stage in plan.stages
        ],
        "tests": [
            _tested(name, stage.dataset, rows_of[stage.dataset]) for name, stage in tested_stages(plan, kind).items()
        ],
        "unseen": [
            _tested(name, spec, read_dataset(spec, any_counts=plan.stages[0].any_counts))
            for name, spec in map(named, plan.unseen)
        ],
    }
    return manifest | {"missing": list(missing), "sha256": manifest_hash(manifest)}


def tested_stages(plan: LifelongPlan, kind: Kind) -> dict[str, Stage]:
    """Return what is tested of the datasets that are trained on, by name, in order: a stage whose rows hold it.

    ``intra``: the one dataset, by the name of its benchmark; ``inter``: each domain.
    """
    if kind == "inter":
        return {stage.name: stage for stage in plan.stages}
    return {benchmark_name(plan.stages[0].dataset): plan.stages[0]}


def manifest_hash(manifest: Mapping[str, Any]) -> str:
    """Hash all of a manifest that says what is trained and tested."""
    hashed = {name: value for name, value in manifest.items() if name not in NOT_HASHED}
    return hashlib.sha256(json.dumps(hashed, sort_keys=True).encode()).hexdigest()


def relative_names(rows: Sequence[ImageRow]) -> dict[str, str]:
    """Name each image of a dataset relative to the folder that holds them all, wherever that lies."""
    folders = [row.path.split("/")[:-1] for row in rows]
    extremes = zip(min(folders), max(folders), strict=False)  # what these two share, all share
    depth = len(list(takewhile(lambda pair: pair[0] == pair[1], extremes)))
    return {row.path: "/".join(row.path.split("/")[depth:]) for row in rows}


def benchmark_name(spec: str) -> str:
    """Return a spec without its location: a benchmark's name, ``csv``, or ``folder``."""
    kind, separator, rest = spec.partition(":")
    is_place = not separator or rest.startswith("//") or len(kind) == 1
    return ("csv" if spec.lower().endswith(".csv") else "folder") if is_place else kind


def _trained(stage: Stage, rows: Sequence[ImageRow]) -> list[ImageRow]:
    return [row for row in stage.select(rows) if row.split == "train" and row.identity > 0]


def _tested(name: str, spec: str, rows: Sequence[ImageRow]) -> dict[str, Any]:
    name_in = relative_names(rows)
    parts = {split: [row for row in rows if row.split == split] for split in ("query", "gallery")}
    found = {split: _summary(part, name_in) for split, part in parts.items()}
    return {"name": name, "dataset": benchmark_name(spec), **found}


def _summary(rows: Sequence[ImageRow], name_in: Mapping[str, str]) -> dict[str, Any]:
    """Count and hash images: the SHA-256 of the sorted lines ``NAME IDENTITY CAMERA``."""
    lines = sorted(f"{name_in[row.path]} {row.identity} {row.camera}\n" for row in rows)
    people = {row.identity for row in rows if row.identity > 0}
    digest = hashlib.sha256("".join(lines).encode()).hexdigest()
    return {"identities": len(people), "images": len(rows), "sha256": digest}


def _rule(plan: LifelongPlan) -> str:
    first = plan.stages[0]
    taken = f"first {first.identities} identities" if first.identities else "all identities"
    if not first.part:
        return taken
    order, _, seed = first.part.partition("@")
    how = f"shuffled with seed {seed}" if seed else "ascending"
    return f"{taken} in {order.partition('/')[2]} tasks, {how}"


def first_difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Say where two manifests differ first, such as ``task03: 75 identities against 76``; empty if nowhere."""
    for field in ("benchmark", "rule", "protocol"):
        if one[field] != other[field]:
            return f"{field}: {one[field]} against {other[field]}"
    for group in ("tasks", "tests", "unseen"):
        names, others = ([entry["name"] for entry in manifest[group]] for manifest in (one, other))
        if names != others:
            return f"{group}: {', '.join(names) or 'none'} against {', '.join(others) or 'none'}"
        for mine, theirs in zip(one[group], other[group], strict=True):
            if mine != theirs:
                return f"{mine['name']}: {_entry_difference(mine, theirs)}"
    return ""


def _entry_difference(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    if mine["dataset"] != theirs["dataset"]:
        return f"dataset {mine['dataset']} against {theirs['dataset']}"
    for split in ("query", "gallery") if "query" in mine else ("",):
        a, b = (entry[split] if split else entry for entry in (mine, theirs))
        what = split or "training"
        for field in ("identities", "images"):
            if a[field] != b[field]:
                return f"{a[field]:,} {split + ' ' if split else ''}{field} against {b[field]:,}"
        if a["sha256"] != b["sha256"]:
            return f"other {what} images, as many ({a['sha256'][:8]} against {b['sha256'][:8]})"
    raise AssertionError("entries that differ, differ in a field")
