"""Writing a street to a folder: a video per camera, the truth beside it, and labelled crops; or the crops alone.

``truth.csv`` and each ``cameraN.gt.csv`` hold one row per person and frame in which at least 30 % of the body shows;
the box is that of the whole drawn body, also where somebody else hides a part, cut at the border of the picture.
"""

import csv
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import Literal

import cv2
import numpy as np

from cluster.errors import InputError
from cluster.storage import folder_to_publish, resolve, write_json
from cluster.values import to_json
from pretrain.street.cameras import make_camera
from pretrain.street.codec import write_video
from pretrain.street.config import StreetConfig
from pretrain.street.people import make_person
from pretrain.street.retrieval import FOLDERS, Part, write_camera_crops
from pretrain.street.scene import Scene
from pretrain.street.walks import training_walks

MIN_VISIBLE = 0.3
"""Less of a body than this is not in the truth."""
TRUTH_COLUMNS = ("video", "frame", "identity", "camera", "time_seconds", "left", "top", "width", "height")
CAMERA_COLUMNS = ("frame", "identity", "left", "top", "width", "height")

STREET_MARKER, LABELLED_MARKER = "truth.csv", "street.json"
"""A file that only whole streets hold, and one that only labelled crops alone hold: the `StreetConfig` as JSON."""

Kind = Literal["video"] | Part
"""What is drawn of one camera in one go."""
Row = tuple[str, int, int, int, float, int, int, int, int]
"""A row of ``truth.csv``, see `TRUTH_COLUMNS`; frames count from 1, boxes are in pixels of that video."""


def write_street(
    config: StreetConfig, out: str, *, processes: int = 1, on_progress: Callable[[int, int], None] | None = None
) -> dict[str, int]:
    """Write a street into a folder or to an s3:// URL, all of it or nothing; an earlier street there is replaced.

    Args:
        config: Which street.
        out: A place that is absent, empty, or holds an earlier street.
        processes: With more than one, cameras are shared among spawned processes (a script then needs the usual
            ``if __name__ == "__main__"``); the result is the same.
        on_progress: Called with the number of finished parts and of all parts: per camera two, and with
            ``train_identities`` three.

    Returns:
        Counts: ``videos``, ``frames``, ``boxes``, ``identities`` (that the truth shows), and the images of ``train``,
        ``query`` and ``gallery``.

    Raises:
        InputError: If ``out`` holds something else than a street.
    """
    _require_processes(processes)
    with folder_to_publish(resolve(out), replaces=STREET_MARKER) as folder:
        parts: list[Kind] = ["video", "test"]
        if config.train_identities:
            parts.append("train")
        rows, counts = _write_parts(config, folder, parts, processes, on_progress)
        _write_csv(os.path.join(folder, STREET_MARKER), TRUTH_COLUMNS, rows)
    frames, identities = config.num_frames * config.cameras, len({row[2] for row in rows})
    return {"videos": config.cameras, "frames": frames, "boxes": len(rows), "identities": identities, **counts}


def write_labelled(
    config: StreetConfig, out: str, *, processes: int = 1, on_progress: Callable[[int, int], None] | None = None
) -> dict[str, int]:
    """Write the labelled crops of a street alone, the same as `write_street` writes; all of them or nothing.

    The folder holds ``bounding_box_train/``, ``query/`` and ``gallery/``, which
    `evaluation.datasets.registry.read_dataset` reads, and ``street.json``, the configuration.

    Args:
        config: Which street; at least one of ``train_identities`` and ``test_identities`` above 0.
        out: A place that is absent, empty, or holds earlier labelled crops alone, which are replaced.
        processes: See `write_street`.
        on_progress: Called with the number of finished parts and of all parts: one per camera for each of
            ``train`` and ``test`` that has people.

    Returns:
        Counts of images: ``train``, ``query``, ``gallery``.

    Raises:
        InputError: If nobody is labelled, or if ``out`` holds something else, be it a whole street.
    """
    _require_processes(processes)
    sizes: dict[Part, int] = {"train": config.train_identities, "test": config.test_identities}
    parts: list[Kind] = [part for part, size in sizes.items() if size]
    if not parts:
        raise InputError("street.train_identities and street.test_identities are both 0: raise one to write crops")
    with folder_to_publish(resolve(out), replaces=LABELLED_MARKER) as folder:
        _, counts = _write_parts(config, folder, parts, processes, on_progress)
        write_json(os.path.join(folder, LABELLED_MARKER), to_json(config))
    return counts


def _require_processes(processes: int) -> None:
    if processes < 1:
        raise InputError(f"processes must be >= 1, got {processes}")


def _write_parts(
    config: StreetConfig,
    folder: str,
    parts: Sequence[Kind],
    processes: int,
    on_progress: Callable[[int, int], None] | None,
) -> tuple[list[Row], dict[str, int]]:
    """Write the files of some parts; return the truth in the order of the cameras, and the counts of crops."""
    numbers = range(1, config.cameras + 1)
    jobs: list[Job] = [(config, number, folder, part) for part in parts for number in numbers]
    truth: dict[int, list[Row]] = {number: [] for number in numbers}
    counts = dict.fromkeys(FOLDERS, 0)
    for done, (number, rows, crops) in enumerate(_run(jobs, processes), 1):
        truth[number].extend(rows)
        for split, count in crops.items():
            counts[split] += count
        if on_progress:
            on_progress(done, len(jobs))
    return [row for number in numbers for row in truth[number]], counts


Job = tuple[StreetConfig, int, str, Kind]
"""Street, camera, folder, and which part."""
Result = tuple[int, list[Row], dict[str, int]]
"""Camera, rows of the truth, and counts of crops."""


def _run(jobs: list[Job], processes: int) -> Iterator[Result]:
    if processes == 1:
        yield from map(_do, jobs)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_use_one_thread) as pool:
        for future in as_completed([pool.submit(_do, job) for job in jobs]):
            yield future.result()


def _use_one_thread() -> None:
    cv2.setNumThreads(1)  # the pool has one process per core already


def _do(job: Job) -> Result:
    config, number, folder, part = job
    if part == "video":
        return number, _write_camera(config, number, folder), {}
    return number, [], write_camera_crops(config, number, folder, part)


def _write_camera(config: StreetConfig, number: int, folder: str) -> list[Row]:
    camera, name = make_camera(config.style, number), f"camera{number}"
    rows: list[Row] = []

    def frames() -> Iterator[np.ndarray]:
        for frame, found in film(config, number):
            rows.extend(found)
            yield frame

    size = (camera.width, camera.height)
    write_video(os.path.join(folder, f"{name}.mp4"), frames(), size=size, fps=config.fps)
    _write_csv(os.path.join(folder, f"{name}.gt.csv"), CAMERA_COLUMNS, [(*row[1:3], *row[5:]) for row in rows])
    return rows


def film(config: StreetConfig, number: int) -> Iterator[tuple[np.ndarray, list[Row]]]:
    """Yield the frames of one camera before encoding, uint8 [H, W, 3] BGR, each with its rows of the truth."""
    camera = make_camera(config.style, number)
    people = {i: make_person(config.style, config.seed, i) for i in range(1, config.identities + 1)}
    scene = Scene(camera, training_walks(config, camera, people), config.style, config.seed)
    for index in range(config.num_frames):
        seconds = index / config.fps
        frame, everybody = scene.frame(seconds)
        yield (
            frame,
            [
                (
                    f"camera{number}.mp4",
                    index + 1,
                    p.identity,
                    number,
                    round(seconds, 4),
                    p.left,
                    p.top,
                    p.width,
                    p.height,
                )
                for p in everybody
                if p.visible >= MIN_VISIBLE
            ],
        )


def _write_csv(path: str, columns: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
