"""Where a number comes from: commit, machine, versions, command, date. Runs on a machine without our dependencies.

A number without these cannot be compared with another: `benchmarks.results_file` writes none without them.
"""

import importlib.metadata
import importlib.util
import os
import platform
import shlex
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
DISTRIBUTIONS = (
    "torch",
    "torchvision",
    "ray",
    "numpy",
    "scipy",
    "scikit-learn",
    "pyarrow",
    "av",
    "decord",
    "opencv-python-headless",
    "faiss-gpu",
    "faiss-cpu",
    "timm",
)
"""Whose version may change a number; those that are not installed are left out."""
RESULTS = "benchmarks/results/"
"""Written by a run, and read by none: changes in it make no tree dirty."""


class Watch:
    """Began when it was made; says later what was measured since, and under what."""

    def __init__(self) -> None:
        self._began, self._date = time.perf_counter(), datetime.now(UTC)
        self._commit, self._load = commit(), os.getloadavg()[0]  # of the beginning: the code that runs is of then

    def provenance(self) -> dict[str, Any]:
        """Return everything that is known of the measurement, as JSON values.

        Returns:
            ``commit`` and ``dirty`` (None outside a repository), ``versions`` by name, ``machine``, ``load`` (of the
            machine's last minute, at the beginning), ``command``, ``date`` (UTC, ISO 8601, of the beginning) and
            ``seconds`` since.
        """
        return {
            **self.brief(),
            "versions": versions(),
            "machine": machine(),
            "load": round(self._load, 2),
            "command": command_line(),
        }

    def brief(self) -> dict[str, Any]:
        """Return what differs between the runs of a study: ``commit``, ``dirty``, ``date``, ``seconds``."""
        return {
            **self._commit,
            "date": self._date.isoformat(timespec="seconds"),
            "seconds": round(time.perf_counter() - self._began, 1),
        }


def commit(root: Path = ROOT) -> dict[str, Any]:
    """Return the commit of a working tree, and whether files differ from it: ``commit``, ``dirty``.

    Dirty is a tree with a changed file, or with a module that git does not know. Results are of no account.
    """
    head = _git(root, "rev-parse", "HEAD")
    if head is None:
        return {"commit": None, "dirty": None}
    changes = [(line[:2], line[3:]) for line in (_git(root, "status", "--porcelain", "-uall") or "").splitlines()]
    is_dirty = any((kind != "??" or path.endswith(".py")) and not path.startswith(RESULTS) for kind, path in changes)
    return {"commit": head.strip(), "dirty": is_dirty}


def _git(root: Path, *arguments: str) -> str | None:
    """Run git; None where there is none, or no repository: a copy of the code on a bare machine has neither."""
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, encoding="utf-8", check=False)
    except FileNotFoundError:
        return None
    return done.stdout if done.returncode == 0 else None


def versions() -> dict[str, str]:
    """Return the versions of Python and of what is installed of `DISTRIBUTIONS`."""
    found = {"python": platform.python_version()}
    for name in DISTRIBUTIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """Return the ``processor``'s model, its ``cores`` (those of this process), ``memory_gb``, ``gpus``, ``system``."""
    has_affinity = hasattr(os, "sched_getaffinity")
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "gpus": _gpus(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _processor() -> str:
    """Return the model's name; macOS and Windows have no ``/proc``."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text(encoding="utf-8").splitlines() if told.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _gpus() -> list[str]:
    if importlib.util.find_spec("torch") is None:
        return []
    import torch  # takes a second or two, and is not needed to know the rest

    return [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]


def command_line() -> str:
    """Return the command that started this program, as one would type it."""
    return shlex.join(["python", *sys.orig_argv[1:]])
