"""``make bench``: one row per budget. Ratios against a baseline in the same run; a shared machine is noisy."""

import argparse
import os
import sys
from typing import Any

from rich.table import Table

from benchmarks import results_file
from benchmarks.provenance import Watch
from benchmarks.speed import budget, saved
from benchmarks.speed.rows import ROWS, Measured
from cluster.console import console, print_result


def main(arguments: list[str]) -> None:
    """Run the rows, print them, and keep them when asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument("words", nargs="*", help="only rows with all of these words in their names")
    parser.add_argument("--save", action="store_true", help="write the rows into benchmarks/results/speed.json")
    options = parser.parse_args(arguments)
    chosen = [name for name in ROWS if all(word in name for word in options.words)]
    if not chosen:
        parser.error(f"no row has {' and '.join(options.words)} in its name; there are: {'; '.join(ROWS)}")
    found: dict[str, Measured] = {}
    for name in chosen:
        console.print(f"{name} ...")
        watch = Watch()
        found[name] = ROWS[name].measure()
        if options.save:  # each at once: a later row that fails takes none away
            row: dict[str, Any] = {"found": found[name], "budget": budget.to_json(ROWS[name].budget)}
            location = results_file.location_of(saved.NAME)
            saved.update({name: {**row, "provenance": watch.provenance()}}, location)
    show(found)
    print_result(found)


def show(found: dict[str, Measured]) -> None:
    """Print rows as a table."""
    table = Table(title=f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", title_justify="left")
    for column in ("what", "median", "lowest", "highest", "budget"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for name, row in found.items():
        numbers = (f"{row.get(key, row['ratio']):.3f}" for key in ("ratio", "lowest", "highest"))
        table.add_row(name, *numbers, str(ROWS[name].budget))
    console.print(table)


if __name__ == "__main__":
    main(sys.argv[1:])
