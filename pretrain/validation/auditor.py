"""How good are the pairs that training would see? Mined matches against true identities."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata

from cluster.errors import InputError
from evaluation.embedding.embedder import Embedder
from pretrain.association.assignment import Matches, match
from pretrain.association.pairs import MatchedPairs
from pretrain.association.table import RELIABILITIES, require_given
from pretrain.association.tracks import follow
from pretrain.data.frame_pairs import crop_images, frame_times
from pretrain.data.truth import NOBODY, TrueFrame, assign_identities, boxes_of, truth_of_video
from pretrain.ingest.clips import ClipReader, list_clips

GIVEN = ("boxes", "truth")
"""What an audit has of what a reliability may need; see `pretrain.association.table`."""


@dataclass(frozen=True, slots=True)
class AuditedPair:
    """One mined pair."""

    first: NDArray[np.uint8]
    """Crop of the earlier frame, RGB uint8 [h, w, 3]."""
    second: NDArray[np.uint8]
    """Crop of the later frame."""
    reliability: float
    """In (0, 1]."""
    is_right: bool
    """Whether both belong to the same true identity."""


@dataclass(frozen=True, slots=True)
class AuditResult:
    """What an audit found."""

    pairs: int
    """Mined pairs."""
    precision: float
    """Share of mined pairs whose crops both belong to the same true identity, in [0, 1]."""
    recall: float
    """Right pairs over people who truly are in both frames, detected or not, in [0, 1]."""
    recall_of_crops: float
    """Right pairs over people with a crop in both frames, in [0, 1]: the matching alone, without the detector."""
    reliability_auroc: float | None
    """Probability that a right pair is more reliable than a wrong one; None if all are right or all wrong."""
    crops_without_truth: float
    """Share of crops in mined pairs that belong to no true box, in [0, 1]: false detections."""
    frame_pairs: int
    """Pairs of frames that were compared."""
    interval_seconds: float
    """Mean time between the two frames."""


def auroc(score: NDArray[np.float64], is_positive: NDArray[np.bool_]) -> float | None:
    """Probability that a positive scores above a negative, ties counting half (Mann and Whitney, 1947).

    Returns:
        In [0, 1]; None if there are no positives or no negatives.
    """
    positives, negatives = int(is_positive.sum()), int((~is_positive).sum())
    if not positives or not negatives:
        return None
    ranks = rankdata(score)
    return float((ranks[is_positive].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def frame_pairs(times: NDArray[np.float64], interval: float) -> Iterator[tuple[int, int]]:
    """Pair each frame with the later one nearest to an interval away, if it is within a quarter of the interval."""
    for first in range(len(times)):
        distance = np.abs(times - times[first] - interval)
        distance[: first + 1] = np.inf
        second = int(distance.argmin())
        if distance[second] <= 0.25 * interval + 1e-9:
            yield first, second


EXTREMES = 24
"""Pairs of each end whose pictures are kept: all of an hour of video would be gigabytes."""


class Auditor:
    """Collects mined pairs clip by clip."""

    def __init__(
        self,
        embedder: Embedder,
        truth: dict[str, dict[int, TrueFrame]],
        *,
        interval: float,
        reliability: str,
        reliability_temperature: float,
    ) -> None:
        """Set up.

        Args:
            embedder: Does the matching.
            truth: From `read_truth`.
            interval: Wanted time between the two frames, seconds.
            reliability: The estimate whose AUROC is measured.
            reliability_temperature: Its temperature, where it has one.

        Raises:
            InputError: If the interval is not positive, or the reliability needs the probabilities of a loss.
        """
        if interval <= 0:
            raise InputError(f"--interval must be > 0 seconds, got {interval}")
        require_given(reliability, GIVEN, "--reliability")
        self.embedder, self.truth = embedder, truth
        self.interval, self.reliability, self.reliability_temperature = interval, reliability, reliability_temperature
        self._right: list[bool] = []
        self._reliability: list[float] = []
        self._best: list[AuditedPair] = []
        self._worst: list[AuditedPair] = []
        self._intervals: list[float] = []
        self._visible = self._cropped = self._strangers = 0

    def add(self, clip: dict[str, Any]) -> None:
        """Match the crops of every suitable pair of a clip's frames, and compare with the truth."""
        frames, times = clip["frames"], frame_times(clip)
        chosen = list(frame_pairs(times, self.interval))
        if not chosen:
            return
        truth = truth_of_video(self.truth, clip["video_id"])
        images = [crop_images(frame) for frame in frames]
        embedding = self.embedder.embed([image for members in images for image in members])
        bounds = np.cumsum([0, *map(len, images)])
        identities = [assign_identities(boxes_of(frame), truth.get(frame["frame_index"])) for frame in frames]
        for first, second in chosen:
            x, y = (embedding[bounds[place] : bounds[place + 1]] for place in (first, second))
            row, column = match(x @ y.T)
            one, two = identities[first], identities[second]
            right = (one[row] == two[column]) & (one[row] != NOBODY)
            trust = self._trust(x, y, Matches(row, column, np.zeros_like(row)), frames[first : second + 1], right)
            self._intervals.append(float(times[second] - times[first]))
            seen = [_known(truth.get(frames[position]["frame_index"])) for position in (first, second)]
            self._visible += len(seen[0] & seen[1])
            self._cropped += len((set(one.tolist()) & set(two.tolist())) - {NOBODY})
            self._strangers += int((one[row] == NOBODY).sum() + (two[column] == NOBODY).sum())
            for i, j, value, is_right in zip(*(part.tolist() for part in (row, column, trust, right)), strict=True):
                self._note(AuditedPair(images[first][i], images[second][j], value, is_right))

    def _note(self, pair: AuditedPair) -> None:
        """Count a pair; keep its pictures only while it may be among the extremes."""
        self._right.append(pair.is_right)
        self._reliability.append(pair.reliability)
        self._best.append(pair)
        self._worst.insert(0, pair)  # of equal ones, the latest
        if len(self._best) > 4 * EXTREMES:
            self._best = sorted(self._best, key=lambda one: -one.reliability)[:EXTREMES]
            self._worst = sorted(self._worst, key=lambda one: one.reliability)[:EXTREMES]

    def add_all(self, clips: str, *, on_progress: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Add every clip of a clips directory; `on_progress` gets the number of clips done and of all."""
        addresses, reader = list_clips(clips), ClipReader()
        for done, address in enumerate(addresses, 1):
            self.add(reader.read(address.location, address.row_group))
            on_progress(done, len(addresses))

    def _trust(
        self,
        x_ND: NDArray[np.float32],
        y_MD: NDArray[np.float32],
        matches: Matches,
        frames: Sequence[dict[str, Any]],
        is_right_P: NDArray[np.bool_],
    ) -> NDArray[np.float64]:
        """Estimate the reliability of the pairs of the first and the last of some frames."""
        followed = None
        if "boxes" in RELIABILITIES.needs(self.reliability):
            one, two = (torch.from_numpy(value) for value in follow([boxes_of(frame) for frame in frames]))
            followed = (one, two)
        pairs = MatchedPairs(
            x_ND=torch.from_numpy(x_ND),
            y_MD=torch.from_numpy(y_MD),
            x_counts=[len(x_ND)],
            y_counts=[len(y_MD)],
            matches=matches,
            temperature=self.reliability_temperature,
            followed=followed,
            is_right_P=torch.from_numpy(is_right_P),
        )
        return RELIABILITIES.load(self.reliability)(pairs).double().numpy()

    def result(self) -> AuditResult:
        """Add up.

        Raises:
            InputError: If no two frames of a clip were an interval apart.
        """
        if not self._right:
            raise InputError(
                f"no two frames of any clip are {self.interval:g} s apart (within a quarter); "
                "choose another --interval, or prepare with a smaller --stride or longer --clip-seconds"
            )
        right = np.array(self._right)
        return AuditResult(
            pairs=len(right),
            precision=float(right.mean()),
            recall=float(right.sum() / max(1, self._visible)),
            recall_of_crops=float(right.sum() / max(1, self._cropped)),
            reliability_auroc=auroc(np.array(self._reliability), right),
            crops_without_truth=self._strangers / (2 * len(right)),
            frame_pairs=len(self._intervals),
            interval_seconds=float(np.mean(self._intervals)),
        )

    def extremes(self, count: int) -> tuple[Sequence[AuditedPair], Sequence[AuditedPair]]:
        """Return the most reliable pairs, best first, and the least reliable, worst first; `EXTREMES` at most."""
        best = sorted(self._best, key=lambda pair: -pair.reliability)
        worst = sorted(self._worst, key=lambda pair: pair.reliability)
        return best[: min(count, EXTREMES)], worst[: min(count, EXTREMES)]


def _known(frame: TrueFrame | None) -> set[int]:
    return set() if frame is None else set(frame.identities.tolist())
