"""Versions of what is stored: a reader reads its own and those before it that it names, and never a newer one.

What is kept for years has a version in it: clips, runs, checkpoints, models, features, memories, galleries, plans of
lifelong runs. A file from before it had one is of version 1.
"""

from collections.abc import Mapping
from typing import Any

from cluster.errors import InputError

KEY = "perennial.version"
"""Under which a Parquet file has its version, in the metadata of its schema."""


def of_parquet(metadata: Mapping[bytes, bytes] | None) -> Any:
    """Return the version that the metadata of a schema have, for `check_version`; another tool's file has none."""
    found = (metadata or {}).get(KEY.encode())
    return None if found is None else int(found) if found.isdigit() else found.decode(errors="replace")


def check_version(what: str, found: Any, reads: int, *, oldest: int = 1, remedy: str = "") -> None:
    """Refuse a version that this program does not read.

    Args:
        what: What was read, with its location.
        found: Its version; None, of a file from before there were versions, is 1.
        reads: The newest that is read, which is the one that is written.
        oldest: The oldest that is read.
        remedy: What to do with an older one.

    Raises:
        InputError: If it is another one, or no version.
    """
    version = 1 if found is None else found
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise InputError(f"{what} has {version!r} where its version should be; it is damaged, or no file of ours")
    if version > reads:
        raise InputError(f"{what} has version {version}, and this program reads up to {reads}; update perennial-reid")
    if version < oldest:
        raise InputError(f"{what} has version {version}, and this program reads from {oldest} on; {remedy}")
