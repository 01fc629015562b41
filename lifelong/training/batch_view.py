"""What a term of a stage's loss is a function of: a step's whole batch, of all processes.

Shapes: B images (new ones and replayed ones), M remembered features, D embedding size, C identities.
"""

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from lifelong.losses.episodes import split_episode
from lifelong.losses.parts import PartHead
from lifelong.models.network import LifelongModel, Outputs
from lifelong.stages.loss_config import LossConfig


@dataclass(frozen=True, slots=True)
class Bank:
    """Frozen features of earlier stages."""

    feature_MD: Tensor
    label_M: Tensor
    """int64, row of the classifier."""
    stage_M: Tensor
    """int64, from 1."""


@dataclass(frozen=True, slots=True)
class Past:
    """What a stage knows of those before it; each is None where no term asks for it."""

    bank: Bank | None = None
    frozen_CD: Tensor | None = None
    """The classifier as it was when the stage began: the last model's rows and its means of the new identities."""
    part_head: PartHead | None = None
    """Of the last model."""


@dataclass(frozen=True, kw_only=True)
class BatchView:
    """A step's batch as the terms see it; what a term says that it needs (`lifelong.stages.terms`) is not None."""

    outputs: Outputs
    """Of the learning network, with gradient."""
    before: Outputs | None
    """Of the last model on the same images."""
    label_B: Tensor
    """int64, row of the classifier."""
    is_replay_B: Tensor
    """bool, which images come from the memory."""
    past: Past
    """What is known of earlier stages."""
    model: LifelongModel
    """The learning network, for its heads."""
    config: LossConfig
    """Weights and constants."""

    @property
    def given(self) -> set[str]:
        """What this batch has of what a term may need."""
        has = {
            "teacher": self.before is not None,
            "bank": self.past.bank is not None,
            "classifier before": self.past.frozen_CD is not None,
            "parts": self.outputs.part_logit_BPP is not None,
            "matching": self.outputs.map_BKHW is not None,
            "classifier": True,
        }
        return {name for name, is_there in has.items() if is_there}

    @cached_property
    def score_BB(self) -> Tensor:  # noqa: N802 - a tensor
        """QAConv scores of all pairs, float [B, B]; computed once: the branch's batch norm learns from each time."""
        assert self.model.matching is not None
        assert self.outputs.map_BKHW is not None
        return self.model.matching.score(self.outputs.map_BKHW, self.outputs.map_BKHW)

    def episode(self, raw_BD: Tensor) -> tuple[Tensor, Tensor]:
        """Split the new images' embeddings into supports [N, S, D] and queries [N, Q, D] (METHOD.md 4)."""
        is_new_B = ~self.is_replay_B
        return split_episode(raw_BD[is_new_B], label_B=self.label_B[is_new_B], queries=self.config.episode.queries)
