"""Numbers of draws in, crops of two frames out, and how they are to be augmented. Knows nothing of Ray.

A run is one long list of draws, numbered from 0. Which clip a draw uses, which frames, and how the crops are changed
depend on the seed and that number alone: any process gives the same sample, and a resumed run goes on where it was.

A sample has: draw int64; video int64; seconds float64; x uint8 [n, 3, H, W]; y uint8 [m, 3, H, W]; change_x float32
[n, K]; change_y float32 [m, K]; identity_x int64 [n]; identity_y int64 [m]; followed_x int64 [n]; followed_y int64 [m].
The pixels are changed where they are trained on, see `pretrain.data.augment`.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cluster.errors import InputError
from evaluation.datasets.images import decode_image
from pretrain.association.assignment import LOST
from pretrain.association.tracks import follow
from pretrain.data.augment import draw_changes, resize
from pretrain.data.clip_table import ClipTable
from pretrain.data.config import SampleConfig
from pretrain.data.sampler import Share, epoch_order
from pretrain.data.truth import NOBODY, TrueFrame, assign_identities, boxes_of, has_boxes, read_truth, truth_of_video
from pretrain.ingest.clips import ClipReader

LOOKED_AT = 8
"""Clips, spread over all, that are tried before a run begins."""
COLUMNS = ("x", "y", "change_x", "change_y", "identity_x", "identity_y", "followed_x", "followed_y")


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
        InputError: If a stored crop is damaged.
    """
    images = [decode_image(crop["jpeg"]) for crop in frame["crops"]]
    if any(image is None for image in images):
        raise InputError(f"a crop of frame {frame['frame_index']} is damaged; prepare the clips again")
    return [image for image in images if image is not None]


def make_sample(
    clip: dict[str, Any], config: SampleConfig, *, draw: int, truth: dict[int, TrueFrame] | None = None
) -> dict[str, Any]:
    """Make one training sample.

    Args:
        clip: A row of the clips schema.
        config: Intervals, augmentation, input size, seed.
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
    height, width = config.height, config.width
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
    if config.follow == "always" or (config.follow != "never" and all(map(has_boxes, clip["frames"]))):
        followed = follow([boxes_of(frame) for frame in clip["frames"][first : second + 1]])
    sample["followed_x"], sample["followed_y"] = followed
    return sample


class LoadSamples:
    """Turns positions of a process's draws into samples: reads the clip, draws two frames, decodes their crops."""

    def __init__(self, table: ClipTable, config: SampleConfig, share: Share) -> None:
        self.table = table
        self.share = share
        self.config = config
        self.reader = ClipReader()
        self.truth = read_truth(self.config.truth) if self.config.truth else None
        self.epoch, self.order = -1, np.zeros(0, dtype=np.int64)

    def __call__(self, positions: NDArray[np.int64]) -> dict[str, Any]:
        """Make the samples at some positions of the share."""
        samples: list[dict[str, Any]] = []
        video: list[int] = []
        draws = self.share.draws(positions)
        for draw in draws.tolist():
            clip = self._clip(draw)
            stored = self.reader.read(self.table.files[self.table.file[clip]], int(self.table.row_group[clip]))
            truth = None if self.truth is None else truth_of_video(self.truth, stored["video_id"])
            samples.append(make_sample(stored, self.config, draw=draw, truth=truth))
            video.append(int(self.table.video[clip]))
        return {
            "draw": draws,
            "video": np.array(video),
            "seconds": np.array([sample["seconds"] for sample in samples]),
        } | {name: _ragged([sample[name] for sample in samples]) for name in COLUMNS}

    def _clip(self, draw: int) -> int:
        per_epoch = len(self.table.video) * self.config.pairs_per_clip
        epoch = draw // per_epoch
        if epoch != self.epoch:
            self.order = epoch_order(
                self.table.video, seed=self.config.seed, epoch=epoch, pairs_per_clip=self.config.pairs_per_clip
            )
            self.epoch = epoch
        return int(self.order[draw % per_epoch])


def _ragged(parts: list[NDArray[Any]]) -> NDArray[np.object_]:
    column = np.empty(len(parts), dtype=object)
    column[:] = parts
    return column


def check_clips(table: ClipTable, config: SampleConfig) -> None:
    """Make a sample of some clips, so that what clips lack is said before any worker starts.

    Raises:
        InputError: If people are to be followed and boxes are not known, a video has no truth, or a crop is damaged.
    """
    reader = ClipReader()
    truth = read_truth(config.truth) if config.truth else None
    for clip in np.linspace(0, len(table) - 1, min(LOOKED_AT, len(table))).astype(int).tolist():
        stored = reader.read(table.files[table.file[clip]], int(table.row_group[clip]))
        known = None if truth is None else truth_of_video(truth, stored["video_id"])
        make_sample(stored, config, draw=0, truth=known)
