"""``python -m benchmarks.studies NAME``: run a study, or go on with it; without a name, list them."""

import ast
import sys
from pathlib import Path

from benchmarks.studies import STUDIES
from cluster.console import Command, run_cli

PROGRAM = "python -m benchmarks.studies"


def module_of(name: str) -> str:
    """Return the module of a study."""
    return f"benchmarks.studies.{name.replace('-', '_')}"


def commands() -> dict[str, Command]:
    """Return a command for each study; its help is the first line of the module, which is read and not loaded."""
    found: dict[str, Command] = {}
    for name in STUDIES:
        file = name.replace("-", "_")
        text = ast.get_docstring(ast.parse(Path(__file__).with_name(f"{file}.py").read_text(encoding="utf-8"))) or ""
        found[name] = Command(f"benchmarks.studies.commands:{file}", text.partition("\n")[0])
    return found


if __name__ == "__main__":
    run_cli(PROGRAM, commands(), sys.argv[1:])
