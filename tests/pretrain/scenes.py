"""Batches made by hand: the crops and the videos of each rank's frame pairs."""

from collections.abc import Sequence

import torch

from pretrain.association.assignment import LOST
from pretrain.data.batch import Batch

Scene = Sequence[tuple[Sequence[int], Sequence[int], Sequence[int]]]
"""What each rank has: crops of the first frames, crops of the second frames, and the video of each frame pair."""


def batch_of(
    scene: Scene, ranks: Sequence[int], images: torch.Tensor | None = None, clean: torch.Tensor | None = None
) -> Batch:
    """The frame pairs of some ranks as one batch; without pixels where only embeddings matter.

    The pairs of a rank were seen every seven seconds, those of the next rank a hundred seconds later. Boxes lead from
    the first crop of a frame to the first of the other, and so on; who is left over is lost.
    """
    x_counts, y_counts, video = ([value for rank in ranks for value in scene[rank][part]] for part in range(3))
    nothing = torch.zeros(0)
    return Batch(
        images=nothing if images is None else images,
        clean=nothing if clean is None else clean,
        x_counts=x_counts,
        y_counts=y_counts,
        video=torch.tensor(video),
        seconds=torch.tensor(
            [100.0 * rank + 7 * turn for rank in ranks for turn in range(len(scene[rank][2]))], dtype=torch.float64
        ),
        followed=(places(x_counts, y_counts), places(y_counts, x_counts)),
    )


def places(counts: Sequence[int], other_counts: Sequence[int]) -> torch.Tensor:
    """Where the boxes of each crop lead, among the crops of all other frames."""
    begins = [sum(other_counts[:turn]) for turn in range(len(counts))]
    return torch.tensor(
        [
            begin + place if place < other else LOST
            for begin, count, other in zip(begins, counts, other_counts, strict=True)
            for place in range(count)
        ],
        dtype=torch.int64,
    )
