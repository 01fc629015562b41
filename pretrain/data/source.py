"""Where a training process's samples come from, and how one process reads them without Ray."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from pretrain.data.sampler import Share

Load = Callable[[NDArray[np.int64]], dict[str, Any]]
"""Makes the samples at some positions of a share: columns, one entry a sample."""


class Source(Protocol):
    """Samples of a run by their numbers. It travels to every process that reads."""

    @property
    def looks_ahead(self) -> bool:
        """Whether samples may be made before the steps before them are done."""
        ...

    def open_samples(self, share: Share) -> Load:
        """Open files and the like, in the process that reads."""
        ...

    def collate(self, columns: Mapping[str, Any]) -> dict[str, Tensor]:
        """Join samples to a batch, with ``images``."""
        ...


class StepBatches(Dataset[dict[str, Tensor]]):
    """The batch of each remaining step of one process."""

    def __init__(self, source: Source, share: Share) -> None:
        self.source, self.share = source, share
        self._load: Load | None = None

    def __len__(self) -> int:
        return self.share.total_steps - self.share.first_step

    def __getitem__(self, position: int) -> dict[str, Tensor]:
        # Made here, in the process that reads: open files do not travel.
        self._load = self._load or self.source.open_samples(self.share)
        size = self.share.size
        return self.source.collate(self._load(np.arange(position * size, (position + 1) * size)))


def read_here(source: Source, share: Share, device: torch.device, *, readers: int) -> Iterator[dict[str, Tensor]]:
    """Yield the batches of a share in this process.

    Args:
        source: Of the samples.
        share: Which of them.
        device: Of the network; for a GPU, batches lie in pinned memory and are made by processes beside this one.
        readers: How many of those.
    """
    is_cuda = device.type == "cuda"
    readers = readers if is_cuda else 0
    yield from DataLoader(
        StepBatches(source, share),
        batch_size=None,
        num_workers=readers,
        pin_memory=is_cuda,
        multiprocessing_context="spawn" if readers else None,
    )
