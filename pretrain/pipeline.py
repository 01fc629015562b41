"""Training samples on Ray Data: numbers of draws in, augmented crops of two frames out.

Rows: draw int64; video int64; seconds float64; x, clean_x uint8 [n, 3, H, W]; y, clean_y uint8 [m, 3, H, W].
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import ray.data
import torch
from numpy.typing import NDArray
from ray.data import ActorPoolStrategy, Dataset
from ray.data.collate_fn import NumpyBatchCollateFn

from cluster.values import from_json, to_json
from pretrain.augment import make_transform
from pretrain.config import PretrainConfig
from pretrain.feed import collate, epoch_order, make_sample
from pretrain.ingest.clips import ClipReader, list_clips

VIEWS = ("x", "y", "clean_x", "clean_y")


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


class LoadSamples:
    """Turns numbers of draws into samples: reads the clip, draws two frames, decodes and augments their crops."""

    def __init__(self, table: ClipTable, config: dict[str, Any], first_draw: int = 0) -> None:
        torch.set_num_threads(1)
        self.table = table
        self.first_draw = first_draw
        self.config = from_json(PretrainConfig, config)
        model = self.config.model
        self.transform = make_transform(self.config.pairs, model.height, model.width)
        self.reader = ClipReader()
        self.epoch, self.order = -1, np.zeros(0, dtype=np.int64)

    def __call__(self, batch: dict[str, NDArray[np.int64]]) -> dict[str, Any]:
        """Make the samples of a batch of draws."""
        samples: list[dict[str, Any]] = []
        video: list[int] = []
        draws = batch["id"] + self.first_draw
        for draw in draws.tolist():
            clip = self._clip(draw)
            stored = self.reader.read(self.table.files[self.table.file[clip]], int(self.table.row_group[clip]))
            samples.append(make_sample(stored, self.config.pairs, self.transform, seed=self.config.seed, draw=draw))
            video.append(int(self.table.video[clip]))
        return {
            "draw": draws,
            "video": np.array(video),
            "seconds": np.array([sample["seconds"] for sample in samples]),
        } | {name: _ragged([sample[name] for sample in samples]) for name in VIEWS}

    def _clip(self, draw: int) -> int:
        per_epoch = len(self.table.video) * self.config.pairs_per_clip
        epoch = draw // per_epoch
        if epoch != self.epoch:
            self.order = epoch_order(
                self.table.video, seed=self.config.seed, epoch=epoch, pairs_per_clip=self.config.pairs_per_clip
            )
            self.epoch = epoch
        return int(self.order[draw % per_epoch])


def _ragged(parts: list[NDArray[np.uint8]]) -> NDArray[np.object_]:
    column = np.empty(len(parts), dtype=object)
    column[:] = parts
    return column


class CollatePairs(NumpyBatchCollateFn):
    """Joins the samples of a batch for a training worker."""

    def __call__(self, batch: dict[str, NDArray[Any]]) -> dict[str, torch.Tensor]:
        """Return both views uint8 [N + M, 3, H, W], the counts of each pair, and the videos."""
        return {
            "images": torch.from_numpy(collate(list(batch["x"]), list(batch["y"]))),
            "clean": torch.from_numpy(collate(list(batch["clean_x"]), list(batch["clean_y"]))),
            "x_counts": torch.tensor([len(part) for part in batch["x"]]),
            "y_counts": torch.tensor([len(part) for part in batch["y"]]),
            "video": torch.from_numpy(np.array(batch["video"])),
            "seconds": torch.from_numpy(np.array(batch["seconds"])),
        }


def build_dataset(table: ClipTable, config: PretrainConfig, *, first_draw: int, draws: int) -> Dataset:
    """Build the lazy graph that gives the samples of draws ``first_draw .. draws``, in order."""
    remaining = draws - first_draw
    blocks = max(1, min(remaining // config.batch_pairs, 10_000))
    return ray.data.range(remaining, override_num_blocks=blocks).map_batches(
        LoadSamples,
        fn_constructor_kwargs={"table": table, "config": to_json(config), "first_draw": first_draw},
        batch_size=min(8, config.batch_pairs),
        compute=ActorPoolStrategy(size=config.data_workers),
        num_cpus=1,
    )
