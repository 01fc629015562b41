"""The reliability-guided loss for a notebook or another training: embeddings in, a scalar out.

Shape legend: N, M crops of all first and all second frames; D embedding size; F frame pairs.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from cluster.errors import InputError
from pretrain.data.batch import Batch
from pretrain.losses.config import LossConfig
from pretrain.losses.isr import batch_loss


def isr_loss(
    x: Tensor,
    y: Tensor,
    x_counts: Sequence[int],
    y_counts: Sequence[int],
    video: Sequence[int] | Tensor,
    *,
    judged: tuple[Tensor, Tensor] | None = None,
    reliability: str = "margin",
    followed: tuple[Tensor, Tensor] | None = None,
    seconds: Tensor | None = None,
    **options: Any,
) -> Tensor:
    """Match the crops of frame pairs, and contrast each match with other people, weighted by its reliability (ISR).

    >>> import torch, pretrain
    >>> x = torch.randn(5, 16, requires_grad=True)  # 3 crops in the first frame of pair 0, 2 in that of pair 1
    >>> y = torch.randn(6, 16, requires_grad=True)  # and 4 and 2 in their second frames
    >>> loss = pretrain.isr_loss(x, y, [3, 2], [4, 2], video=[0, 1])
    >>> loss.backward()
    >>> x.grad.shape
    torch.Size([5, 16])

    The definition, as a loop; `match` is `pretrain.match`, candidates are the other people of a frame pair and those of
    other videos, and a reliability is 1 where nothing else is known (`pretrain.association.reliability`)::

        pairs = [(i, j) for f in range(F) for i, j in match(judged_x[f] @ judged_y[f].T)]
        for i, j in pairs:
            forward = log_softmax([cos(x[i], y[g]) / temperature for g in candidates of i])[j]
            backward = log_softmax([cos(x[g], y[j]) / temperature for g in candidates of j])[i]
            loss[i, j] = -(forward + backward) / 2
        return sum(reliability ** beta * loss) / sum(reliability ** beta)

    With more than one process of `torch.distributed`, each returns its share: their sum is the loss of the whole batch.

    Args:
        x: Embeddings of the first frames' crops, pair after pair, [N, D], any norm.
        y: Those of the second frames, [M, D].
        x_counts: Crops of each pair's first frame; sums to N.
        y_counts: Crops of each pair's second frame; sums to M.
        video: [F] number of each pair's video: people of one video may be the same person, and are no negatives.
        judged: [N, D] and [M, D], embeddings that decide who is matched, such as those of crops that are not augmented;
            `x` and `y` unless given.
        reliability: How far a match is trusted. The default asks by how much it leads over the next best, from the
            embeddings alone; `track`, the default of training, needs `followed`.
        followed: int64 [N] and [M], see `pretrain.association.reliability.track_reliability`.
        seconds: float64 [F], when each pair was seen in its video; needed with `same_video_gap_seconds` alone.
        options: Further fields of `pretrain.losses.config.LossConfig`, such as ``temperature=0.1`` or ``beta=1.0``.

    Returns:
        Scalar, nats; 0 with gradient where nobody is matched.

    Raises:
        ValueError: If shapes disagree, an embedding is not finite, or an option cannot be used.
    """
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise InputError(f"embeddings must be [N, D] and [M, D], got {list(x.shape)} and {list(y.shape)}")
    if not len(x_counts) == len(y_counts) == len(video):
        raise InputError(f"{len(video)} videos need as many counts, got {len(x_counts)} and {len(y_counts)}")
    if [sum(x_counts), sum(y_counts)] != [len(x), len(y)]:
        raise InputError(f"counts sum to {sum(x_counts)} and {sum(y_counts)}, embeddings are {len(x)} and {len(y)}")
    if reliability == "oracle":
        raise InputError("reliability oracle is for audits, which know who is who; give another one")
    config = LossConfig(reliability=reliability, **options)
    nothing = torch.zeros(0, 3, 1, 1, dtype=torch.uint8)
    batch = Batch(
        images=nothing,
        clean=nothing,
        x_counts=x_counts,
        y_counts=y_counts,
        video=torch.as_tensor(video),
        seconds=seconds,
        followed=followed,
    )
    embedding = functional.normalize(torch.cat([x, y]), dim=1)
    judges = embedding if judged is None else functional.normalize(torch.cat(judged), dim=1)
    return batch_loss(embedding, judges, batch, config, beta=config.beta).loss
