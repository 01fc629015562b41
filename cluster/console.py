"""What a person sees: one-line errors with exit code 2, progress on standard error, results on standard output."""

import contextlib
import errno
import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

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

from cluster import __version__
from cluster.errors import InputError, Refusal

console = Console(stderr=True, soft_wrap=True, highlight=False)
"""Everything a person reads goes to standard error; standard output carries results for programs."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command of a program, loaded when it is called: help must not wait for what trains."""

    target: "str | Mapping[str, Command]"
    """``module:name`` of a typed function, see `cluster.options.command`; or a table of commands, or its name."""
    help: str
    """One line; the first of the function's docstring."""
    recipes: str = ""
    """``module:name`` of the recipes by name, if the first argument is one of them."""
    prepare: str = ""
    """``module:name`` of `prepare` of `cluster.options.of_recipe`, if there is one."""

    def run(self, program: str, argv: list[str]) -> None:
        """Run the command with its arguments; `program` is how it was called."""
        function = _load(self.target) if isinstance(self.target, str) else self.target
        if isinstance(function, Mapping):
            run_cli(program, function, argv)
        from cluster import options  # tyro

        if self.recipes:
            prepare = _load(self.prepare) if self.prepare else None
            options.of_recipe(function, program, _load(self.recipes), prepare)(argv)
        else:
            options.command(function, program)(argv)


def _load(target: str) -> Any:
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


def run_cli(name: str, commands: Mapping[str, Command], argv: list[str]) -> NoReturn:
    """Run the command that the arguments name and exit.

    0: done. 2: unusable input, which is an `InputError` everywhere in this project; its message says what is wrong and
    what to do, and ``PERENNIAL_TRACEBACK=1`` shows where it was raised. A disk that is full or may not be written is
    input too. 3: done, and the answer is no. 1: anything else, which is a bug, with its traceback.

    Args:
        name: How the program is called, for the help text, such as ``python -m pretrain``.
        commands: What there is.
        argv: The arguments, without the program's name.
    """
    if argv and argv[0] == "--version":
        print(f"perennial-reid {__version__}")
        sys.exit(0)
    if not argv or argv[0] in ("-h", "--help"):
        width = max(map(len, commands))
        print(f"usage: {name} COMMAND ...   ({name} COMMAND --help shows its options)\n")
        for command, said in commands.items():
            print(f"  {command:<{width}}  {said.help}")
        sys.exit(0 if argv else 2)
    if argv[0] not in commands:
        _fail(f"{name} has no command {argv[0]!r}; it has: {', '.join(commands)}")
    try:
        commands[argv[0]].run(f"{name} {argv[0]}", argv[1:])
    except (InputError, OSError) as error:
        complaint = str(error) if isinstance(error, InputError) else _of_disk(error)
        if not complaint or os.environ.get("PERENNIAL_TRACEBACK"):
            raise
        _fail(complaint)
    except Refusal as error:
        print(f"no: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(3)
    except KeyboardInterrupt:
        console.print("interrupted; run the same command again to go on")
        sys.exit(130)
    sys.exit(0)


OF_DISK = {
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "allow it, or give another place"),
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "make room and run the same command again, or give another place"),
    **dict.fromkeys((errno.ENOTDIR, errno.EISDIR, errno.EEXIST), "give another place"),
}
"""What the user's disk may answer, and the remedy. A file that is missing is not among it: what we need we write."""


def _of_disk(error: OSError) -> str:
    """Return the line that an error of the user's disk deserves; empty for any other error."""
    number = errno.EACCES if isinstance(error, PermissionError) else error.errno
    if number not in OF_DISK:
        return ""
    where = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    said = error.strerror or str(error) or os.strerror(number)
    return f"{' -> '.join(where)}{': ' if where else ''}{said}; {OF_DISK[number]}"


def _fail(message: str) -> NoReturn:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)


def print_result(result: Mapping[str, Any]) -> None:
    """Print a result for programs: one line of JSON, the last on standard output."""
    sys.stderr.flush()
    print(json.dumps(result, allow_nan=False), flush=True)


SECONDS_BETWEEN_LINES = 15.0
"""How often progress is printed where there is no terminal to draw a bar on, as in the log of a job."""


def is_live() -> bool:
    """Whether somebody looks at a terminal that can draw over a line; FORCE_COLOR alone makes none of a file."""
    return bool(console.file.isatty()) and not console.is_dumb_terminal


class _Progress(Progress):
    """A bar on a terminal; elsewhere a line now and then, and one at the end, of any length."""

    _printed_at = 0.0

    def stop(self) -> None:
        if not self.disable:
            super().stop()
            return
        for task in self.tasks:
            share = "" if task.total is None else f"{task.percentage:.0f}% "
            total = "" if task.total is None else f"/{task.total:.0f}"
            note = task.fields["note"]
            console.print(f"{task.description} {share}{task.completed:.0f}{total}  {note}".rstrip(), markup=False)

    def update(self, task_id: TaskID, **changes: Any) -> None:
        super().update(task_id, **changes)
        now = time.monotonic()
        task = self._tasks[task_id]
        if not self.disable or task.finished or now - self._printed_at < SECONDS_BETWEEN_LINES:
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
        disable=not is_live(),
    )
