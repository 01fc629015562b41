"""Benchmarks on disk as rows: which image shows whom, from which camera, in which part of the benchmark.

A dataset is named by a *spec*: ``market1501:FOLDER``, ``csv:FILE``, or only the location, where a name that ends in
``.csv`` is a manifest and anything else a folder of Market-1501's layout.

A manifest is a CSV file with the columns ``path,identity,camera,time_seconds,split``: paths relative to its own folder
(or absolute, or URLs), ``time_seconds`` empty where unknown, ``split`` one of train, query, gallery. Identities and
cameras are integers, or any names, which are then numbered from 1 in sorted order. ``-1`` marks junk.
"""

import csv
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from cluster import storage

SPLITS = ("train", "query", "gallery")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
MANIFEST_COLUMNS = ("path", "identity", "camera", "time_seconds", "split")
MARKET_FOLDERS = (
    ("bounding_box_train", "train"),
    ("query", "query"),
    ("gallery", "gallery"),
    ("bounding_box_test", "gallery"),
)
MARKET_NAME = re.compile(r"(-1|\d+)_c(\d+)")


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageRow:
    """One image of a dataset."""

    path: str
    """Absolute location."""
    identity: int
    """Who; -1 is junk. Market-1501 calls its distractors 0."""
    camera: int
    time_seconds: float | None
    """On one clock for all cameras; None is unknown."""
    split: str
    """``train``, ``query`` or ``gallery``."""


def read_dataset(spec: str) -> list[ImageRow]:
    """List the images of a dataset: train, then query, then gallery for a folder; a manifest keeps its order.

    Args:
        spec: ``market1501:FOLDER``, ``csv:FILE``, or a location (see the module).

    Raises:
        ValueError: If the dataset is missing, incomplete, or has names or values that cannot be read.
    """
    kind, separator, rest = spec.partition(":")
    if separator and kind == "market1501":
        rows = _read_market(storage.resolve(rest))
    elif (separator and kind == "csv") or spec.lower().endswith(".csv"):
        rows = _read_manifest(storage.resolve(rest if kind == "csv" else spec))
    elif separator and len(kind) > 1 and not rest.startswith("//"):  # not a URL, nor a drive letter
        raise ValueError(f"{spec}: unknown kind of dataset {kind!r}; use market1501:FOLDER, csv:FILE, or a path")
    else:
        rows = _read_market(storage.resolve(spec))
    present = {row.split for row in rows}
    for split in ("query", "gallery"):
        if split not in present:
            raise ValueError(f"{spec} has no {split} images; retrieval needs both query and gallery")
    return rows


def _read_market(folder: str) -> list[ImageRow]:
    """Read Market-1501's layout; names start with identity and camera, as in ``0002_c1s1_000451_03.jpg``."""
    if not storage.is_folder(folder):
        raise ValueError(f"{folder}: no such dataset folder; give a folder with query/ and bounding_box_test/")
    located = [
        (path, split)
        for name, split in MARKET_FOLDERS
        for path in storage.list_files(storage.join(folder, name), IMAGE_SUFFIXES)
    ]
    if not located:
        raise ValueError(f"{folder} has no images below query/, bounding_box_test/ or gallery/; is it Market-1501?")
    matches = [(MARKET_NAME.match(storage.name_of(path)), path, split) for path, split in located]
    unreadable = [storage.name_of(path) for match, path, _ in matches if match is None]
    if unreadable:
        raise ValueError(
            f"{folder}: {len(unreadable)} of {len(located)} names say no identity and camera, such as {unreadable[0]}; "
            "rename to 0002_c1s1_000451_03.jpg style, or list the images in a csv: manifest"
        )
    return [
        ImageRow(path=path, identity=int(match[1]), camera=int(match[2]), time_seconds=None, split=split)
        for match, path, split in matches
        if match
    ]


def _read_manifest(location: str) -> list[ImageRow]:
    records = _read_records(location)
    identities = _number([record["identity"] for record in records.values()])
    cameras = _number([record["camera"] for record in records.values()])
    folder = location.rsplit("/", 1)[0]
    rows = []
    for (line, record), identity, camera in zip(records.items(), identities, cameras, strict=True):
        if record["split"] not in SPLITS:
            raise ValueError(
                f"{location}, line {line}: unknown split {record['split']!r}; it must be one of {', '.join(SPLITS)}"
            )
        if identity < -1:
            raise ValueError(f"{location}, line {line}: identity must be >= -1, got {identity}; -1 marks junk")
        is_absolute = record["path"].startswith("/") or storage.is_remote(record["path"])
        rows.append(
            ImageRow(
                path=record["path"] if is_absolute else storage.join(folder, record["path"]),
                identity=identity,
                camera=camera,
                time_seconds=_seconds(location, line, record["time_seconds"]),
                split=record["split"],
            )
        )
    return rows


def _read_records(location: str) -> dict[int, dict[str, str]]:
    """Read a manifest: line number to stripped values; or say which column or value is missing."""
    if not storage.exists(location) or storage.is_folder(location):
        raise ValueError(f"{location}: no such manifest; give a CSV file with columns {','.join(MANIFEST_COLUMNS)}")
    try:
        text = storage.read_bytes(location).decode("utf-8-sig")  # spreadsheets write a byte order mark
    except UnicodeDecodeError as error:
        raise ValueError(f"{location} is not UTF-8 text ({error}); save it as UTF-8 CSV") from error
    reader = csv.DictReader(io.StringIO(text, newline=""), restval="")
    missing = [column for column in MANIFEST_COLUMNS if column not in (reader.fieldnames or ())]
    if missing:
        raise ValueError(f"{location} has no column {', '.join(missing)}; it needs {','.join(MANIFEST_COLUMNS)}")
    records = {}
    for record in reader:
        values = {column: record[column].strip() for column in MANIFEST_COLUMNS}
        empty = [column for column, value in values.items() if not value and column != "time_seconds"]
        if empty:
            raise ValueError(f"{location}, line {reader.line_num}: no {', '.join(empty)}; fill the line in")
        records[reader.line_num] = values
    if not records:
        raise ValueError(f"{location} lists no images; add a line per image")
    return records


def _number(values: Sequence[str]) -> list[int]:
    """Turn labels into integers: as they are when all are integers, else numbered from 1 in sorted order."""
    try:
        return [int(value) for value in values]
    except ValueError:
        names = sorted(set(values) - {"-1"})
        number_of = {name: number for number, name in enumerate(names, start=1)} | {"-1": -1}
        return [number_of[value] for value in values]


def _seconds(location: str, line: int, text: str) -> float | None:
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds):
        raise ValueError(f"{location}, line {line}: time_seconds {text!r} is no number; leave it empty if unknown")
    return seconds
