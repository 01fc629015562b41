"""Commands whose first argument is a recipe."""

import inspect
import sys
from collections.abc import Callable
from typing import Any

from cluster.console import command
from lifelong.recipes import RECIPES, find_recipe

PROGRAM = "python -m lifelong"


def of_recipe(function: Callable[..., None], name: str) -> Callable[[list[str]], None]:
    """Make a command whose first argument is a recipe, which gives the defaults of all options."""

    def start(argv: list[str]) -> None:
        if not argv or argv[0] in ("-h", "--help"):
            print(f"usage: {PROGRAM} {name} RECIPE [options]   ({name} RECIPE --help shows them)\n")
            for recipe, make in RECIPES.items():
                print(f"  {recipe:<32}  {inspect.getdoc(make)}")
            sys.exit(0 if argv else 2)
        default = find_recipe(argv[0])()
        signature = inspect.signature(function)
        parameters = [
            parameter.replace(default=default) if parameter.name == "config" else parameter
            for parameter in signature.parameters.values()
        ]

        def with_defaults(**options: Any) -> None:
            function(**options)

        with_defaults.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        with_defaults.__annotations__ = dict(function.__annotations__)
        with_defaults.__doc__ = function.__doc__
        command(with_defaults, f"{PROGRAM} {name} {argv[0]}")(argv[1:])

    start.__doc__ = function.__doc__
    return start
