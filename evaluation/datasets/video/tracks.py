"""A benchmark within one camera: crops of tracked people, from video with true boxes.

It shows whether features hold on real video of a scene where nobody labelled people across cameras. It is easier than
re-identification across cameras (light, background and often the pose stay), and its scores compare with each other
only. Boxes of people who are hidden by others are true boxes too: their crops show somebody else, for every method
alike.
"""

import csv
import io
import itertools
import math
from collections.abc import Sequence

from cluster import storage
from cluster.errors import InputError
from evaluation.datasets.images import encode_jpeg
from evaluation.datasets.manifest import MANIFEST_COLUMNS
from evaluation.datasets.video.annotated_video import AnnotatedVideo, TrackBox, open_annotated_video, read_frames

MANIFEST_NAME = "manifest.csv"
CAMERAS = {"query": 1, "gallery": 2}
"""One camera took them all. Two numbers keep the rule of the same camera from removing every match."""
LEAST_INSIDE = 0.5
"""Share of a box's area that has to be inside the picture."""
QUALITY = 95


def crop_tracks(
    source: str,
    out: str,
    *,
    every: int,
    min_height: int,
    gap_seconds: float = 2.0,
    boxes: str | None = None,
) -> str:
    """Cut the true boxes of a video out of its frames, and list them for the evaluation.

    ``OUT/manifest.csv`` (read as ``csv:OUT/manifest.csv``) has query and gallery images as `within_camera_parts`
    says, by identity and time, and names files such as ``images/0007_000031.jpg`` (identity, frame). Times are
    seconds from the first frame. Queries get camera 1, the gallery camera 2 (see `CAMERAS`).

    Args:
        source: A sequence folder of MOTChallenge, or a video file beside a ``NAME.gt.csv``
            (see `evaluation.datasets.video.annotated_video`).
        out: Folder to make; an earlier one of this function is replaced.
        every: Take boxes of the frames 1, 1 + every, 1 + 2 every, and so on.
        min_height: Pixels that a box must be high inside the picture.
        gap_seconds: Between a query and the first image of the same person in the gallery, > 0.
        boxes: Location of the boxes, if they are elsewhere.

    Returns:
        Location of the manifest.

    Raises:
        InputError: If the video or its boxes cannot be read, or nobody is seen for long enough to be a query.
    """
    if every < 1 or min_height < 1 or not gap_seconds > 0:
        raise InputError(
            f"every and min_height must be >= 1 and gap_seconds > 0, got {every}, {min_height}, {gap_seconds}"
        )
    source, out = storage.resolve(source), storage.resolve(out)
    video = open_annotated_video(source, storage.resolve(boxes) if boxes else None)
    part_of = plan_crops(video, every=every, min_height=min_height, gap_seconds=gap_seconds)
    if "query" not in part_of.values():
        raise InputError(
            f"{source}: nobody is seen again {gap_seconds} s later at {min_height} pixels; "
            "lower gap_seconds or min_height"
        )
    with storage.folder_to_publish(out, replaces=MANIFEST_NAME) as folder:
        boxes_in: dict[int, list[TrackBox]] = {}
        for box in part_of:
            boxes_in.setdefault(box.frame, []).append(box)
        for frame, image in read_frames(video, boxes_in):
            for box in boxes_in[frame]:
                left, top, right, bottom = _clip(box, video)
                crop = image[top:bottom, left:right]
                data = encode_jpeg(crop, max_height=crop.shape[0], quality=QUALITY)
                storage.write_bytes(storage.join(folder, _name(box)), data)
        storage.write_bytes(storage.join(folder, MANIFEST_NAME), _manifest(part_of, video.fps).encode())
    return storage.join(out, MANIFEST_NAME)


def within_camera_parts(seconds: Sequence[float], gap_seconds: float) -> list[str | None]:
    """Decide what each image of one person's track is for, so that no query meets its neighbouring frames.

    The definition, as a loop::

        for i in range(len(seconds)):
            if i == 0:
                part[i] = "query"
            elif seconds[i] - seconds[0] >= gap_seconds:
                part[i] = "gallery"
            else:
                part[i] = None          # too alike: left out
        if "gallery" not in part:       # nothing to find
            part[0] = "gallery"         # somebody whom no query seeks

    Args:
        seconds: When each image was taken, ascending, at least one.
        gap_seconds: Least time from the query to the gallery.

    Returns:
        ``query``, ``gallery`` or None for each image.
    """
    parts: list[str | None] = ["gallery" if time - seconds[0] >= gap_seconds else None for time in seconds]
    parts[0] = "query" if "gallery" in parts else "gallery"
    return parts


def plan_crops(video: AnnotatedVideo, *, every: int, min_height: int, gap_seconds: float) -> dict[TrackBox, str]:
    """Choose the boxes to cut out: each box's part, by identity and time (see `crop_tracks` for the arguments)."""
    part_of = {}
    usable = [box for box in video.boxes if (box.frame - 1) % every == 0 and _is_visible(box, video, min_height)]
    for _, track in itertools.groupby(usable, key=lambda box: box.identity):
        images = list(track)
        parts = within_camera_parts([(box.frame - 1) / video.fps for box in images], gap_seconds)
        part_of |= {box: part for box, part in zip(images, parts, strict=True) if part}
    return part_of


def _is_visible(box: TrackBox, video: AnnotatedVideo, min_height: int) -> bool:
    left, top, right, bottom = _clip(box, video)
    inside = max(0, right - left) * max(0, bottom - top)
    return bottom - top >= min_height and inside >= LEAST_INSIDE * box.width * box.height


def _clip(box: TrackBox, video: AnnotatedVideo) -> tuple[int, int, int, int]:
    """Round a box outwards to whole pixels, and cut it at the picture's edges: left, top, right, bottom."""
    return (
        max(0, math.floor(box.left)),
        max(0, math.floor(box.top)),
        min(video.width, math.ceil(box.left + box.width)),
        min(video.height, math.ceil(box.top + box.height)),
    )


def _name(box: TrackBox) -> str:
    return f"images/{box.identity:04d}_{box.frame:06d}.jpg"


def _manifest(part_of: dict[TrackBox, str], fps: float) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(MANIFEST_COLUMNS)
    for part, camera in CAMERAS.items():
        for box in part_of:
            if part_of[box] == part:
                writer.writerow([_name(box), box.identity, camera, f"{(box.frame - 1) / fps:.3f}", part])
    return text.getvalue()
