"""Processes that start quickly: forked from one that has imported, once, what they need."""

import multiprocessing
from multiprocessing.context import ForkServerContext

IMPORTED = (
    "pandas",  # which pyarrow imports when it is first used
    "pytest",
    "tests.conftest",
    "tests.lifelong.gallery.rows",
    "tests.lifelong.training.test_stage_learner",
    "tests.pretrain.losses.test_isr",
    "tests.pretrain.test_world_size",
    "tests.pretrain.training.test_isr_learner",
)
"""Importing torch and a learner takes seconds of every process that does it for itself."""


UNGUARDED = {"RAY_memory_monitor_refresh_ms": "0"}
"""For every cluster of a test. Ray else kills workers where the machine's memory is nearly full, whoever fills it."""


def quick_processes() -> ForkServerContext:
    """Return the context to start them with; all tests of a process share what they are forked from."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(IMPORTED))
    return context
