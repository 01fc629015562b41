"""Pretraining as a job: an encoder, the clips, and the steps that a configuration makes of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from safetensors.torch import load
from torch import Tensor

from cluster import storage
from pretrain.config.run import PretrainConfig
from pretrain.data import batch
from pretrain.data.clip_table import ClipTable
from pretrain.data.frame_pairs import LoadSamples
from pretrain.data.sampler import Share
from pretrain.models.encoder import make_encoder
from pretrain.models.precision import dtype_of
from pretrain.training.isr_learner import IsrLearner
from pretrain.training.job import Wrap


@dataclass(frozen=True, kw_only=True, slots=True)
class IsrJob:
    """A pretraining for any process."""

    config: PretrainConfig
    table: ClipTable
    """The clips."""
    start: str
    """Location of the weights to begin with, all of the encoder's."""

    @property
    def per_step(self) -> int:
        """Frame pairs of a step."""
        return self.config.batch_pairs

    @property
    def total_steps(self) -> int:
        """Steps of the whole run."""
        return self.config.total_steps(len(self.table))

    @property
    def looks_ahead(self) -> bool:
        """A frame pair depends on its number alone."""
        return True

    def make_learner(self, device: torch.device, wrap: Wrap) -> IsrLearner:
        """Make the learner at its beginning."""
        encoder = make_encoder(self.config.model, seed=self.config.seed)
        encoder.load_state_dict(load(storage.read_bytes(self.start)))
        wrapped = wrap(encoder.to(dtype_of(self.config.precision)))
        return IsrLearner(self.config, total_steps=self.total_steps, device=device, wrapped=wrapped)

    def open_samples(self, share: Share) -> LoadSamples:
        """Open the clips, in the process that reads."""
        return LoadSamples(self.table, self.config.samples, share)

    def collate(self, columns: Mapping[str, Any]) -> dict[str, Tensor]:
        """Join samples to a batch."""
        return batch.collate(columns)
