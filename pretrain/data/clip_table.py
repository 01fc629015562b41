"""Where all clips are: the first step from a clips directory to samples."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pretrain.ingest.clips import list_clips


@dataclass(frozen=True, slots=True)
class ClipTable:
    """Where all clips are, small enough to send to every reader once."""

    files: list[str]
    """Parquet files."""
    file: NDArray[np.int32]
    """[C] position of each clip's file."""
    row_group: NDArray[np.int32]
    """[C] row group of each clip."""
    video: NDArray[np.int64]
    """[C] number of each clip's video."""

    def of(self, chosen: NDArray[np.bool_]) -> "ClipTable":
        """Return the table of some of the clips, given as bool [C]."""
        return replace(self, file=self.file[chosen], row_group=self.row_group[chosen], video=self.video[chosen])

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(self.video)


def load_clip_table(clips: str) -> ClipTable:
    """List the clips of a directory for sampling."""
    addresses = list_clips(clips)
    files = sorted({address.location for address in addresses})
    videos = {name: number for number, name in enumerate(sorted({address.video_id for address in addresses}))}
    number = {name: position for position, name in enumerate(files)}
    return ClipTable(
        files=files,
        file=np.array([number[address.location] for address in addresses], dtype=np.int32),
        row_group=np.array([address.row_group for address in addresses], dtype=np.int32),
        video=np.array([videos[address.video_id] for address in addresses], dtype=np.int64),
    )
