"""Files that survive a loss of power once the call returns, under a name that was free before."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from cluster import storage

TEMPORARY = ".tmp"
"""End of the names of files that are not whole yet."""


@contextmanager
def new_file(location: str) -> Iterator[str]:
    """Give a local path to write to; when the block ends without an error, its content has a new name for good.

    Raises:
        FileExistsError: If the name is taken.
    """
    if storage.is_remote(location):
        with storage.local_folder() as folder:
            path = os.path.join(folder, storage.name_of(location))
            yield path
            upload(path, location)
        return
    folder = os.path.dirname(location)
    make_folder(folder)
    temporary = f"{location}.{uuid.uuid4().hex}{TEMPORARY}"
    try:
        yield temporary
        synchronise(temporary)
        os.link(temporary, location)  # unlike a rename, it fails where the name is taken
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)
    synchronise(folder)
