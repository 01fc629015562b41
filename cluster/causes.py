"""Finding in what a distributed library raises the input that its workers could not use."""

import contextlib
import json
import re
from collections.abc import Iterator, Mapping

from cluster.errors import InputError

INSIDE = ("cause", "_base_exc", "controller_failure", "__cause__", "__context__")
"""Where Ray and Python keep what an exception was raised for."""
MARKED = re.compile(r"<input-error (\".*?\") input-error>")
"""Ray Data keeps of a row function's exception its text alone."""


@contextlib.contextmanager
def telling_input_errors() -> Iterator[None]:
    """Let an `InputError` that is raised inside be found by `input_error_in` also where its text alone arrives."""
    try:
        yield
    except InputError as error:
        raise InputError(f"<input-error {json.dumps(str(error))} input-error>") from error


def input_error_in(error: BaseException) -> InputError | None:
    """Return the `InputError` that an exception was raised for, in this process or in a worker; None if there is none.

    A worker's exception travels as the cause of a cause: Ray Data wraps what a row function raises, Ray Train what a
    worker's loop raises, and its controller that again.
    """
    for found in _inside(error):
        if marked := MARKED.search(str(found)):
            return InputError(json.loads(marked[1]))
        # What Ray raises in a task's place is of the cause's class too, and says the whole traceback.
        if isinstance(found, InputError) and not isinstance(getattr(found, "cause", None), BaseException):
            return found
    return None


def _inside(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    todo = [error]
    while todo:
        current = todo.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        found = [getattr(current, name, None) for name in INSIDE]
        of_workers = getattr(current, "worker_failures", None)
        found += list(of_workers.values()) if isinstance(of_workers, Mapping) else []
        found += [argument for argument in current.args if isinstance(argument, BaseException)]
        todo += [one for one in found if isinstance(one, BaseException)]
