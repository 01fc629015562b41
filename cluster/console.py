"""What a person sees: one-line errors with exit code 2, progress on standard error, results on standard output."""

import contextlib
import dataclasses
import functools
import inspect
import io
import itertools
import json
import os
import re
import sys
import time
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

import tyro
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from cluster.errors import InputError, Refusal
from cluster.extensions import table_of
from cluster.values import FLAT

console = Console(stderr=True, soft_wrap=True, highlight=False)
"""Everything a person reads goes to standard error; standard output carries results for programs."""


def run_cli(name: str, commands: Mapping[str, Callable[[list[str]], None]], argv: list[str]) -> NoReturn:
    """Run the command that the arguments name and exit.

    0: done. 2: unusable input, which is an `InputError` everywhere in this project; its message says what is wrong and
    what to do, and ``PERENNIAL_TRACEBACK=1`` shows where it was raised. 3: done, and the answer is no. 1: anything
    else, which is a bug, with its traceback.

    Args:
        name: How the program is called, for the help text, such as ``python -m pretrain``.
        commands: Name to function of the remaining arguments; the first line of its docstring is its help.
        argv: The arguments, without the program's name.
    """
    if not argv or argv[0] in ("-h", "--help"):
        width = max(map(len, commands))
        print(f"usage: {name} COMMAND ...   ({name} COMMAND --help shows its options)\n")
        for command, function in commands.items():
            print(f"  {command:<{width}}  {(function.__doc__ or '').strip().splitlines()[0]}")
        sys.exit(0 if argv else 2)
    if argv[0] not in commands:
        _fail(f"{name} has no command {argv[0]!r}; it has: {', '.join(commands)}")
    try:
        commands[argv[0]](argv[1:])
    except InputError as error:
        if os.environ.get("PERENNIAL_TRACEBACK"):
            raise
        _fail(str(error))
    except Refusal as error:
        print(f"no: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(3)
    except KeyboardInterrupt:
        console.print("interrupted; run the same command again to go on")
        sys.exit(130)
    sys.exit(0)


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


def command(function: Callable[..., None], program: str) -> Callable[[list[str]], None]:
    """Turn a typed function into a command: its parameters become options, its docstring the help.

    Args:
        function: Its annotations and the ``Args`` of its docstring describe the options.
        program: How the command is called, for the help text.
    """
    for hint in typing.get_type_hints(function, include_extras=True).values():
        _flatten(hint)

    @functools.wraps(function)
    def run(argv: list[str]) -> None:
        complaint = io.StringIO()
        try:
            with contextlib.redirect_stderr(complaint):
                call = tyro.cli(_delayed(function), prog=program, args=argv)
        except SystemExit as stop:
            if stop.code:
                raise InputError(_first_line(complaint.getvalue())) from stop
            raise
        call()

    return run


def _flatten(hint: Any) -> None:
    """Tell tyro which configurations inside one are `FLAT`, and which names a table has, who know nothing of tyro."""
    kind = typing.get_args(hint)[0] if typing.get_origin(hint) is typing.Annotated else hint
    if not dataclasses.is_dataclass(kind) or not isinstance(kind, type):
        return
    for name, inner in typing.get_type_hints(kind, include_extras=True).items():
        if FLAT in typing.get_args(inner):
            kind.__annotations__[name] = typing.Annotated[inner, tyro.conf.arg(name="")]
        if (table := table_of(inner)) is not None:
            kind.__annotations__[name] = typing.Annotated[inner, tyro.conf.arg(metavar=table.metavar)]
        _flatten(inner)


def _delayed(function: Callable[..., None]) -> Callable[..., Callable[[], None]]:
    """Make a function of the same signature that only remembers its arguments: what it prints is not tyro's output."""

    @functools.wraps(function)
    def remember(*args: Any, **kwargs: Any) -> Callable[[], None]:
        return functools.partial(function, *args, **kwargs)

    return remember


def _first_line(box: str) -> str:
    """Take the message out of the box that tyro draws around it, with the first of its suggestions."""
    lines = [line.strip("│ ") for line in box.splitlines()[1:]]  # the first line is the border with the title
    groups = itertools.groupby(lines, key=lambda line: set(line) <= set("─╰╯-"))  # "-" where the terminal is ASCII
    sections = [" ".join(" ".join(group).split()) for is_rule, group in groups if not is_rule]
    message = sections[0]
    message = re.sub(r"^Error parsing [a-z_.]+: ", "", message)  # the name of a dataclass tells a user nothing
    suggestion = re.search(r"Perhaps you meant: *(--\S+)", " ".join(sections[1:]))
    return message + (f"; perhaps you meant {suggestion[1]}" if suggestion else "") + "; --help lists the options"


def _fail(message: str) -> NoReturn:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)


def print_result(result: Mapping[str, Any]) -> None:
    """Print a result for programs: one line of JSON, the last on standard output."""
    sys.stderr.flush()
    print(json.dumps(result, allow_nan=False), flush=True)


SECONDS_BETWEEN_LINES = 15.0
"""How often progress is printed where there is no terminal to draw a bar on, as in the log of a job."""


class _Progress(Progress):
    """A bar on a terminal; elsewhere a line now and then."""

    _printed_at = 0.0

    def update(self, task_id: TaskID, **changes: Any) -> None:
        super().update(task_id, **changes)
        now = time.monotonic()
        task = self._tasks[task_id]
        if console.is_terminal or task.finished or now - self._printed_at < SECONDS_BETWEEN_LINES:
            return
        self._printed_at = now
        left = "" if task.time_remaining is None else f", {task.time_remaining:.0f} s left"
        total = "" if task.total is None else f" of {task.total:.0f}"
        console.print(f"{task.description}: {task.completed:.0f}{total}{left}  {task.fields['note']}", markup=False)


SECONDS_WITHOUT_PROGRESS = 2.0
"""What takes no longer than this shows no progress."""


@contextlib.contextmanager
def meter(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show how far something is once it has taken a while.

    Args:
        what: Description of the whole, such as ``comparing queries``.
        total: Units of the whole.

    Yields:
        What is to be called with the number of units just done.
    """
    start, done = time.monotonic(), 0
    with contextlib.ExitStack() as stack:
        progress: Progress | None = None
        task = TaskID(0)

        def advance(count: int) -> None:
            nonlocal done, progress, task
            done += count
            if progress is None and time.monotonic() - start > SECONDS_WITHOUT_PROGRESS:
                progress = stack.enter_context(progress_bar())
                task = progress.add_task(what, total=total, note="")
            if progress is not None:
                progress.update(task, completed=done)

        yield advance


def progress_bar() -> Progress:
    """Make a progress bar on standard error, with its description, count, remaining time and a note.

    Tasks are added with ``note=""``; `update` may change it.
    """
    return _Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=16),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[note]}"),
        console=console,
    )
