"""How processes on CPUs ask the system for memory."""

import os

KEEPING = {"MALLOC_MMAP_THRESHOLD_": "4294967296", "MALLOC_TRIM_THRESHOLD_": "8589934592", "MALLOC_ARENA_MAX": "1"}
"""glibc gives large blocks back as soon as they are free; asking for them anew is a third of a training step.

The last one is for the loops of Ray Train: they run beside the main thread, and the memory of other threads is of
arenas that the thresholds do not apply to.
"""


def keeping_memory() -> dict[str, str]:
    """Return environment variables for a new process that trains on CPUs; those of this process win."""
    return {name: os.environ.get(name, value) for name, value in KEEPING.items()}
