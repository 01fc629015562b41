"""A command for each study, made when it is called: its options are those of the module's `study` and of the runner."""

import importlib
import sys
from collections.abc import Callable
from typing import Annotated, Any

import tyro

from benchmarks.studies.runner import RunnerConfig, StudyFailed, run_study
from benchmarks.studies.study import Study
from cluster.console import print_result


def __getattr__(name: str) -> Callable[..., None]:
    """Return the command of a study, by the name of its module."""
    try:
        module = importlib.import_module(f"benchmarks.studies.{name}")
    except ModuleNotFoundError as error:
        raise AttributeError(name) from error
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
    return start
