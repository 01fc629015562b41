"""The run directory, and the live line that follows a run.

Layout::

OUT/config.json        the run; a second start with the same one resumes, with another one is refused
OUT/metrics.jsonl      one line every few steps; OUT/tensorboard/ has the same
OUT/ray/NAME/          Ray Train's own directory with the checkpoints; NAME carries the configuration's hash
OUT/done.json          written last
"""

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any, TypeVar

from cluster import storage
from cluster.console import progress_bar
from cluster.values import differences, from_json
from pretrain.training.record import FILE, parse_lines

Config = TypeVar("Config")

PROCESSES = {
    "workers": 1,
    "min_workers": 0,
    "cpus_per_worker": 1,
    "data_workers": 1,
    "max_failures": 0,
    "checkpoint_every": 1,
    "keep_checkpoints": 1,
    "log_every": 1,
}
"""Settings that may change when a run goes on: who computes, and how often it is told. What is learned stays the same.
In the identity of a run they have these values."""

SHOWN = {
    "loss/total": "loss",
    "loss/compatibility": "compatibility",
    "identity/accuracy": "accuracy",
    "reliability/mean": "reliability",
    "reliability/effective_share": "share",
}
"""Metrics in the live line, of those that a run has, and what they are called there."""


def identity(config: Config) -> Config:
    """Return a configuration, a frozen dataclass, without what may change when its run goes on, see `PROCESSES`."""
    any_config: Any = config
    names = {field.name for field in fields(any_config)}
    return replace(any_config, **{name: value for name, value in PROCESSES.items() if name in names})


def refuse_other_run(out: str, config: Any, mine: dict[str, Any]) -> None:
    """Check that a run directory is free, or belongs to the same configuration and the same data.

    Args:
        out: The run directory.
        config: The configuration, a frozen dataclass.
        mine: What ``config.json`` will hold: the configuration as ``config``, and what else must be the same.
    """
    location = storage.join(out, "config.json")
    if storage.exists(location):
        theirs = storage.read_json(location)
        changed = differences(identity(from_json(type(config), theirs.get("config"))), identity(config))
        changed += [
            f"{key}: {theirs.get(key)} -> {mine[key]}"
            for key in mine
            if key != "config" and theirs.get(key) != mine[key]
        ]
        if changed:
            raise ValueError(
                f"{out} belongs to a run with another configuration ({'; '.join(changed)}); "
                "resume with the same options, or use another --out"
            )
    elif storage.list_files(out):
        raise ValueError(f"{out} holds other files and no config.json of a run; give an empty --out")


@contextmanager
def record_folder(out: str) -> Iterator[str]:
    """Give a local folder for the record of a run: the run directory itself, or a spool that is uploaded at the end."""
    if not storage.is_remote(out):
        yield out
        return
    with tempfile.TemporaryDirectory(prefix="perennial-") as folder:
        earlier = storage.join(out, FILE)
        if storage.exists(earlier):
            with open(os.path.join(folder, FILE), "wb") as stream:
                stream.write(storage.read_bytes(earlier))
        try:
            yield folder
        finally:
            storage.upload_folder(folder, out)


@contextmanager
def live_progress(record: str, total_steps: int) -> Iterator[None]:
    """Show a live line while the record grows."""
    stop = threading.Event()

    def follow() -> None:
        with progress_bar() as bar:
            task = bar.add_task("training", total=total_steps, note="starting workers")
            while True:
                is_last = stop.wait(0.5)
                lines = list(parse_lines(open(record).read())) if os.path.exists(record) else []  # noqa: SIM115
                if lines:
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
