import functools
import os
import tempfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing
from hypothesis import settings

from tests.processes import UNGUARDED, quick_processes

ROOT = Path(__file__).parents[1]
RAY, LATER = "ray", "ray, later"
LAST_FILES = ("tests/test_jobs.py", "tests/test_s3.py", "tests/lifelong/test_sweep.py", "tests/pretrain/test_main.py")
"""So many that both processes end at about the same time."""

settings.register_profile("repeatable", derandomize=True, deadline=None)  # the same examples on every machine
settings.load_profile("repeatable")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest."""
    order = {RAY: 0, LATER: 2}
    items.sort(key=lambda item: order.get(group_of(item.nodeid), 1))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With ``-n 2``, one process has most of what needs Ray, the other all else and then the rest of Ray.

    Not by xdist's groups: with pytest 9.2 they do not reach its scheduler.
    """
    from xdist.scheduler import LoadScopeScheduling

    class RayApart(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    config.option.loadscopereorder = False
    return RayApart(config, log)


def group_of(nodeid: str) -> str:
    """Name what one process runs: the file of a test, or all files with a test that needs Ray."""
    file = nodeid.partition("::")[0]
    return file if not _needs_ray(file) else LATER if file in LAST_FILES else RAY


@functools.cache
def _needs_ray(file: str) -> bool:
    return "mark.ray" in (ROOT / file).read_text(encoding="utf-8")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """A run that skips everything has shown nothing, and fails."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")  # which xdist's workers do not have
    stats = reporter.stats if reporter else {}
    if exitstatus == pytest.ExitCode.OK and "skipped" in stats and "passed" not in stats:
        session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """One small local cluster for all tests that need Ray; started by the first of them."""
    from cluster import session  # Ray; a GPU machine without it runs `-m gpu`

    os.environ.update(UNGUARDED)
    session.connect()
    with pytest.MonkeyPatch.context() as patch:  # commands that run in this process leave it to the others
        patch.setattr(session, "disconnect", lambda: None)
        yield
    session.disconnect()


@pytest.fixture(scope="session")
def run_ranks() -> Callable[..., list[Any]]:
    """Run ``function(rank, world_size, *arguments)`` in real gloo processes; returns what each rank returned."""

    def run(function: Callable[..., Any], world_size: int, *arguments: Any) -> list[Any]:
        with tempfile.TemporaryDirectory() as folder:
            quick_processes()
            multiprocessing.start_processes(
                _enter, (function, world_size, folder, arguments), nprocs=world_size, start_method="forkserver"
            )
            return [torch.load(Path(folder, f"{rank}.pt"), weights_only=True) for rank in range(world_size)]

    return run


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """One order of sums, so one set of last digits, on any machine; and no two threads that wait for a busy core."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _enter(rank: int, function: Callable[..., Any], world_size: int, folder: str, arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group(
        "gloo", timeout=timedelta(seconds=120), init_method=f"file://{folder}/store", rank=rank, world_size=world_size
    )
    try:
        torch.save(function(rank, world_size, *arguments), Path(folder, f"{rank}.pt"))
    finally:
        dist.destroy_process_group()
