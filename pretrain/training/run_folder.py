"""The run directory, and the live line that follows a run.

Layout::

OUT/config.json        the run; a second start with the same one resumes, with another one is refused
OUT/start.safetensors  the weights that it began with
OUT/metrics.jsonl      one line every few steps; OUT/tensorboard/ has the same
OUT/checkpoints/STEP/  see `pretrain.training.checkpoint`
OUT/done.json          the last record, written last

On Ray Train there is ``OUT/ray`` while it runs: Ray's own notes of its workers.
"""

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from cluster import storage
from cluster.claims import claim, refuse_others
from cluster.console import progress_bar
from cluster.errors import InputError
from cluster.values import from_json, to_json
from cluster.versions import check_version
from pretrain.training.checkpoint import newest, saved_records
from pretrain.training.record import FILE, MetricsLog, read_metrics_file

Config = TypeVar("Config")
VERSION = 2
"""Of the layout; only this one is read."""

SHOWN = {
    "loss/total": "loss",
    "loss/compatibility": "compatibility",
    "identity/accuracy": "accuracy",
    "reliability/mean": "reliability",
    "reliability/effective_share": "share",
}
"""Metrics in the live line, of those that a run has, and what they are called there."""


def claim_run(out: str, config: Any, *, writes: bool = True, **rest: Any) -> None:
    """Take a run directory, or go on with it.

    Args:
        out: The run directory.
        config: The configuration, a frozen dataclass; its `scale` may change.
        writes: Whether it is taken; otherwise only others are refused.
        rest: What else must be the same, as JSON values.

    Raises:
        InputError: If it belongs to another configuration or other data, or holds other files.
    """
    mine = {"version": VERSION, "config": to_json(config), **rest}
    if storage.exists(location := storage.join(out, "config.json")):
        _check(out, storage.read_json(location))
    (claim if writes else refuse_others)(out, mine, may_change=("config.scale",))


def read_config(out: str, kind: type[Config]) -> Config:
    """Read the configuration of a run, of a kind.

    Raises:
        InputError: If the directory is no run.
    """
    location = storage.join(out, "config.json")
    if not storage.exists(location):
        raise InputError(f"{out} is no run directory of python -m pretrain train")
    found = storage.read_json(location)
    _check(out, found)
    return from_json(kind, found.get("config"))


def _check(out: str, found: dict[str, Any]) -> None:
    remedy = "go on with the version that wrote it, or start anew with another --out"
    check_version(f"the run in {out}", found.get("version"), VERSION, oldest=VERSION, remedy=remedy)


def finish(out: str, record: dict[str, Any]) -> dict[str, Any]:
    """Say that a run is finished, and return its last record."""
    storage.write_json(storage.join(out, "done.json"), record)
    return record


def finished(out: str) -> dict[str, Any] | None:
    """Return the last record of a finished run, None if it has not finished."""
    location = storage.join(out, "done.json")
    return storage.read_json(location) if storage.exists(location) else None


@contextmanager
def record_folder(out: str) -> Iterator[str]:
    """Give a local folder for the record of a run: the run directory itself, or a spool that is uploaded at the end.

    What a killed process had saved and not yet recorded is in the newest checkpoint, and is put into the record first.
    """
    if not storage.is_remote(out):
        _complete(out, out)
        yield out
        return
    with tempfile.TemporaryDirectory(prefix="perennial-") as folder:
        earlier = storage.join(out, FILE)
        if storage.exists(earlier):
            with open(os.path.join(folder, FILE), "wb") as stream:
                stream.write(storage.read_bytes(earlier))
        _complete(out, folder)
        try:
            yield folder
        finally:
            storage.upload_folder(folder, out)


def _complete(out: str, folder: str) -> None:
    if found := newest(out):
        with MetricsLog(folder) as log:
            log.write_missing(saved_records(found))


@contextmanager
def live_progress(record: str, total_steps: int) -> Iterator[None]:
    """Show a live line while the record grows."""
    stop = threading.Event()

    def follow() -> None:
        with progress_bar() as bar:
            task = bar.add_task("training", total=total_steps, note="starting workers")
            while True:
                is_last = stop.wait(0.5)
                if lines := read_metrics_file(record):
                    last = lines[-1]
                    note = " ".join(f"{word} {last[name]:.2f}" for name, word in SHOWN.items() if name in last)
                    note += f" {last['images_per_second']:.0f} img/s data wait {last['data/wait_share']:.0%}"
                    bar.update(task, completed=last["step"], note=note)
                if is_last:
                    return

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
