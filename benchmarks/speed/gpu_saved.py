"""``python -m benchmarks.speed.gpu_saved NAME FILE...``: keep what `gpu_rows` and `gpu_checks` printed on a machine.

The files are of one machine; they become ``benchmarks/results/NAME.json``.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import results_file
from benchmarks.studies.tables import markdown

Printed = Mapping[str, Any]


def save(location: str, printed: Sequence[Printed]) -> None:
    """Write a result of kind ``gpu``: ``printed`` as it was, and its table."""
    first = printed[0]["provenance"] | {"seconds": sum(one["provenance"]["seconds"] for one in printed)}
    content = {"kind": "gpu", "name": "gpu", "provenance": first, "printed": printed, "table": table(printed)}
    results_file.write(location, content)


def table(printed: Sequence[Printed]) -> str:
    """Format all rows, then all checks."""
    lines = [line for one in printed if "rows" in one for line in _rows(one)]
    checks = [line for one in printed if "checks" in one for line in _checks(one["checks"])]
    titles = ["step", "crops", "images per second", "of the encoder's"]
    return f"{markdown(titles, lines)}\n\n{markdown(['check', 'passed', 'found'], checks)}"


def _rows(one: Printed) -> list[list[str]]:
    options = one["options"]
    crops = f"{options['batch']} of {options['height']}x{options['width']}"
    return [
        [
            f"{options['architecture']}, {kind}: {name}",
            crops,
            f"{found['images_per_second']:,.0f}",
            f"{found['ratio']:.2f} ({found['lowest']:.2f} to {found['highest']:.2f})",
        ]
        for kind, by_name in one["rows"].items()
        for name, found in by_name.items()
    ]


def _checks(checks: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    return [
        [name, "yes" if found["passed"] else "**no**", "; ".join(_figures(found))] for name, found in checks.items()
    ]


def _figures(found: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Format numbers by name, those of groups too; the course of a run is left to the file."""
    figures: list[str] = []
    for name, value in found.items():
        if isinstance(value, Mapping):
            if name != "last_record":
                figures += _figures(value, f"{prefix}{name} ")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            shown = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
            figures.append(f"{prefix}{name} {shown}".replace("_", " "))
    return figures


if __name__ == "__main__":
    contents = [json.loads(Path(path).read_text(encoding="utf-8")) for path in sys.argv[2:]]
    save(results_file.location_of(sys.argv[1]), contents)
