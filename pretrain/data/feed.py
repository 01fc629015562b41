"""From clips to training samples: the order of clips, the two frames of a pair, their crops. Knows nothing of Ray.

A run is one long list of draws, numbered from 0. Which clip a draw uses, which frames, and how the crops are changed
depend on the seed and that number alone: any process gives the same sample, and a resumed run goes on where it was.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evaluation.embedding.images import decode_image
from pretrain.association.assignment import LOST
from pretrain.association.tracks import follow
from pretrain.config import PretrainConfig
from pretrain.data.augment import apply_changes, draw_changes, resize
from pretrain.data.truth import NOBODY, TrueFrame, assign_identities, boxes_of, has_boxes
from pretrain.losses.isr import Batch


def epoch_order(video_of_clip: NDArray[np.int64], *, seed: int, epoch: int, pairs_per_clip: int) -> NDArray[np.int64]:
    """Order the clips of one epoch at random, with each video spread evenly over it.

    So neighbours in the order, which become a batch, come from different videos as far as there are enough.

    Args:
        video_of_clip: [C] number of the video of each clip.
        seed: Seed of the run.
        epoch: From 0.
        pairs_per_clip: How often each clip appears.

    Returns:
        int64 [C * pairs_per_clip] positions of clips.
    """
    rng = np.random.default_rng((seed, epoch, 0x0EDE))
    clips = np.tile(np.arange(len(video_of_clip)), pairs_per_clip)
    shuffled = rng.permutation(clips)
    place = np.empty(len(shuffled))
    video = video_of_clip[shuffled]
    for number in np.unique(video):
        members = np.flatnonzero(video == number)
        place[members] = (np.arange(len(members)) + rng.random(len(members))) / len(members)
    return shuffled[np.argsort(place, kind="stable")]


def draw_interval(
    times: NDArray[np.float64], rng: np.random.Generator, *, shortest: float, longest: float
) -> tuple[int, int]:
    """Choose two frames of a clip whose distance in time is drawn uniformly from a range.

    An interval is drawn first; among all pairs of frames in the range, the nearest to it are equally likely. If no
    pair lies in the range, the pair nearest to the range is taken: a short clip still takes part.

    Args:
        times: [T >= 2] seconds, increasing.
        rng: Source of randomness.
        shortest: Least distance in seconds.
        longest: Greatest distance in seconds.

    Returns:
        Positions of the earlier and the later frame.
    """
    first, second = np.triu_indices(len(times), k=1)
    distance = times[second] - times[first]
    wanted = rng.uniform(shortest, longest)
    outside = np.maximum(0.0, np.maximum(shortest - distance, distance - longest))
    # Whole multiples of the frame distance: equal up to rounding.
    cost = np.round(np.where(outside > 1e-9, 1e6 * (1 + outside), np.abs(distance - wanted)), 6)
    best = np.flatnonzero(cost == cost.min())
    choice = int(rng.choice(best))
    return int(first[choice]), int(second[choice])


def frame_times(clip: dict[str, Any]) -> NDArray[np.float64]:
    """Return the times of a clip's frames in seconds."""
    return np.array([frame["time_seconds"] for frame in clip["frames"]], dtype=np.float64)


def crop_images(frame: dict[str, Any]) -> list[NDArray[np.uint8]]:
    """Decode the crops of a frame, RGB uint8 [h, w, 3].

    Raises:
        ValueError: If a stored crop is damaged.
    """
    images = [decode_image(crop["jpeg"]) for crop in frame["crops"]]
    if any(image is None for image in images):
        raise ValueError(f"a crop of frame {frame['frame_index']} is damaged; prepare the clips again")
    return [image for image in images if image is not None]


def make_sample(
    clip: dict[str, Any], config: PretrainConfig, *, draw: int, truth: dict[int, TrueFrame] | None = None
) -> dict[str, Any]:
    """Make one training sample.

    Args:
        clip: A row of the clips schema.
        config: The run: intervals, augmentation, input size, seed.
        draw: Number of the draw in the run; the sample depends on it and the seed alone.
        truth: Who really is in the frames of the clip's video, if that is known.

    Returns:
        ``x`` and ``y``: uint8 [n, 3, H, W] and [m, 3, H, W], the crops of the two frames at the input size;
        ``change_x`` and ``change_y``: float32 [n, K] and [m, K], how each crop is to be augmented;
        ``identity_x`` and ``identity_y``: int64 [n] and [m], who a crop truly shows, `NOBODY` where that is unknown;
        ``followed_x`` and ``followed_y``: int64 [n] and [m], the position of the same person in the other frame as far
        as boxes tell; all `LOST` unless the loss wants to know;
        ``seconds``: the earlier frame's time in its video.
    """
    height, width = config.model.height, config.model.width
    rng = np.random.default_rng((config.seed, draw))
    first, second = draw_interval(
        frame_times(clip), rng, shortest=config.pairs.min_interval_seconds, longest=config.pairs.max_interval_seconds
    )
    if config.pairs.partner == "itself":
        second = first
    sample: dict[str, Any] = {"seconds": float(clip["frames"][first]["time_seconds"])}
    for name, frame in (("x", clip["frames"][first]), ("y", clip["frames"][second])):
        sample[name] = resize(crop_images(frame), height, width).numpy()
        sample[f"change_{name}"] = draw_changes(config.pairs, len(sample[name]), height=height, width=width, rng=rng)
        sample[f"identity_{name}"] = np.full(len(sample[name]), NOBODY)
        if truth is not None:
            sample[f"identity_{name}"] = assign_identities(boxes_of(frame), truth.get(frame["frame_index"]))
    followed = tuple(np.full(len(sample[name]), LOST) for name in "xy")
    if config.loss.reliability == "track" and (config.loss.weighs or all(map(has_boxes, clip["frames"]))):
        followed = follow([boxes_of(frame) for frame in clip["frames"][first : second + 1]])
    sample["followed_x"], sample["followed_y"] = followed
    return sample


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
