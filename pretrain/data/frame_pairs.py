"""Training samples: numbers of draws in, crops of two frames out, and how they are to be augmented. Without Ray.

A sample has: draw int64; video int64; seconds float64; x uint8 [n, 3, H, W]; y uint8 [m, 3, H, W]; change_x float32
[n, K]; change_y float32 [m, K]; identity_x int64 [n]; identity_y int64 [m]; followed_x int64 [n]; followed_y int64 [m].
The pixels are changed where they are trained on, see `pretrain.data.augment`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cluster.values import from_json
from pretrain.config import PretrainConfig
from pretrain.data.feed import epoch_order, make_sample
from pretrain.data.sampler import Share
from pretrain.data.truth import read_truth, truth_of_video
from pretrain.ingest.clips import ClipReader, list_clips

COLUMNS = ("x", "y", "change_x", "change_y", "identity_x", "identity_y", "followed_x", "followed_y")


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


def total_steps(config: PretrainConfig, table: ClipTable) -> int:
    """Return how many steps a run takes.

    Raises:
        ValueError: If it has less than one batch.
    """
    draws = config.epochs * len(table) * config.pairs_per_clip
    if draws < config.batch_pairs:
        raise ValueError(
            f"{len(table)} clips give {draws} frame pairs in {config.epochs} epochs, less than a batch of "
            f"{config.batch_pairs}; lower --batch-pairs, or raise --epochs or --pairs-per-clip"
        )
    return draws // config.batch_pairs


class LoadSamples:
    """Turns positions of a process's draws into samples: reads the clip, draws two frames, decodes their crops."""

    def __init__(self, table: ClipTable, config: dict[str, Any], share: Share) -> None:
        self.table = table
        self.share = share
        self.config = from_json(PretrainConfig, config)
        self.reader = ClipReader()
        self.truth = read_truth(self.config.truth) if self.config.truth else None
        self.epoch, self.order = -1, np.zeros(0, dtype=np.int64)

    def __call__(self, batch: dict[str, NDArray[np.int64]]) -> dict[str, Any]:
        """Make the samples at some positions, given as ``id``."""
        samples: list[dict[str, Any]] = []
        video: list[int] = []
        draws = self.share.draws(batch["id"])
        for draw in draws.tolist():
            clip = self._clip(draw)
            stored = self.reader.read(self.table.files[self.table.file[clip]], int(self.table.row_group[clip]))
            truth = None if self.truth is None else truth_of_video(self.truth, stored["video_id"])
            samples.append(make_sample(stored, self.config, draw=draw, truth=truth))
            video.append(int(self.table.video[clip]))
        return {
            "draw": draws,
            "video": np.array(video),
            "seconds": np.array([sample["seconds"] for sample in samples]),
        } | {name: _ragged([sample[name] for sample in samples]) for name in COLUMNS}

    def _clip(self, draw: int) -> int:
        per_epoch = len(self.table.video) * self.config.pairs_per_clip
        epoch = draw // per_epoch
        if epoch != self.epoch:
            self.order = epoch_order(
                self.table.video, seed=self.config.seed, epoch=epoch, pairs_per_clip=self.config.pairs_per_clip
            )
            self.epoch = epoch
        return int(self.order[draw % per_epoch])


def _ragged(parts: list[NDArray[Any]]) -> NDArray[np.object_]:
    column = np.empty(len(parts), dtype=object)
    column[:] = parts
    return column


def collate(columns: Mapping[str, Sequence[Any] | NDArray[Any]]) -> dict[str, torch.Tensor]:
    """Join samples to a batch: what `pretrain.data.feed.to_batch` takes, first frames' crops before second frames'."""
    joined = {name: np.array(columns[name]) for name in ("draw", "video", "seconds")}
    for name in ("x", "y"):
        joined[f"{name}_counts"] = np.array([len(part) for part in columns[name]])
    prefixes = {"images": "", "changes": "change_", "identities": "identity_", "followed": "followed_"}
    for name, prefix in prefixes.items():
        joined[name] = np.concatenate([*columns[f"{prefix}x"], *columns[f"{prefix}y"]])
    return {name: torch.from_numpy(column) for name, column in joined.items()}
