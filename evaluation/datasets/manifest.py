"""A CSV manifest: any images, listed by hand or by a program.

It has the columns ``path,identity,camera,time_seconds,split``: paths relative to its own folder (or absolute, or URLs),
``time_seconds`` empty where unknown, ``split`` one of train, query, gallery. Identities and cameras are integers, or
any names, which are then numbered from 1 in sorted order. ``-1`` marks junk.
"""

import csv
import io
import math
from collections.abc import Sequence

from cluster import storage
from cluster.errors import InputError
from evaluation.datasets.rows import SPLITS, ImageRow

MANIFEST_COLUMNS = ("path", "identity", "camera", "time_seconds", "split")


def read_manifest(location: str) -> list[ImageRow]:
    """List the images of a manifest, in its order.

    Raises:
        InputError: If it is missing, has no such columns, or a value that cannot be read.
    """
    records = _read_records(location)
    identities = _number([record["identity"] for record in records.values()])
    cameras = _number([record["camera"] for record in records.values()])
    folder = location.rsplit("/", 1)[0]
    rows = []
    for (line, record), identity, camera in zip(records.items(), identities, cameras, strict=True):
        if record["split"] not in SPLITS:
            raise InputError(
                f"{location}, line {line}: unknown split {record['split']!r}; it must be one of {', '.join(SPLITS)}"
            )
        if identity < -1:
            raise InputError(f"{location}, line {line}: identity must be >= -1, got {identity}; -1 marks junk")
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
        raise InputError(f"{location}: no such manifest; give a CSV file with columns {','.join(MANIFEST_COLUMNS)}")
    try:
        text = storage.read_bytes(location).decode("utf-8-sig")  # spreadsheets write a byte order mark
    except UnicodeDecodeError as error:
        raise InputError(f"{location} is not UTF-8 text ({error}); save it as UTF-8 CSV") from error
    reader = csv.DictReader(io.StringIO(text, newline=""), restval="")
    missing = [column for column in MANIFEST_COLUMNS if column not in (reader.fieldnames or ())]
    if missing:
        raise InputError(f"{location} has no column {', '.join(missing)}; it needs {','.join(MANIFEST_COLUMNS)}")
    records = {}
    for record in reader:
        values = {column: record[column].strip() for column in MANIFEST_COLUMNS}
        empty = [column for column, value in values.items() if not value and column != "time_seconds"]
        if empty:
            raise InputError(f"{location}, line {reader.line_num}: no {', '.join(empty)}; fill the line in")
        records[reader.line_num] = values
    if not records:
        raise InputError(f"{location} lists no images; add a line per image")
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
        raise InputError(f"{location}, line {line}: time_seconds {text!r} is no number; leave it empty if unknown")
    return seconds
