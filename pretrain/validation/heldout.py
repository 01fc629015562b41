"""Clips that a run does not learn from, and what its encoder makes of them: the label-free objective of sweeps."""

from dataclasses import asdict, replace

import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from cluster import storage
from pretrain.config.run import PretrainConfig
from pretrain.data.batch import collate
from pretrain.data.clip_table import ClipTable
from pretrain.data.config import PairConfig
from pretrain.data.frame_pairs import LoadSamples
from pretrain.data.sampler import Share
from pretrain.models.encoder import Encoder
from pretrain.validation.partners import heldout_clips, partner_retrieval

CROPS_AT_ONCE = 256


def clip_seconds(table: ClipTable) -> NDArray[np.float64]:
    """Return when each clip begins in its video, [C] seconds; reads no pixels."""
    found = np.empty(len(table))
    for number, location in enumerate(table.files):
        with storage.open_for_reading(location) as stream:
            frames = pq.ParquetFile(stream).read(columns=["frames.list.element.time_seconds"])["frames"].to_pylist()
        rows = table.file == number
        found[rows] = [frames[row][0]["time_seconds"] for row in table.row_group[rows]]
    return found


def split_clips(table: ClipTable, *, share: float, gap_seconds: float) -> tuple[ClipTable, ClipTable]:
    """Split clips into those to learn from and those that are held out (`partners.heldout_clips`)."""
    training, heldout = heldout_clips(table.video, clip_seconds(table), share=share, gap_seconds=gap_seconds)
    return table.of(training), table.of(heldout)


class HeldOut:
    """One frame pair of each held-out clip; the same for every encoder that is compared."""

    def __init__(self, table: ClipTable, config: PretrainConfig, *, gap_seconds: float) -> None:
        """Read the pairs.

        Args:
            table: The held-out clips.
            config: Gives the intervals, the input size and the seed.
            gap_seconds: Other pairs of the same video closer in time may show the same person, and are left out.
        """
        self.gap_seconds = gap_seconds
        # Pairs of frames and nothing else, whatever the run learns from.
        pairs = replace(config.pairs, partner=PairConfig().partner)
        plain = replace(config.samples, pairs=pairs, follow="never", truth="")
        every = Share(rank=0, processes=1, per_step=len(table), first_step=0, total_steps=1)
        self.columns = collate(LoadSamples(table, plain, every)(np.arange(len(table))))

    @torch.inference_mode()
    def __call__(self, step: int, encoder: Encoder) -> dict[str, float]:
        """Measure an encoder in evaluation mode; see `pretrain.validation.partners.PartnerRetrieval` for the names."""
        device = next(encoder.parameters()).device
        parts = [encoder(part.to(device)).cpu() for part in self.columns["images"].split(CROPS_AT_ONCE)]
        x_counts, y_counts = (self.columns[f"{name}_counts"].tolist() for name in ("x", "y"))
        x_ND, y_MD = torch.cat(parts).split([sum(x_counts), sum(y_counts)])
        found = partner_retrieval(
            x_ND.numpy(),
            y_MD.numpy(),
            x_counts,
            y_counts,
            self.columns["video"].numpy(),
            self.columns["seconds"].numpy(),
            gap_seconds=self.gap_seconds,
        )
        return {f"heldout/{name}": float(value) for name, value in asdict(found).items()}
