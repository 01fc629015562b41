"""What is known of matched pairs: what a reliability is a function of.

Shape legend: N, M crops of all first and all second frames; D embedding size; P matched pairs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pretrain.association.assignment import Matches


@dataclass(frozen=True, kw_only=True, slots=True)
class MatchedPairs:
    """The matched pairs of some frame pairs; nothing here has a gradient.

    The last fields are there if the reliability says that it needs them (`pretrain.association.table`), and None
    elsewhere.
    """

    x_ND: Tensor
    """Unit-norm embeddings that the crops were matched by: of the first frames' crops, frame pair after frame pair."""
    y_MD: Tensor
    """Those of the second frames."""
    x_counts: Sequence[int]
    """Crops of each first frame; sums to N."""
    y_counts: Sequence[int]
    """Crops of each second frame; sums to M."""
    matches: Matches
    """Who was matched; P pairs."""
    temperature: float
    """For those that divide similarities by one; unitless, > 0."""
    followed: tuple[Tensor, Tensor] | None = None
    """int64 [N] and [M], where boxes lead; see `pretrain.association.reliability.track_reliability`. Need ``boxes``."""
    is_right_P: Tensor | None = None
    """bool [P], whether both crops truly show one person; False where that is not known. Need ``truth``."""
    log_probability_2P: tuple[Tensor, Tensor] | None = None
    """[P] each: of both directions, that a crop's partner is its own, in the loss's softmax. Need ``probabilities``."""

    @property
    def x_index(self) -> Tensor:
        """int64, the first frames' crops of the pairs, on the device of the embeddings."""
        return torch.from_numpy(self.matches.x_index).to(self.x_ND.device, non_blocking=True)

    @property
    def y_index(self) -> Tensor:
        """int64, their partners."""
        return torch.from_numpy(self.matches.y_index).to(self.x_ND.device, non_blocking=True)

    @property
    def similarity(self) -> Tensor:
        """Cosine of each pair."""
        return (self.x_ND[self.x_index] * self.y_MD[self.y_index]).sum(dim=1)

    def by_frames(self, estimate: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Tensor:
        """Estimate the pairs of each frame pair from all cosines between its crops, and join the results.

        Args:
            estimate: A function of the cosines [n, m] of a frame pair, and the rows and columns that are matched.
        """
        x_index, y_index = self.x_index, self.y_index
        parts: list[Tensor] = []
        x_start = y_start = 0
        for pair, (x_count, y_count) in enumerate(zip(self.x_counts, self.y_counts, strict=True)):
            members = torch.from_numpy(self.matches.pair == pair)
            similarity_NM = self.x_ND[x_start : x_start + x_count] @ self.y_MD[y_start : y_start + y_count].T
            parts.append(estimate(similarity_NM, x_index[members] - x_start, y_index[members] - y_start))
            x_start, y_start = x_start + x_count, y_start + y_count
        return torch.cat(parts) if parts else self.x_ND.new_zeros(0)
