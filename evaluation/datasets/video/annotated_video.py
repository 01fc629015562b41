"""Video of one camera with true boxes and identities: what it holds, and its frames.

Two kinds: a sequence folder of MOTChallenge (Milan et al., MOT16: A Benchmark for Multi-Object Tracking, 2016), and a
video file ``NAME.mp4`` (any container) beside a table ``NAME.gt.csv`` of boxes.
"""

import configparser
import csv
import io
import itertools
import math
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn

import av
import av.error
import numpy as np
from av.container import InputContainer
from numpy.typing import NDArray

from cluster import storage
from cluster.errors import InputError
from evaluation.datasets.images import read_image

PEDESTRIAN = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class TrackBox:
    """Where somebody is in a frame."""

    frame: int
    """From 1."""
    identity: int
    """From 1."""
    left: float
    """Pixels from the left edge of the picture; may be negative."""
    top: float
    width: float
    height: float


@dataclass(frozen=True, kw_only=True, slots=True)
class AnnotatedVideo:
    """A recording by one camera."""

    location: str
    """The video file, or the folder of the frames' images."""
    image_suffix: str
    """Of the frames' images, which are called ``000001.jpg`` and so on; empty for a video file."""
    fps: float
    """Frames per second, taken as constant."""
    width: int
    """Pixels."""
    height: int
    boxes: tuple[TrackBox, ...]
    """By identity, then by frame."""


def open_annotated_video(source: str, boxes: str | None = None) -> AnnotatedVideo:
    """Read what a recording holds, without its frames.

    A sequence folder has ``seqinfo.ini``, ``img1/000001.jpg`` and ``gt/gt.txt``, whose lines are frame, identity,
    left, top, width, height, flag, class, visibility (MOT16 and later), or ten values without a class (MOT15,
    pedestrians only). Boxes count where the flag is 1 and the class is 1 (pedestrian). Pixels count from 1 there, and
    from 0 here. A table beside a video has the columns frame, identity (or id), left, top, width, height; pixels
    count from 0. In both frames count from 1, and so must identities: 0 and less have other meanings in an
    evaluation.

    Args:
        source: Location of a sequence folder or of a video file.
        boxes: Location of the boxes; None is ``gt/gt.txt`` in the folder, or ``NAME.gt.csv`` beside the video.

    Raises:
        InputError: If something is missing or cannot be read.
    """
    if storage.is_folder(source):
        found = _read_mot(boxes or storage.join(source, "gt/gt.txt"))
        return _open_sequence(source, found)
    if not storage.exists(source):
        raise InputError(f"{source}: no such video; give a video file, or a sequence folder with seqinfo.ini")
    found = _read_table(boxes or source.rsplit(".", 1)[0] + ".gt.csv")
    with _container(source) as container:
        if not container.streams.video or not container.streams.video[0].average_rate:
            raise InputError(f"{source}: no video stream with a frame rate; convert it to MP4")
        stream = container.streams.video[0]
        return AnnotatedVideo(
            location=source,
            image_suffix="",
            fps=float(stream.average_rate or 0),
            width=stream.width,
            height=stream.height,
            boxes=found,
        )


def read_frames(video: AnnotatedVideo, wanted: Collection[int]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Decode frames of a recording, in order: number and RGB uint8 [H, W, 3].

    Args:
        video: The recording.
        wanted: Numbers of the frames, from 1.

    Raises:
        InputError: If the recording has no such frame.
    """
    if video.image_suffix:
        for number in sorted(wanted):
            yield number, read_image(storage.join(video.location, f"{number:06d}{video.image_suffix}"))
        return
    last, number = max(wanted, default=0), 0
    with _container(video.location) as container:
        for number, frame in enumerate(container.decode(video=0), start=1):
            if number in wanted:
                yield number, np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
            if number >= last:
                return
    if last > number:
        raise InputError(
            f"{video.location} has {number} frames and boxes in frame {last}; are the boxes of this video?"
        )


@contextmanager
def _container(location: str) -> Iterator[InputContainer]:
    try:
        with storage.local_copy(location) as path, av.open(path) as container:
            yield container
    except av.error.FFmpegError as error:
        raise InputError(f"{location}: cannot decode the video ({error}); convert it to MP4") from error


def _open_sequence(source: str, boxes: tuple[TrackBox, ...]) -> AnnotatedVideo:
    location = storage.join(source, "seqinfo.ini")
    if not storage.exists(location):
        raise InputError(f"{location}: no such file; give a sequence folder of MOTChallenge, such as MOT17-09-FRCNN")
    parser = configparser.ConfigParser()
    try:
        parser.read_string(storage.read_bytes(location).decode())
        info = parser["Sequence"]
        return AnnotatedVideo(
            location=storage.join(source, info.get("imDir", "img1")),
            image_suffix=info.get("imExt", ".jpg"),
            fps=float(info["frameRate"]),
            width=int(info["imWidth"]),
            height=int(info["imHeight"]),
            boxes=boxes,
        )
    except (configparser.Error, KeyError, ValueError) as error:
        raise InputError(
            f"{location}: no [Sequence] with frameRate, imWidth and imHeight ({error}); restore the file"
        ) from error


def _read_mot(location: str) -> tuple[TrackBox, ...]:
    boxes = []
    for line, fields in enumerate(csv.reader(io.StringIO(_read_text(location))), start=1):
        if not fields:
            continue
        if len(fields) not in (9, 10):
            _refuse(location, line, "9 values (10 for MOT15)", ",".join(fields))
        values = _numbers(location, line, fields)
        if values[6] != 1 or (len(fields) == 9 and values[7] != PEDESTRIAN):
            continue
        boxes.append(_box(location, line, [*values[:2], values[2] - 1, values[3] - 1, *values[4:6]]))
    return _sort(location, boxes)


def _read_table(location: str) -> tuple[TrackBox, ...]:
    reader = csv.DictReader(io.StringIO(_read_text(location), newline=""), restval="")
    named = reader.fieldnames or ()
    columns = ["frame", "id" if "id" in named and "identity" not in named else "identity"]
    columns += ["left", "top", "width", "height"]
    missing = [column for column in columns if column not in named]
    if missing:
        raise InputError(f"{location} has no column {', '.join(missing)}; it needs {','.join(columns)}")
    boxes = []
    for record in reader:
        line = reader.line_num
        boxes.append(_box(location, line, _numbers(location, line, [record[column] for column in columns])))
    return _sort(location, boxes)


def _read_text(location: str) -> str:
    if not storage.exists(location):
        raise InputError(f"{location}: no such file of true boxes; give the location of the boxes")
    return storage.read_bytes(location).decode("utf-8-sig")


def _numbers(location: str, line: int, fields: list[str]) -> list[float]:
    try:
        values = [float(field) for field in fields]
    except ValueError:
        values = [math.nan]
    if not all(map(math.isfinite, values)):
        _refuse(location, line, "numbers only", ",".join(fields))
    return values


def _box(location: str, line: int, values: list[float]) -> TrackBox:
    """Make a box of frame, identity, left, top, width, height."""
    frame, identity, left, top, width, height = values
    if frame != int(frame) or identity != int(identity) or min(frame, identity) < 1:
        _refuse(location, line, "frames and identities that are whole and count from 1", f"{frame:g} and {identity:g}")
    if width <= 0 or height <= 0:
        _refuse(location, line, "a width and a height > 0", f"{width:g} and {height:g}")
    return TrackBox(frame=int(frame), identity=int(identity), left=left, top=top, width=width, height=height)


def _refuse(location: str, line: int, needed: str, got: str) -> NoReturn:
    raise InputError(f"{location}, line {line}: needs {needed}, got {got}; correct the line")


def _sort(location: str, boxes: list[TrackBox]) -> tuple[TrackBox, ...]:
    if not boxes:
        raise InputError(f"{location} has no boxes of people; give another file")
    boxes.sort(key=lambda box: (box.identity, box.frame))
    for one, other in itertools.pairwise(boxes):
        if (one.identity, one.frame) == (other.identity, other.frame):
            raise InputError(f"{location}: identity {one.identity} is twice in frame {one.frame}; take one box out")
    return tuple(boxes)
