"""The record of a run: JSON lines for programs, TensorBoard for people, and the reader of both's source."""

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from cluster import storage
from cluster.errors import InputError

FILE = "metrics.jsonl"


class MetricsLog:
    """Appends records to ``metrics.jsonl`` and TensorBoard files in a local folder."""

    def __init__(self, folder: str) -> None:
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(folder, FILE)
        _cut_torn_line(path)
        self._lines = open(path, "a", buffering=1, encoding="utf-8")  # noqa: SIM115 - lives as long as the run
        self._board = SummaryWriter(os.path.join(folder, "tensorboard"))

    def write(self, record: Mapping[str, Any]) -> None:
        """Append one record; it must have a ``step``."""
        self._lines.write(json.dumps(record) + "\n")
        for name, value in record.items():
            if name != "step":
                self._board.add_scalar(name, value, record["step"])
        self._board.flush()

    def write_missing(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Append those of some records whose steps are not there yet."""
        known = {record["step"] for record in read_metrics_file(self._lines.name)}
        for record in records:
            if record["step"] not in known:
                self.write(record)

    def __enter__(self) -> "MetricsLog":
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the files."""
        self._lines.close()
        self._board.close()


def record_of(step: int, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Make the record of a step of numbers. JSON knows no NaN: what could not be computed is left out."""
    values = {name: float(value) for name, value in metrics.items()}
    return {"step": step} | {name: value for name, value in values.items() if math.isfinite(value)}


def _cut_torn_line(path: str) -> None:
    """Remove what a process that was killed in the middle of a line has left."""
    if os.path.exists(path):
        with open(path, "r+b") as stream:
            stream.truncate(stream.read().rfind(b"\n") + 1)


def read_metrics(run: str) -> list[dict[str, Any]]:
    """Read the records of a run, one per step in order; after a resume the later record of a step counts.

    Raises:
        InputError: If the run has none.
    """
    location = storage.join(run, FILE)
    if not storage.exists(location):
        raise InputError(f"{run} holds no {FILE}; is it a run directory of python -m pretrain train?")
    by_step = {record["step"]: record for record in parse_lines(storage.read_bytes(location).decode())}
    return [by_step[step] for step in sorted(by_step)]


def read_metrics_file(path: str) -> list[dict[str, Any]]:
    """Read the records of a local file in the order in which they were written; an absent one has none."""
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as stream:
        return list(parse_lines(stream.read()))


def parse_lines(text: str) -> Iterator[dict[str, Any]]:
    """Parse complete lines; a last line that is still being written is left out."""
    for line in text.splitlines(keepends=True):
        if line.endswith("\n"):
            yield json.loads(line)
