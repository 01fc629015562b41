"""May the model of a stage be put to use? The rule, as a decision that says its reasons.

Shapes: T stages.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cluster.errors import InputError


@dataclass(frozen=True, kw_only=True, slots=True)
class EarlierDataset:
    """What a new model does on one earlier dataset; mAP, fractions of 1."""

    name: str
    new_old: float
    """New queries against the gallery as stored."""
    old_old: float
    """The model of that stage with its own gallery: what was had before."""
    new_new: float
    """The new model with the gallery re-extracted."""
    is_compatible: bool
    is_remembered: bool

    @property
    def gain(self) -> float:
        """Of the new queries against the stored gallery; negative is a loss."""
        return self.new_old - self.old_old

    @property
    def forgetting(self) -> float:
        """What the model has lost even where the gallery is re-extracted; negative is a gain."""
        return self.old_old - self.new_new


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """Whether a model may take over the queries."""

    stage: int
    """Counted from 0."""
    name: str
    datasets: tuple[EarlierDataset, ...]
    """All before the stage's own."""
    reasons: tuple[str, ...]
    """Why it does not pass, one sentence for each dataset and criterion that fails; empty where it passes."""

    @property
    def is_compatible(self) -> bool:
        """Whether its queries work against every stored gallery."""
        return all(dataset.is_compatible for dataset in self.datasets)

    @property
    def is_remembering(self) -> bool:
        """Whether it has kept what was learned of every earlier dataset."""
        return all(dataset.is_remembered for dataset in self.datasets)

    @property
    def passes(self) -> bool:
        """Both; the first stage has nothing to break, and passes."""
        return self.is_compatible and self.is_remembering


def judge(
    table_TT: NDArray[np.float64],
    own_TT: NDArray[np.float64],
    stage: int,
    *,
    names: Sequence[str],
    max_forgetting: float,
    tolerance: float = 0.0,
) -> Verdict:
    """Decide whether the model of a stage passes.

    The rule, as a loop::

        for j in range(stage):
            is_compatible[j] = table[stage, j] - table[j, j] > -tolerance
            is_remembered[j] = table[j, j] - own[stage, j] <= max_forgetting  # table[j, j] is own[j, j]
        passes = all(is_compatible) and all(is_remembered)

    With tolerance 0 the first line is the criterion of BCT (Shen et al., CVPR 2020): new queries against the old
    gallery beat the old model with itself; an equal score does not.

    Args:
        table_TT: `SequenceResult.table.mAP`.
        own_TT: `SequenceResult.own.mAP`.
        stage: That of the model, from 0.
        names: Of the T stages.
        max_forgetting: Loss of mAP that is allowed where galleries are re-extracted, 0 to 1.
        tolerance: Loss of mAP that is not quite allowed against stored galleries, 0 to 1.

    Raises:
        InputError: If a number is out of range, or a score that the rule needs is not known.
    """
    if not 0 <= stage < len(names) or table_TT.shape != own_TT.shape or table_TT.shape != (len(names), len(names)):
        raise InputError(
            f"stage {stage} of {len(names)} needs tables [{len(names)}, {len(names)}], got {list(table_TT.shape)} "
            f"and {list(own_TT.shape)}"
        )
    if not (0 <= tolerance <= 1 and 0 <= max_forgetting <= 1):
        raise InputError(f"tolerance and max_forgetting must be in 0 to 1, got {tolerance} and {max_forgetting}")
    datasets, reasons = [], []
    for j in range(stage):
        new_old, old_old, new_new = float(table_TT[stage, j]), float(table_TT[j, j]), float(own_TT[stage, j])
        if np.isnan([new_old, old_old, new_new]).any():
            raise InputError(f"scores of model {names[stage]} on {names[j]} are not known; evaluate its stage first")
        dataset = EarlierDataset(
            name=names[j],
            new_old=new_old,
            old_old=old_old,
            new_new=new_new,
            is_compatible=new_old - old_old > -tolerance,
            is_remembered=old_old - new_new <= max_forgetting,
        )
        datasets.append(dataset)
        reasons += _reasons(dataset, tolerance, max_forgetting)
    return Verdict(stage=stage, name=names[stage], datasets=tuple(datasets), reasons=tuple(reasons))


def _reasons(dataset: EarlierDataset, tolerance: float, max_forgetting: float) -> list[str]:
    """Say what fails; scores in percent, differences in percent points."""
    reasons = []
    if not dataset.is_compatible:
        wanted = f"must lose less than {100 * tolerance:.2f} points" if tolerance else "must be higher"
        loss = f"{-100 * dataset.gain:.2f} points less than" if dataset.gain else "no more than"
        reasons.append(
            f"{dataset.name}: new queries reach {100 * dataset.new_old:.2f} % mAP in the stored gallery, {loss} "
            f"the {100 * dataset.old_old:.2f} % of the model that stored it; they {wanted}"
        )
    if not dataset.is_remembered:
        reasons.append(
            f"{dataset.name}: even with the gallery re-extracted, the model reaches {100 * dataset.new_new:.2f} % "
            f"mAP, {100 * dataset.forgetting:.2f} points less than the {100 * dataset.old_old:.2f} % right after "
            f"learning; at most {100 * max_forgetting:.2f} points are allowed"
        )
    return reasons
