"""Commands whose first argument is a recipe."""

import inspect
import sys
from collections.abc import Callable

from cluster.console import command, with_default
from cluster.sweep.search_space import named_spaces
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
        rest = named_spaces(argv[1:]) if name == "sweep" else argv[1:]
        command(with_default(function, "config", default), f"{PROGRAM} {name} {argv[0]}")(rest)

    start.__doc__ = function.__doc__
    return start
