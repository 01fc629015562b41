"""Several runs of one benchmark in one table; runs of one method are its seeds."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from cluster import storage
from cluster.errors import InputError
from lifelong.protocols.manifest import first_difference, manifest_hash
from lifelong.protocols.run import MANIFEST, RESULTS


def compare(runs: Sequence[str]) -> list[dict[str, Any]]:
    """Compare finished runs of the same manifest.

    Args:
        runs: Their locations, all different.

    Returns:
        One entry per method, in the order of the runs: ``recipe``, ``settings``, ``seeds``, ``runs``, and ``mean`` and
        ``deviation`` of each number of the summaries. The deviation is that of a sample (n - 1); None for one run.

    Raises:
        InputError: If a run is not finished or is named twice, or manifests differ; says where they differ first.
    """
    if not runs or len(set(runs)) < len(runs):
        raise InputError(f"name one or more different runs, got {', '.join(runs) or 'none'}")
    results, manifests = zip(*map(_read, runs), strict=True)
    for run, manifest in zip(runs, manifests, strict=True):
        if manifest_hash(manifest) != manifest_hash(manifests[0]):
            difference = first_difference(manifests[0], manifest)
            raise InputError(f"{runs[0]} and {run} are of different benchmarks and cannot be compared: {difference}")
    methods: dict[tuple[str, str], list[int]] = {}
    for number, result in enumerate(results):
        methods.setdefault((result["recipe"], result["settings"]), []).append(number)
    found = []
    for (recipe, settings), numbers in methods.items():
        values = {
            name: [results[number]["summary"][name] for number in numbers] for name in results[numbers[0]]["summary"]
        }
        found.append(
            {
                "recipe": recipe,
                "settings": settings,
                "seeds": [results[number]["seed"] for number in numbers],
                "runs": [runs[number] for number in numbers],
                "mean": {name: float(np.mean(seen)) for name, seen in values.items()},
                "deviation": {
                    name: float(np.std(seen, ddof=1)) if len(seen) > 1 else None for name, seen in values.items()
                },
            }
        )
    return found


def _read(run: str) -> tuple[dict[str, Any], dict[str, Any]]:
    for name in (MANIFEST, RESULTS):
        if not storage.exists(storage.join(run, name)):
            raise InputError(f"{run} is no finished benchmark (no {name}); finish it with its own command")
    result, manifest = (storage.read_json(storage.join(run, name)) for name in (RESULTS, MANIFEST))
    if result["manifest"] != manifest_hash(manifest):
        raise InputError(f"{run}: {RESULTS} is of another {MANIFEST}; run its command again")
    return result, manifest
