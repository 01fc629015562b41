"""The order of the identities of an epoch as a file: the training process writes, those who read samples wait."""

import time

import numpy as np
from numpy.typing import NDArray

from cluster import storage

PATIENCE_SECONDS = 1800
"""How long a draw waits for the graph of its epoch, which the training process makes."""


def order_file(folder: str, epoch: int) -> str:
    """Return where the order of the identities of an epoch is."""
    return storage.join(folder, "graphs", f"epoch-{epoch:05d}.json")


def wait_for_order(folder: str, epoch: int) -> NDArray[np.int64]:
    """Read the order of an epoch as soon as it is there.

    Raises:
        TimeoutError: If it does not come.
    """
    location, began = order_file(folder, epoch), time.monotonic()
    while not storage.exists(location):
        if time.monotonic() - began > PATIENCE_SECONDS:
            raise TimeoutError(f"{location} was not written within {PATIENCE_SECONDS} s; did the training stop?")
        time.sleep(0.1)
    return np.array(storage.read_json(location), np.int64)
