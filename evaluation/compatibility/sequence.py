"""The scores of a sequence of models, as values. All scores are fractions of 1.

Models and datasets are numbered alike, from 0: model k is what stage k made when it learned dataset k.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetScores:
    """Scores of the queries of one dataset."""

    name: str
    num_queries: int
    """Queries that count: all with a match, unless the protocol says otherwise."""
    mAP: float
    rank1: float


@dataclass(frozen=True, kw_only=True, slots=True)
class JointScores:
    """Scores of the queries of several datasets, each against the galleries of all of them."""

    datasets: tuple[DatasetScores, ...]
    """By the dataset of the queries; the gallery is the joint one."""

    @property
    def mAP(self) -> float:  # noqa: N802
        """Mean over all queries ("micro"): large datasets count more."""
        return self._micro("mAP")

    @property
    def rank1(self) -> float:
        """Mean over all queries."""
        return self._micro("rank1")

    @property
    def macro_mAP(self) -> float:  # noqa: N802
        """Mean over the datasets of their means: all datasets count alike."""
        return float(np.mean([dataset.mAP for dataset in self.datasets]))

    @property
    def macro_rank1(self) -> float:
        """Mean over the datasets of their means."""
        return float(np.mean([dataset.rank1 for dataset in self.datasets]))

    def _micro(self, score: str) -> float:
        weights = [dataset.num_queries for dataset in self.datasets]
        return float(np.average([getattr(dataset, score) for dataset in self.datasets], weights=weights))


@dataclass(frozen=True, kw_only=True, slots=True)
class StageScores:
    """What users see after stage t, and what it is to be compared with; queries of the datasets 0 to t."""

    stored: JointScores
    """Queries by model t, the gallery of each dataset k as model k stored it: nothing is re-extracted."""
    re_extracted: JointScores
    """Queries and galleries by model t: what extracting everything anew would give."""
    no_update: JointScores
    """Queries and gallery of dataset k by model k: no update at all."""
    first_model: JointScores
    """Everything by model 0: no learning at all."""

    @property
    def number(self) -> int:
        """T, from 0."""
        return len(self.stored.datasets) - 1

    @property
    def name(self) -> str:
        """That of the dataset which the stage learned."""
        return self.stored.datasets[-1].name


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ScoreTable:
    """Scores of each model on each dataset with the gallery of that dataset alone; NaN is not known."""

    mAP: NDArray[np.float64]
    """[T, T], by model of the queries and by dataset."""
    rank1: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class UnseenScores:
    """Scores of one model on datasets that no stage learned, each with its own gallery."""

    model: str
    datasets: tuple[DatasetScores, ...]

    @property
    def mAP(self) -> float:  # noqa: N802
        """Mean over the datasets."""
        return float(np.mean([dataset.mAP for dataset in self.datasets]))

    @property
    def rank1(self) -> float:
        """Mean over the datasets."""
        return float(np.mean([dataset.rank1 for dataset in self.datasets]))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SequenceResult:
    """What `evaluate_stages` found."""

    names: tuple[str, ...]
    """Of the T stages, which are those of their datasets."""
    stages: tuple[StageScores, ...]
    """All, or the last one alone."""
    table: ScoreTable
    """Entry [i, j]: queries of dataset j by model i, gallery of dataset j as model j stored it."""
    own: ScoreTable
    """Entry [i, j], j <= i: queries and gallery of dataset j by model i, what the model is able to do."""
    unseen: tuple[UnseenScores, ...] = ()
    """By model; empty unless `evaluate_unseen` was called and its result put here."""
