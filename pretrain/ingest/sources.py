"""Which files a command means, and what they are called inside the clips directory."""

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass

from cluster import storage
from cluster.errors import InputError

VIDEO_SUFFIXES = (".mp4", ".mkv", ".avi", ".mov", ".webm", ".m4v", ".ts", ".mpg", ".mpeg", ".wmv", ".flv")


@dataclass(frozen=True, slots=True)
class Source:
    """A video to be read."""

    video_id: str
    """Its name below the common folder of all inputs; the same wherever that folder is moved."""
    location: str
    """Where the file is."""


def find_videos(inputs: Sequence[str]) -> list[Source]:
    """List the videos that files, folders and URLs mean, sorted, each once.

    A file that is named is taken whatever its ending; in a folder only known video endings are.

    Raises:
        InputError: If an input does not exist, or a folder holds no video.
    """
    found: set[str] = set()
    for location in map(storage.resolve, inputs):
        if storage.is_folder(location):
            videos = storage.list_files(location, VIDEO_SUFFIXES)
            if not videos:
                raise InputError(f"{location} holds no video; looked for files ending in {' '.join(VIDEO_SUFFIXES)}")
            found.update(videos)
        elif storage.exists(location):
            found.add(location)
        else:
            raise InputError(f"{location} does not exist; give video files, folders or s3:// prefixes")
    if not found:
        raise InputError("no videos given; name files, folders or s3:// prefixes")
    ordered = sorted(found)
    kinds = {location.split("://", 1)[0] if storage.is_remote(location) else "" for location in ordered}
    if len(kinds) > 1:
        raise InputError("local files and URLs cannot be mixed in one clips directory; prepare them one after another")
    # The scheme's double slash would be folded by commonpath, so it is set aside.
    scheme = ordered[0].split("://", 1)[0] + "://" if storage.is_remote(ordered[0]) else ""
    paths = [location.removeprefix(scheme) for location in ordered]
    folder = posixpath.commonpath([posixpath.dirname(path) for path in paths])
    return [Source(posixpath.relpath(path, folder), scheme + path) for path in paths]
