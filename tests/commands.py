"""Commands that need no Ray, run in this process: a process of its own takes seconds to begin."""

import contextlib
import io
import json
from types import ModuleType
from typing import Any

import pytest

from cluster.console import run_cli


def here(main: ModuleType, line: str) -> dict[str, Any]:
    """Run a command line of a package, given by its ``__main__``, and return its result."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), pytest.raises(SystemExit) as ended:
        run_cli(f"python -m {main.__package__}", main.COMMANDS, line.split())
    assert ended.value.code == 0
    return json.loads(said.getvalue().splitlines()[-1])
