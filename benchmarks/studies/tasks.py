"""One piece of work in a process of its own, done once.

::

    TASK/settings.json   all that it depends on; other settings are refused
    TASK/files/          what it leaves
    TASK/result.json     written last: its numbers, and when and of which commit they are
    TASK/error.txt       why it failed the last time
"""

import json
import multiprocessing
import os
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any

from benchmarks.provenance import Watch
from benchmarks.studies.study import Numbers, Place
from cluster import claims, storage
from cluster.console import console

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Task:
    """A piece of work."""

    label: str
    """For people, such as ``infonce, seed 0``."""
    folder: str
    settings: Mapping[str, Any]
    work: Callable[[Place], Numbers | None]
    shared: str

    def claim(self) -> None:
        """Take the folder, or go on with it.

        Raises:
            InputError: If it was begun with other settings, or holds other files.
        """
        settings = json.loads(json.dumps(self.settings))  # tuples are lists in the file
        claims.claim(self.folder, settings, file="settings.json", what=f"study ({self.label})")

    def result(self) -> dict[str, Any] | None:
        """Return what it gave, with its provenance; None if it is not done."""
        location = storage.join(self.folder, "result.json")
        return storage.read_json(location) if storage.exists(location) else None

    def error(self) -> str:
        """Return why it failed, a traceback."""
        location = storage.join(self.folder, "error.txt")
        return storage.read_bytes(location).decode() if storage.exists(location) else "the process was killed"


def perform(task: Task) -> None:
    """Do a task in this process, and write what it gives."""
    _end_with_parent()
    watch = Watch()
    storage.remove(storage.join(task.folder, "error.txt"))
    files = storage.join(task.folder, "files")
    try:
        numbers = task.work(Place(files, task.shared))
        done = {"numbers": numbers, "provenance": watch.brief()}
        storage.write_json(storage.join(task.folder, "result.json"), done)
    except Exception:
        storage.write_bytes(storage.join(task.folder, "error.txt"), traceback.format_exc().encode())
        raise SystemExit(1) from None  # the parent shows the file


def _end_with_parent() -> None:
    """End this process when its parent is killed: a study that is started again must not meet it in its folder."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def perform_all(tasks: Sequence[Task], *, processes: int, one_thread: bool = True) -> list[Task]:
    """Do what is not done yet, each in a spawned process; print a line for each.

    A process that fails, or is killed, fails its own task alone.

    Args:
        tasks: Claimed ones.
        processes: How many at the same time.
        one_thread: Whether each keeps to one thread.

    Returns:
        Those that failed.
    """
    waiting = [task for task in tasks if task.result() is None]
    if len(waiting) < len(tasks):
        console.print(f"{len(tasks) - len(waiting)} of {len(tasks)} were done before")
    context = multiprocessing.get_context("spawn")
    running: dict[int, tuple[Task, BaseProcess]] = {}
    count = len(tasks) - len(waiting)
    try:
        while waiting or running:
            while waiting and len(running) < processes:
                task = waiting.pop(0)
                process = context.Process(target=perform, args=(task,))
                with _threads(one_thread):
                    process.start()
                running[process.sentinel] = task, process
            for sentinel in wait(list(running)):
                task, process = running.pop(sentinel)  # pyright: ignore[reportArgumentType] - sentinels are integers
                process.join()
                count += 1
                _tell(task, f"{count}/{len(tasks)}")
    finally:
        for _, process in running.values():
            process.terminate()
    return [task for task in tasks if task.result() is None]


def _tell(task: Task, progress: str) -> None:
    if (found := task.result()) is not None:
        console.print(f"[{progress}] {task.label}: {found['provenance']['seconds']:.0f} s", markup=False)
    else:
        reason = task.error().strip().splitlines()[-1]
        console.print(f"[{progress}] {task.label}: FAILED, {reason} ({task.folder})", markup=False)


@contextmanager
def _threads(one_thread: bool) -> Iterator[None]:
    """Give a process that is started inside one thread; libraries read that when they are loaded."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1") if one_thread else {})
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            os.environ.update({name: value} if value is not None else {})
