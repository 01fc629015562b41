"""Local folders and object stores behind one set of functions.

A *location* is an absolute local path or a URL that fsspec knows (``s3://bucket/key``). Everything that outlives a
process is written under a temporary name and renamed, so that a reader sees all of a file or nothing of it; an object
store needs no rename, because one upload is already atomic there.

Credentials and endpoints come from where each library looks for them (``AWS_*`` environment variables, profiles).
"""

import contextlib
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import fsspec
import pyarrow.fs
from fsspec import AbstractFileSystem

from cluster.errors import InputError

JOB_VARIABLE = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Ray sets it for the command of ``ray job submit``, and for that process alone: workers get absolute locations."""


def is_remote(location: str) -> bool:
    """Whether a location is a URL of an object store and not a path of this machine."""
    return "://" in location and not location.startswith("file://")


def resolve(location: str | Path) -> str:
    """Make a location absolute, so that it means the same thing on every node and in every working directory.

    Args:
        location: A path, relative ones against the current directory, ``~`` expanded; or a URL, which stays as it is.

    Raises:
        InputError: If the location is empty, names a kind of storage that fsspec does not know, or is relative in a
            job, whose current directory is a copy that one machine keeps for a while.
    """
    text = str(location)
    if not text:
        raise InputError("a location must not be empty: give a path or an s3:// URL")
    if text.startswith("file://"):
        text = text.removeprefix("file://")
    if not is_remote(text):
        path = os.path.expanduser(text)
        if JOB_VARIABLE in os.environ and not os.path.isabs(path):
            raise InputError(
                f"{text} is relative, and a job's current directory is a temporary copy on one machine; "
                "give an absolute path that every machine sees, or an s3:// URL"
            )
        return os.path.abspath(path)
    scheme = text.split("://", 1)[0]
    if scheme not in fsspec.available_protocols():
        raise InputError(f"{text}: unknown kind of storage {scheme!r}; use a path or an s3:// URL")
    return text.rstrip("/")


def join(location: str, *parts: str) -> str:
    """Append path components to a location."""
    return "/".join([location.rstrip("/"), *parts])


def name_of(location: str) -> str:
    """Return the last component of a location."""
    return location.rstrip("/").rsplit("/", 1)[-1]


def filesystem(location: str) -> tuple[AbstractFileSystem, str]:
    """Return fsspec's file system for a location, and the path inside it."""
    system, path = (
        fsspec.core.url_to_fs(location, use_listings_cache=False)
        if is_remote(location)
        else (
            fsspec.filesystem("file"),
            location,
        )
    )
    return system, path


def arrow_filesystem(location: str) -> tuple[pyarrow.fs.FileSystem, str]:
    """Return Arrow's own file system for a location, and the path inside it (for Parquet and for Ray)."""
    if not is_remote(location):
        return pyarrow.fs.LocalFileSystem(), location
    return pyarrow.fs.FileSystem.from_uri(location)


def exists(location: str) -> bool:
    """Whether a file or a folder is there. An object store has no empty folders."""
    system, path = filesystem(location)
    return bool(system.exists(path))


def is_folder(location: str) -> bool:
    """Whether a location is a folder (on an object store: a prefix of at least one key)."""
    system, path = filesystem(location)
    return bool(system.isdir(path))


def list_files(location: str, suffixes: Sequence[str] = ()) -> list[str]:
    """List all files below a folder, sorted, as locations; an absent folder has none.

    Args:
        location: The folder.
        suffixes: Keep only names that end in one of these, compared in lower case; empty keeps all.
    """
    system, path = filesystem(location)
    if not system.exists(path):
        return []
    found = cast("list[str]", system.find(path))
    scheme = location.split("://", 1)[0] + "://" if is_remote(location) else ""
    return sorted(scheme + name for name in found if not suffixes or name.lower().endswith(tuple(suffixes)))


@contextmanager
def open_for_reading(location: str) -> Iterator[BinaryIO]:
    """Open a file for reading with seeks; on an object store only the ranges that are read travel."""
    system, path = filesystem(location)
    with system.open(path, "rb") as stream:
        yield cast("BinaryIO", stream)


def read_bytes(location: str) -> bytes:
    """Read a whole file."""
    system, path = filesystem(location)
    return cast("bytes", system.cat_file(path))


def write_bytes(location: str, data: bytes) -> None:
    """Write a whole file atomically: a reader sees the old content or the new, never a part."""
    system, path = filesystem(location)
    if is_remote(location):
        system.pipe_file(path, data)
        return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    temporary = f"{path}.{uuid.uuid4().hex}.tmp"
    try:
        with open(temporary, "wb") as stream:
            stream.write(data)
        os.replace(temporary, path)
    except OSError as error:
        error.filename = path  # a full disk does not say what was written, and nobody asked for the temporary file
        with contextlib.suppress(OSError):
            os.remove(temporary)
        raise


def read_json(location: str) -> Any:
    """Read a JSON file.

    Raises:
        InputError: If the content is not JSON.
    """
    try:
        return json.loads(read_bytes(location))
    except json.JSONDecodeError as error:
        raise InputError(f"{location} is not valid JSON ({error}); restore it or write it again") from error


def write_json(location: str, value: Any) -> None:
    """Write a value as indented JSON, atomically. NaN and infinity are refused: other readers do not know them."""
    write_bytes(location, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def remove(location: str) -> None:
    """Remove a file or a folder with all it holds; removing what is absent is fine."""
    system, path = filesystem(location)
    if system.exists(path):
        system.rm(path, recursive=True)


@contextmanager
def local_copy(location: str) -> Iterator[str]:
    """Give a local path with a file's or a folder's content: the path itself, or a temporary download of a URL."""
    if not is_remote(location):
        yield location
        return
    system, path = filesystem(location)
    with tempfile.TemporaryDirectory(prefix="perennial-") as folder:
        target = os.path.join(folder, name_of(location))
        is_directory = system.isdir(path)
        system.get(path + "/" if is_directory else path, target + "/" if is_directory else target, recursive=True)
        yield target


@contextmanager
def folder_to_publish(location: str, *, replaces: str) -> Iterator[str]:
    """Give an empty local folder whose content becomes the folder at a location when the block ends without an error.

    On a local disk that is one rename, which replaces what was there before. On an object store the files are uploaded
    one by one, in order of their names.

    Args:
        location: The folder to publish.
        replaces: A file that only such folders hold. A folder without it is never replaced: it is somebody's data.

    Raises:
        InputError: If the location holds files and not that one.
    """
    if list_files(location) and not exists(join(location, replaces)):
        raise InputError(f"{location} holds other files and no {replaces}; it would be replaced: give another --out")
    if is_remote(location):
        with tempfile.TemporaryDirectory(prefix="perennial-") as folder:
            yield folder
            upload_folder(folder, location)
        return
    parent = os.path.dirname(location)
    os.makedirs(parent, exist_ok=True)
    temporary = tempfile.mkdtemp(prefix=f".{os.path.basename(location)}.", dir=parent)
    try:
        yield temporary
        os.chmod(temporary, 0o755)
        if os.path.isdir(location):
            shutil.rmtree(location)
        os.replace(temporary, location)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def upload_folder(folder: str, location: str) -> None:
    """Copy every file below a local folder to a location, keeping relative names."""
    system, path = filesystem(location)
    for source in sorted(Path(folder).rglob("*")):
        if source.is_file():
            target = f"{path.rstrip('/')}/{source.relative_to(folder).as_posix()}"
            if not is_remote(location):
                os.makedirs(os.path.dirname(target), exist_ok=True)
            system.put_file(str(source), target)
