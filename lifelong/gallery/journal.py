"""Manifests in numbered files, ``manifests/000000000012.json``: the newest is the truth, and none is ever changed.

A change is made by creating the next number, which only one of several writers can do; the others read again and try
again. That needs no lock, and works alike on a disk (a hard link fails where the name is taken) and on S3 (a
conditional put does).

It is sound only while numbers that were taken stay taken: a writer that slept since it read number 5 must not be able
to create number 6 after 6 was cleared away. So only files older than `SAFE_SECONDS` are removed, and a writer that
took longer than `LONGEST_SECONDS` reads again. What has to be gone at once is emptied instead, which keeps its number.
"""

import contextlib
import json
import random
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar

from cluster import storage
from cluster.errors import InputError
from lifelong.gallery.durable import create_file
from lifelong.gallery.manifest import Manifest, from_json, now, to_json

Result = TypeVar("Result")

FOLDER = "manifests"
KEPT = 20
"""Newest manifests that stay, for people who want to know what changed."""
SAFE_SECONDS = 86_400.0
LONGEST_SECONDS = 3_600.0
TRIES = 1000
"""Of a change."""
READS = 20
"""Tries to read the newest, which another writer may empty in between."""
REMOVED_AT_ONCE = 20
EMPTY = b"{}\n"
"""What remains of a manifest that named deleted people."""


def numbers(location: str) -> list[int]:
    """List the numbers that are taken, ascending; a location without a gallery has none."""
    names = map(storage.name_of, storage.list_files(storage.join(location, FOLDER), (".json",)))
    return sorted(int(name.removesuffix(".json")) for name in names if name.removesuffix(".json").isdecimal())


def file_of(location: str, number: int) -> str:
    """Return where a manifest is."""
    return storage.join(location, FOLDER, f"{number:012d}.json")


def read_newest(location: str) -> Manifest:
    """Read the newest manifest.

    Raises:
        InputError: If there is no gallery, or its manifest cannot be read.
    """
    for _ in range(READS):
        taken = numbers(location)
        if not taken:
            raise InputError(f"{location}: no gallery there; make one with: python -m lifelong gallery create")
        found = _read(location, taken[-1])
        if found is not None:
            return found  # else it was emptied since it was listed, and there is a newer one
    raise InputError(f"{location}: its newest manifest is empty; restore the last one that is not, from a copy")


def with_newest(location: str, read: Callable[[Manifest], Result]) -> Result:
    """Read what the newest manifest names; again if compaction has taken it away meanwhile.

    Args:
        location: Of the gallery.
        read: Raises `ValueError` where something is missing or wrong, which counts if the manifest is still the newest.
    """
    while True:
        manifest = read_newest(location)
        try:
            return read(manifest)
        except ValueError:
            if read_newest(location).number == manifest.number:
                raise


def _read(location: str, number: int) -> Manifest | None:
    """Return a manifest, or nothing where compaction has emptied it."""
    try:
        values = storage.read_json(file_of(location, number))
    except FileNotFoundError:
        return None
    try:
        return from_json(values) if values != {} else None
    except ValueError as error:
        raise InputError(f"{file_of(location, number)}: {error}") from error


def blank(size: int) -> Manifest:
    """Return the manifest of a gallery that has nothing in it yet."""
    return Manifest(number=1, commit=uuid.uuid4().hex, written=now(), size=size)


def create_first(location: str, first: Manifest) -> None:
    """Begin a gallery.

    Raises:
        InputError: If there is one already.
    """
    try:
        _create(location, first)
    except FileExistsError as error:
        raise InputError(f"{location} is a gallery already; add to it, or give another DIR") from error


def change(location: str, make: Callable[[Manifest], Manifest]) -> Manifest:
    """Make the next manifest from the newest one, again until no other writer came in between.

    Args:
        location: Of the gallery.
        make: Returns the changed manifest, or the same object to leave things as they are; may be called repeatedly.

    Returns:
        The manifest that is the newest now.

    Raises:
        InputError: If there is no gallery, or other writers never leave it alone.
    """
    for attempt in range(TRIES):
        start = time.time()
        newest, made = with_newest(location, lambda manifest: (manifest, make(manifest)))
        if made is newest:
            return newest
        made = replace(made, number=newest.number + 1, commit=uuid.uuid4().hex, written=now())
        if time.time() - start > LONGEST_SECONDS:
            continue
        try:
            _create(location, made)
        except FileExistsError:
            time.sleep(random.uniform(0, 0.01 * min(attempt + 1, 50)))
            continue
        _remove_old(location, made.number)
        return made
    raise InputError(f"{location}: other writers changed it {TRIES} times in between; try again when fewer are at work")


def _create(location: str, manifest: Manifest) -> None:
    """Take the manifest's number."""
    data = (json.dumps(to_json(manifest), indent=1, allow_nan=False) + "\n").encode()
    try:
        create_file(file_of(location, manifest.number), data)
    except FileExistsError:
        there = _read(location, manifest.number)
        if there is None or there.commit != manifest.commit:  # else a repeated request found our own upload
            raise


def _remove_old(location: str, newest: int) -> None:
    """Remove what is old and no longer among the newest."""
    with contextlib.suppress(FileNotFoundError):  # another writer removes the same
        for number in [taken for taken in numbers(location) if taken <= newest - KEPT][:REMOVED_AT_ONCE]:
            if age_seconds(file_of(location, number)) < SAFE_SECONDS:
                return
            storage.remove(file_of(location, number))


def empty_before(location: str, newest: int) -> None:
    """Empty all manifests before one: what they say of deleted people is gone."""
    for number in numbers(location):
        if number >= newest:
            return
        with contextlib.suppress(FileNotFoundError):  # another writer has removed it
            if storage.read_bytes(file_of(location, number)) != EMPTY:
                storage.write_bytes(file_of(location, number), EMPTY)


def age_seconds(location: str) -> float:
    """Return how long ago a file was written, by the clock of its storage."""
    system, path = storage.filesystem(location)
    written: datetime = system.modified(path)
    return (datetime.now(UTC) - (written if written.tzinfo else written.replace(tzinfo=UTC))).total_seconds()
