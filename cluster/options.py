"""From a typed function to a command line, by tyro: parameters are options, the docstring is their help."""

import dataclasses
import difflib
import functools
import inspect
import sys
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import tyro
from tyro import _errors as tyro_errors  # its events, and not the boxes that it draws; hence the version in pyproject

from cluster.errors import InputError
from cluster.extensions import table_of
from cluster.values import FIXED, FLAT, look_up

Flat = tyro.conf.arg(name="")
"""A nested configuration whose fields are options of the command itself."""
Repeated = Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="SPEC")]
"""An option that may be given several times."""


def command(function: Callable[..., None], program: str) -> Callable[[list[str]], None]:
    """Turn a typed function into a command.

    Args:
        function: Its annotations and the ``Args`` of its docstring describe the options.
        program: How the command is called, for the help text.

    Returns:
        A function of the arguments, which raises `InputError` where they cannot be used.
    """
    for hint in typing.get_type_hints(function, include_extras=True).values():
        _mark(hint)

    @functools.wraps(function)
    def run(argv: list[str]) -> None:
        settings = (tyro.conf.SuppressFixed,)
        with tyro_errors.on_parse_error(functools.partial(_refuse, function)):
            call = tyro.cli(_delayed(function), prog=program, args=argv, config=settings)
        call()

    return run


def with_default(function: Callable[..., None], name: str, value: Any) -> Callable[..., None]:
    """Return a function whose parameter has another default, with everything else that `command` reads of it."""
    signature = inspect.signature(function)
    parameters = [
        parameter.replace(default=value) if parameter.name == name else parameter
        for parameter in signature.parameters.values()
    ]

    def with_defaults(**options: Any) -> None:
        function(**options)

    with_defaults.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    with_defaults.__annotations__ = dict(function.__annotations__)
    with_defaults.__doc__ = function.__doc__
    return with_defaults


def of_recipe(
    function: Callable[..., None],
    program: str,
    recipes: Mapping[str, Callable[[], Any]],
    prepare: Callable[[Any, list[str]], tuple[Any, list[str]]] | None = None,
) -> Callable[[list[str]], None]:
    """Make a command whose first argument is a recipe, which gives the defaults of all options.

    They are no subcommands of tyro's: it would build the options of every recipe to parse those of one, and options of
    the command itself would have to stand before the recipe.

    Args:
        function: Its parameter `config` is what a recipe makes.
        program: How the command is called, for the help text.
        recipes: By name.
        prepare: From the recipe's configuration and the other arguments to those that are parsed.
    """

    @functools.wraps(function)
    def start(argv: list[str]) -> None:
        if not argv or argv[0] in ("-h", "--help"):
            print(f"usage: {program} RECIPE [options]   ({program} RECIPE --help shows them)\n")
            width = max(map(len, recipes))
            for recipe, make in recipes.items():
                print(f"  {recipe:<{width}}  {inspect.getdoc(make)}")
            sys.exit(0 if argv else 2)
        name, rest = argv[0], argv[1:]
        config = look_up(name, recipes, "recipe")()
        if prepare:
            config, rest = prepare(config, rest)
        command(with_default(function, "config", config), f"{program} {name}")(rest)

    return start


def take_option(name: str, argv: list[str]) -> tuple[str, list[str]]:
    """Take one text option out of arguments that are parsed later: it decides what the defaults of the others are.

    Args:
        name: Of the option, such as ``settings``.
        argv: The arguments.

    Returns:
        Its value, empty if it is not given, and the other arguments in their order.
    """

    def given(value: str = "") -> str:
        return value

    given.__annotations__["value"] = Annotated[str, tyro.conf.arg(name=name)]
    with tyro_errors.on_parse_error(functools.partial(_refuse, given)):
        return tyro.cli(given, args=argv, return_unknown_args=True, add_help=False)


def _refuse(function: Callable[..., Any], event: tyro_errors.ParseErrorEvent) -> None:
    """Say in one line what tyro found; an event that a later version adds is left to its own words."""
    tokens: list[str] = []
    match event:
        case tyro_errors.UnrecognizedArgs(tokens=tokens):
            said = f"Unrecognized options: {', '.join(tokens)}"
        case tyro_errors.MissingArgs(prog=program, missing_arguments=missing, unrecognized_tokens=tokens):
            said = f"Missing from {program}: {', '.join(_name_of(found.arg) for found in missing)}"
            said += f"; unrecognized options: {', '.join(tokens)}" if tokens else ""
        case tyro_errors.InvalidChoice(argument=argument, value=value, choices=choices):
            said = f"invalid choice {value!r} for {argument.display_name()}, which takes {', '.join(choices)}"
        case tyro_errors.BadValue(argument=argument, reason="too_few_values"):
            needs = "is missing" if argument.is_positional() else f"needs a value, {argument.lowered.metavar}"
            said = f"{_name_of(argument)} {needs}"
        case tyro_errors.InstantiationFailure(argument=argument, message=message):
            said = f"{argument.display_name()}: {message}" if argument else str(message)
        case _:
            return
    near = [hint for token in tokens if (hint := _near(function, token))]
    raise InputError(said + (f"; perhaps you meant {near[0]}" if near else "") + "; --help lists the options")


def _name_of(argument: Any) -> str:
    name = argument.display_name()
    return name.rpartition(".")[2].upper() if argument.is_positional() else name


def _near(function: Callable[..., Any], token: str) -> str | None:
    """Return the option that somebody may have meant: one whose path ends so, or one that is spelled almost so."""
    name = token.partition("=")[0].replace("_", "-")
    if not name.startswith("--"):
        return None
    options = [
        option
        for parameter, hint in typing.get_type_hints(function, include_extras=True).items()
        for option in _options(parameter, hint, "", omits=False)
    ]
    ends = [option for option in options if option.endswith(f".{name[2:]}")]
    return next(iter(ends + difflib.get_close_matches(name, options, n=1, cutoff=0.7)), None)


def _options(name: str, hint: Any, prefix: str, *, omits: bool) -> list[str]:
    """List the options of a parameter or field: one, none if it is fixed, or those of the configuration that it is."""
    kind, *marks = typing.get_args(hint) if typing.get_origin(hint) is Annotated else (hint,)
    if FIXED in marks:
        return []
    named = [mark.name for mark in marks if isinstance(getattr(mark, "name", None), str)]
    omits = omits or tyro.conf.OmitArgPrefixes in marks
    path = ".".join(part for part in (prefix, (named or [name])[0].replace("_", "-")) if part)
    if not dataclasses.is_dataclass(kind):
        return [f"--{path}"]
    inner = typing.get_type_hints(kind, include_extras=True)
    prefix = "" if omits else path
    return [option for field, inside in inner.items() for option in _options(field, inside, prefix, omits=omits)]


def _mark(hint: Any) -> None:
    """Tell tyro which fields are `FLAT` or `FIXED`, and which names a table has, who know nothing of tyro."""
    kind = typing.get_args(hint)[0] if typing.get_origin(hint) is Annotated else hint
    if not dataclasses.is_dataclass(kind) or not isinstance(kind, type):
        return
    marks = {FLAT: Flat, FIXED: tyro.conf.Fixed}
    for name, inner in typing.get_type_hints(kind, include_extras=True).items():
        for said in typing.get_args(inner)[1:]:
            if isinstance(said, str) and said in marks:
                kind.__annotations__[name] = Annotated[inner, marks[said]]
        if (table := table_of(inner)) is not None:
            kind.__annotations__[name] = Annotated[inner, tyro.conf.arg(metavar=table.metavar)]
        _mark(inner)


def _delayed(function: Callable[..., None]) -> Callable[..., Callable[[], None]]:
    """Make a function of the same signature that only remembers its arguments: what it prints is not tyro's output."""

    @functools.wraps(function)
    def remember(*args: Any, **kwargs: Any) -> Callable[[], None]:
        return functools.partial(function, *args, **kwargs)

    return remember
