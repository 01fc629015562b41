"""Files of ``benchmarks/results``: an envelope around what was measured, with where it comes from.

::

    format, version    whose file it is; a reader refuses newer versions
    kind               "study" or "speed"
    name               of the study
    provenance         see `benchmarks.provenance`; a study also has ``commits`` and ``run_seconds`` of its runs, which
                       may be of other days; null if nobody wrote it down, and then ``note`` says so
    options            of the study that all its arms share
    arms               settings by the name of the arm
    seeds              in their order
    results            numbers by arm and seed
    table              what a person reads, Markdown

A file of speed has ``rows`` instead of the last five: by name what was ``found``, its ``budget``, ``provenance`` (a row
is measured when somebody asks for it) and ``note``.
"""

import re
from pathlib import Path
from typing import Any

from benchmarks.provenance import ROOT
from cluster import storage
from cluster.errors import InputError

FOLDER = ROOT / "benchmarks" / "results"
FORMAT = "perennial benchmark"
VERSION = 1
UNKNOWN = "measured before version 0.2.0, without a record of commit and machine"
"""The note of results that are older than this file."""


def location_of(name: str) -> str:
    """Return where a named result is kept.

    Raises:
        InputError: If it is no name of a file.
    """
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
        raise InputError(f"--save must be a name such as demo-seeds (a-z, 0-9 and -), got {name!r}")
    return str(FOLDER / f"{name}.json")


def write(location: str, content: dict[str, Any]) -> None:
    """Write a result in its envelope."""
    storage.write_json(location, {"format": FORMAT, "version": VERSION, **content})


def read(location: str) -> dict[str, Any]:
    """Read a result.

    Raises:
        InputError: If the file is none, or of a newer version than this one.
    """
    content = storage.read_json(location)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{location} is no result of a benchmark (its format is not {FORMAT!r}); check the path")
    if content["version"] > VERSION:
        raise InputError(
            f"{location} has version {content['version']}, and this program reads up to {VERSION}; update it"
        )
    return content


def check_replaceable(location: str, name: str) -> None:
    """Refuse to replace the result of another study.

    Raises:
        InputError: If it is there.
    """
    if Path(location).exists() and read(location)["name"] != name:
        raise InputError(f"{location} is a result of {read(location)['name']}, not of {name}; give another --save")


def from_line(provenance: dict[str, Any] | None, note: str | None) -> str:
    """Say in one line of Markdown where a result comes from."""
    if provenance is None:
        assert note, "a result without provenance says why"
        return f"{note[0].upper()}{note[1:]}."
    own, about = provenance["commit"], provenance["machine"]
    code = f"commit {own[:10]}{' with changes' if provenance['dirty'] else ''}" if own else "no commit known"
    kinds = "".join(f", {gpu}" for gpu in about["gpus"])
    where = f"{about['processor']}, {about['cores']} cores{kinds}"
    return f"`{provenance['command']}`: {provenance['date'][:10]}, {code}, {where}, {_duration(provenance['seconds'])}."


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} minutes"
