"""Whose a folder is. The same settings go on, others are refused, and other people's files are never replaced."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cluster import storage
from cluster.errors import InputError

Compare = Callable[[Any, Any], list[str]]
LONGEST = 60
"""Characters of a list in an error text; a path is whole."""


def refuse_others(
    folder: str,
    mine: Mapping[str, Any],
    *,
    file: str = "config.json",
    what: str = "run",
    may_change: Sequence[str] = (),
    beside: Sequence[str] = (),
    compare: Compare | None = None,
) -> bool:
    """Check that a folder is free, or was begun with the same settings; write nothing.

    Args:
        folder: A location.
        mine: The settings, as JSON values.
        file: Where they stand in the folder.
        what: What the folder is of, in a word, for the error text.
        may_change: Paths of settings that may differ when the work goes on, such as ``config.scale``.
        beside: Names of files that may be there without `file`: those who look after the same folder wrote them before.
        compare: Lists in what theirs (the first) and mine differ, or refuses with an error of its own.

    Returns:
        Whether it was begun before.

    Raises:
        InputError: If it holds other settings, or other files.
    """
    location = storage.join(folder, file)
    if storage.exists(location):
        theirs = storage.read_json(location)
        changed = compare(theirs, mine) if compare else json_differences(theirs, mine, ignored=may_change)
        if changed:
            raise InputError(
                f"{folder} belongs to a {what} with other settings ({'; '.join(changed)}); "
                "go on with the same options, or give another --out"
            )
        return True
    if set(storage.list_files(folder)) - {storage.join(folder, name) for name in beside}:
        raise InputError(f"{folder} holds other files and no {file} of a {what}; give an empty --out")
    return False


def claim(folder: str, mine: Mapping[str, Any], *, file: str = "config.json", **options: Any) -> bool:
    """Take a folder, or go on with it; see `refuse_others`. Where something changed that may, it is written anew."""
    is_begun, location = refuse_others(folder, mine, file=file, **options), storage.join(folder, file)
    if not is_begun or storage.read_json(location) != mine:
        storage.write_json(location, mine)
    return is_begun


def json_differences(theirs: Any, mine: Any, *, prefix: str = "", ignored: Sequence[str] = ()) -> list[str]:
    """List where two JSON values differ, as ``path: theirs -> mine``."""
    if prefix in ignored:
        return []
    if not isinstance(theirs, dict) or not isinstance(mine, dict):
        return [] if theirs == mine else [f"{prefix}: {_short(theirs)} -> {_short(mine)}"]
    found: list[str] = []
    for name in [*theirs, *(name for name in mine if name not in theirs)]:
        path = f"{prefix}.{name}" if prefix else name
        found += json_differences(theirs.get(name), mine.get(name), prefix=path, ignored=ignored)
    return found


def _short(value: Any) -> str:
    text = str(value)
    return text if isinstance(value, str) or len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
