"""``benchmarks/results/speed.json``: a row each with its own provenance, since a row is measured when somebody asks."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import results_file
from benchmarks.speed.budget import from_json
from benchmarks.studies.tables import markdown

NAME = "speed"
SHOWN = ("ratio", "lowest", "highest")


def update(rows: Mapping[str, Mapping[str, Any]], location: str) -> None:
    """Write rows into the file, in place of earlier ones of the same names."""
    before = results_file.read(location)["rows"] if Path(location).exists() else {}
    results_file.write(location, {"kind": "speed", "name": NAME, "rows": {**before, **rows}})


def table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Format rows; bold is what misses its budget."""
    lines = []
    for name, row in rows.items():
        found, budget = row["found"], from_json(row["budget"])
        figure = f"{found['ratio']:.3g}"
        figure = figure if budget.is_met(found["ratio"]) else f"**{figure}**"
        if "lowest" in found:
            figure += f" ({found['lowest']:.3g} to {found['highest']:.3g})"
        besides = [f"{key.replace('_', ' ')} {value:.4g}" for key, value in found.items() if key not in SHOWN]
        lines.append([name, figure, str(budget), ", ".join(besides), _when(row)])
    return markdown(["what", "median (lowest to highest)", "budget", "besides", "measured"], lines)


def _when(row: Mapping[str, Any]) -> str:
    known = row["provenance"]
    if known is None:
        return "before 0.2.0"
    return f"{known['date'][:10]}, {(known['commit'] or 'no commit')[:10]}{' with changes' if known['dirty'] else ''}"
