"""A validation without labels: do the matched partners of held-out frame pairs find each other among all other crops?

Shape legend: N, M crops of all first and all second frames; D embedding size; F frame pairs; P matched pairs; Q
queries of a chunk; G gallery crops; C clips.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cluster.errors import InputError
from evaluation.metrics.distances import Chunks, check_features, distance_chunks, unit_rows
from pretrain.association.assignment import match_batch
from pretrain.training.health import effective_rank, uniformity

TIE = 2e-6
"""Squared distances this close are equal (a cosine's 1e-6): float32 embeddings do not tell them apart."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PartnerRetrieval:
    """How well matched partners find each other; the mean of both directions."""

    rank1: float
    """Share of queries whose partner is the nearest of the gallery, in [0, 1]."""
    mrr: float
    """Mean of 1 / rank of the partner, in (0, 1]; with one positive that is mean average precision."""
    num_queries: int
    """Two for each matched pair."""
    chance_rank1: float
    """What `rank1` is for embeddings that are all equal: the mean of 1 / gallery size."""
    mean_similarity: float
    """Mean cosine of matched pairs, in [-1, 1]."""
    effective_rank: float
    """Of the crops of both frames, see `pretrain.training.health`; 0 at collapse."""
    uniformity: float
    """Of the crops of both frames, see `pretrain.training.health`; 0 at collapse."""


def partner_retrieval(
    x_ND: NDArray[np.float32],
    y_MD: NDArray[np.float32],
    x_counts: Sequence[int],
    y_counts: Sequence[int],
    video_F: NDArray[np.int64],
    seconds_F: NDArray[np.float64],
    *,
    gap_seconds: float,
    chunk: int | None = None,
    device: str = "cpu",
) -> PartnerRetrieval:
    """Match the crops of each held-out frame pair one to one, and seek every partner among the crops of all pairs.

    The definition, as a loop over the matches; then the same with x and y exchanged, and the mean of both::

        for x, y, f in matches:                                  # f: number of the frame pair; distance: squared
            gallery = [
                c for c in second-frame crops, c in frame pair g
                if g == f or video[g] != video[f] or abs(seconds[g] - seconds[f]) >= gap_seconds
            ]                                                    # the others may show the same person
            nearer = number of c in gallery with distance(x, c) < distance(x, y) - TIE
            tied = number of c in gallery with abs(distance(x, c) - distance(x, y)) <= TIE      # y is one
            rank1 += (nearer == 0) / tied
            mrr += mean(1 / (nearer + k) for k in range(1, tied + 1))
            chance_rank1 += 1 / len(gallery)

    Ties count as the mean over all their orders, so a collapsed model scores exactly chance and gains nothing.

    What it can tell: whether the embedding separates people and survives the change between two frames. What it
    cannot: the model judges itself by its own matching, so matches that are wrong but agree with themselves count as
    right; so do features that both frames share but other cameras do not, such as the background. A person who comes
    back after `gap_seconds`, or in another video, counts as somebody else. The numbers depend on the number of crops:
    compare runs on the same held-out clips, and look at effective rank and uniformity before believing a rise.

    Args:
        x_ND: Embeddings of the first frames' crops, pair after pair, of any norm but 0.
        y_MD: Those of the second frames.
        x_counts: Crops of each pair's first frame; sums to N.
        y_counts: Crops of each pair's second frame; sums to M.
        video_F: Number of each pair's video.
        seconds_F: Time of each pair in its video.
        gap_seconds: Other pairs of the same video closer than this are no gallery, >= 0.
        chunk: Queries at a time, >= 1; None chooses, see `evaluation.metrics.distances`.
        device: Where distances are computed, such as ``cuda``.

    Raises:
        InputError: If counts, videos or times do not fit, a time is not finite, an embedding is zero or not finite,
            or nothing was matched.
    """
    if not len(x_counts) == len(y_counts) == len(video_F) == len(seconds_F):
        raise InputError(
            f"{len(x_counts)} and {len(y_counts)} counts, {len(video_F)} videos and {len(seconds_F)} times; "
            "give one of each per frame pair"
        )
    _require_times(seconds_F, gap_seconds)
    check_features(x_ND, "first-frame")
    check_features(y_MD, "second-frame")
    x_ND, y_MD = unit_rows(x_ND), unit_rows(y_MD)
    matches = match_batch(x_ND, y_MD, x_counts, y_counts)
    if len(matches.pair) == 0:
        raise InputError(f"none of the {len(video_F)} frame pairs has crops in both frames; hold out more clips")
    pair_N, pair_M = (np.repeat(np.arange(len(video_F)), counts) for counts in (x_counts, y_counts))
    scores = [
        _seek(
            distance_chunks(query_PD, gallery_GD, chunk=chunk, device=device),
            matches.pair,
            positive_P,
            pair_G,
            video_F,
            seconds_F,
            gap_seconds=gap_seconds,
        )
        for query_PD, gallery_GD, positive_P, pair_G in (
            (x_ND[matches.x_index], y_MD, matches.y_index, pair_M),
            (y_MD[matches.y_index], x_ND, matches.x_index, pair_N),
        )
    ]
    rank1, mrr, chance = np.mean(scores, axis=(0, 2))
    everyone = torch.from_numpy(np.concatenate([x_ND, y_MD])).to(device)
    return PartnerRetrieval(
        rank1=float(rank1),
        mrr=float(mrr),
        num_queries=2 * len(matches.pair),
        chance_rank1=float(chance),
        mean_similarity=float((x_ND[matches.x_index] * y_MD[matches.y_index]).sum(axis=1).mean()),
        effective_rank=float(effective_rank(everyone)),
        uniformity=float(uniformity(everyone)),
    )


def _seek(
    chunks: Chunks,
    pair_P: NDArray[np.int64],
    positive_P: NDArray[np.int64],
    pair_G: NDArray[np.int64],
    video_F: NDArray[np.int64],
    seconds_F: NDArray[np.float64],
    *,
    gap_seconds: float,
) -> NDArray[np.float64]:
    """Rank-1, reciprocal rank and Rank-1 by chance of each query, [3, P]."""
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, len(pair_G) + 1))])
    result = np.empty((3, len(pair_P)))
    for rows, distance_QG in chunks:
        own_Q1 = np.take_along_axis(distance_QG, positive_P[rows, None], axis=1)
        pair_Q1 = pair_P[rows, None]
        is_near_QF = np.abs(seconds_F[pair_Q1] - seconds_F) < gap_seconds
        excluded_QF = is_near_QF & (video_F[pair_Q1] == video_F) & (pair_Q1 != np.arange(len(video_F)))
        excluded_QG = excluded_QF[:, pair_G]
        distance_QG[excluded_QG] = np.inf
        nearer_Q = (distance_QG < own_Q1 - TIE).sum(axis=1)
        tied_Q = (distance_QG <= own_Q1 + TIE).sum(axis=1) - nearer_Q
        result[0, rows] = (nearer_Q == 0) / tied_Q
        result[1, rows] = (harmonic[nearer_Q + tied_Q] - harmonic[nearer_Q]) / tied_Q
        result[2, rows] = 1 / (len(pair_G) - excluded_QG.sum(axis=1))
    return result


def heldout_clips(
    video_of_clip: NDArray[np.int64], seconds_of_clip: NDArray[np.float64], *, share: float, gap_seconds: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Split clips into training and held-out ones: the end of each video, or whole videos where they are short.

    The definition, as a loop::

        whole = held = 0                                      # clips of short videos so far
        for video in sorted(videos):
            times = seconds of its clips
            cut = max(times) - share * (max(times) - min(times))
            late = [t >= cut for t in times]
            early = [t not late and t <= min(times that are late) - gap_seconds for t in times]
            if share * len(times) >= 1 and any(early):
                training, heldout = early, late               # clips in the gap are in neither
            else:                                             # short: the nearest to the share, spread over the videos
                whole += len(times)
                all of it is held out if held + len(times) / 2 <= share * whole, else all is for training
                held += len(times) if held out

    Nothing is drawn: the same clips are split alike in every run.

    Args:
        video_of_clip: [C] number of the video of each clip.
        seconds_of_clip: [C] when each clip begins in its video.
        share: Of each video's time, or of the clips of short videos, in (0, 1).
        gap_seconds: Training clips begin at least this long before held-out ones of their video, >= 0. It should
            cover the length of a clip and the time in which people walk by.

    Returns:
        bool [C] for training and bool [C] held out; never both.

    Raises:
        InputError: If the arguments are out of range, or either side is empty.
    """
    if not 0 < share < 1:
        raise InputError(f"share must be in (0, 1), got {share}")
    if len(video_of_clip) != len(seconds_of_clip):
        raise InputError(f"{len(video_of_clip)} videos and {len(seconds_of_clip)} times; give one of each per clip")
    _require_times(seconds_of_clip, gap_seconds)
    is_training_C, is_heldout_C = np.zeros((2, len(video_of_clip)), dtype=np.bool_)
    whole = held = 0
    for video in np.unique(video_of_clip):
        clips = np.flatnonzero(video_of_clip == video)
        times = seconds_of_clip[clips]
        is_late = times >= times.max() - share * (times.max() - times.min())
        is_early = ~is_late & (times <= times[is_late].min() - gap_seconds)
        if share * len(clips) < 1 or not is_early.any():
            whole += len(clips)
            is_late = np.full(len(clips), held + len(clips) / 2 <= share * whole)
            is_early = ~is_late
            held += int(is_late.sum())
        is_training_C[clips], is_heldout_C[clips] = is_early, is_late
    if not is_training_C.any() or not is_heldout_C.any():
        raise InputError(
            f"{len(video_of_clip)} clips gave {is_training_C.sum()} for training and {is_heldout_C.sum()} held out; "
            f"change share ({share}), lower gap_seconds ({gap_seconds:g}), or give more videos"
        )
    return is_training_C, is_heldout_C


def _require_times(seconds: NDArray[np.float64], gap_seconds: float) -> None:
    if not gap_seconds >= 0:
        raise InputError(f"gap_seconds must be >= 0, got {gap_seconds}")
    if not np.isfinite(seconds).all():
        raise InputError("times must be finite seconds; prepare the clips again")
