"""Files that are whole or absent, under names that were free, and that survive a loss of power once the call returns.

An object store acknowledges an upload once it is safe; local files and their folders are synchronised here.
"""

import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from cluster import storage

TEMPORARY = ".tmp"
"""End of the names of local files that are not whole yet."""


def create_file(location: str, data: bytes) -> None:
    """Write a small file under a name that must be free: of several processes that try, one succeeds.

    Raises:
        FileExistsError: If the name is taken.
    """
    if storage.is_remote(location):
        system, path = storage.filesystem(location)
        system.pipe_file(path, data, mode="create")  # on S3: If-None-Match
        return
    with new_file(location) as path, open(path, "wb") as stream:
        stream.write(data)


@contextmanager
def new_file(location: str) -> Iterator[str]:
    """Give a local path to write to, whose content gets its name when the block ends without an error.

    Args:
        location: A name that nobody else uses; on a local disk `FileExistsError` is raised where it is taken.
    """
    if storage.is_remote(location):
        with tempfile.TemporaryDirectory(prefix="perennial-") as folder:
            path = os.path.join(folder, storage.name_of(location))
            yield path
            system, target = storage.filesystem(location)
            system.put_file(path, target)
        return
    folder = os.path.dirname(location)
    _make_folder(folder)
    temporary = f"{location}.{uuid.uuid4().hex}{TEMPORARY}"
    try:
        yield temporary
        _synchronise(temporary)
        os.link(temporary, location)  # unlike a rename, it fails where the name is taken
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)
    _synchronise(folder)


def _make_folder(folder: str) -> None:
    if os.path.isdir(folder):
        return
    parent = os.path.dirname(folder)
    _make_folder(parent)
    os.makedirs(folder, exist_ok=True)
    _synchronise(parent)


def _synchronise(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
