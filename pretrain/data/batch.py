"""Samples to batches: what a learner's step takes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pretrain.association.assignment import LOST
from pretrain.data.augment import apply_changes


@dataclass(frozen=True, slots=True)
class Batch:
    """Frame pairs of this process."""

    images: Tensor
    """uint8 [N + M, 3, H, W]: the augmented crops of all first frames, then those of all second frames."""
    clean: Tensor
    """uint8 [N + M, 3, H, W]: the same crops without augmentation."""
    x_counts: Sequence[int]
    """Crops of each first frame; sums to N."""
    y_counts: Sequence[int]
    """Crops of each second frame; sums to M."""
    video: Tensor
    """int64 [F], number of each pair's video."""
    seconds: Tensor | None = None
    """float64 [F], time in its video of each pair's first frame; needed by `same_video_gap_seconds` alone."""
    identities: Tensor | None = None
    """int64 [N + M], who each crop truly shows, negative where that is unknown; to watch, and for `oracle`."""
    followed: tuple[Tensor, Tensor] | None = None
    """int64 [N] and [M], see `pretrain.association.reliability.track_reliability`; for those that need boxes."""


def collate(columns: Mapping[str, Sequence[Any] | NDArray[Any]]) -> dict[str, torch.Tensor]:
    """Join samples to a batch: what `pretrain.data.feed.to_batch` takes, first frames' crops before second frames'."""
    joined = {name: np.array(columns[name]) for name in ("draw", "video", "seconds")}
    for name in ("x", "y"):
        joined[f"{name}_counts"] = np.array([len(part) for part in columns[name]])
    prefixes = {"images": "", "changes": "change_", "identities": "identity_", "followed": "followed_"}
    for name, prefix in prefixes.items():
        joined[name] = np.concatenate([*columns[f"{prefix}x"], *columns[f"{prefix}y"]])
    return {name: torch.from_numpy(column) for name, column in joined.items()}


def to_batch(columns: dict[str, Tensor], device: torch.device) -> Batch:
    """Augment the crops of a batch on the device that trains.

    Args:
        columns: ``images`` uint8 [N + M, 3, H, W], all first frames' crops and then all second frames';
            ``changes`` float32 [N + M, K]; ``identities`` and ``followed`` int64 [N + M]; ``x_counts``, ``y_counts``,
            ``video`` and ``seconds``, [F] each.
        device: Where the encoder is.
    """
    clean = columns["images"].to(device, non_blocking=True)
    sizes = [int(columns[name].sum()) for name in ("x_counts", "y_counts")]
    followed_x, followed_y = columns["followed"].split(sizes)
    return Batch(
        images=apply_changes(clean, columns["changes"]),
        clean=clean,
        x_counts=columns["x_counts"].tolist(),
        y_counts=columns["y_counts"].tolist(),
        video=columns["video"],
        seconds=columns["seconds"],
        identities=columns["identities"],
        followed=(
            _in_batch(followed_x, columns["x_counts"], columns["y_counts"]),
            _in_batch(followed_y, columns["y_counts"], columns["x_counts"]),
        ),
    )


def _in_batch(followed: Tensor, counts: Tensor, other_counts: Tensor) -> Tensor:
    """Turn positions in the other frame of a pair into positions among the crops of all other frames."""
    begins = (other_counts.cumsum(0) - other_counts).repeat_interleave(counts)
    return torch.where(followed == LOST, followed, followed + begins)
