"""``python -m benchmarks.studies NAME``: run a study, or go on with it; without a name, list them."""

import ast
import importlib
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import tyro

from benchmarks.studies import STUDIES
from benchmarks.studies.runner import RunnerConfig, StudyFailed, run_study
from benchmarks.studies.study import Study
from cluster.console import command, print_result, run_cli

PROGRAM = "python -m benchmarks.studies"


def run(name: str, argv: list[str]) -> None:
    """Read a study's options, run it and print where its results are."""
    module = importlib.import_module(module_of(name))
    kind = Annotated[Study, tyro.conf.arg(constructor=module.study, name="")]

    def start(study: Any, runner: Any) -> None:
        try:
            content = run_study(study, runner)
        except StudyFailed as failure:
            print(f"error: {failure}", file=sys.stderr)
            sys.exit(1)
        print_result({"seconds": content["provenance"]["seconds"], "out": f"{runner.out}/{study.name}/results.json"})

    start.__annotations__ = {"study": kind, "runner": Annotated[RunnerConfig, tyro.conf.arg(name="")], "return": None}
    start.__doc__ = module.__doc__
    command(start, f"{PROGRAM} {name}")(argv)


def module_of(name: str) -> str:
    """Return the module of a study."""
    return f"benchmarks.studies.{name.replace('-', '_')}"


def commands() -> dict[str, Callable[[list[str]], None]]:
    """Return a command for each study; its help is the first line of the module, which is read and not loaded."""
    found: dict[str, Callable[[list[str]], None]] = {}
    for name in STUDIES:
        text = Path(__file__).with_name(f"{name.replace('-', '_')}.py").read_text()
        function = partial(run, name)
        function.__doc__ = ast.get_docstring(ast.parse(text))
        found[name] = function
    return found


if __name__ == "__main__":
    run_cli(PROGRAM, commands(), sys.argv[1:])
