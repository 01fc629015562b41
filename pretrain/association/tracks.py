"""Who is who in neighbouring frames by where the boxes are, without looking at anybody.

Shape legend: N, M crops of the first and the last frame; B boxes of a frame.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pretrain.association.assignment import LOST, assign
from pretrain.ingest.crops import intersection_over_union

MIN_OVERLAP = 0.1
"""Least IoU of a person's boxes in neighbouring frames: at five frames a second walkers move half their width."""


def follow(boxes: Sequence[NDArray[np.float64]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Follow people from the first frame to the last by the overlap of their boxes.

    From each frame to the next, boxes are linked one to one so that the summed IoU is largest, and a link of less than
    `MIN_OVERLAP` is none. People who cross behind each other may be swapped; who leaves a chain is lost.

    Args:
        boxes: One or more frames, [B, 4] left, top, width, height in pixels each.

    Returns:
        ``[N]`` positions in the last frame of the first frame's people, and ``[M]`` the other way round; `LOST` where
        the chain breaks.
    """
    forward = np.arange(len(boxes[0]))
    for before, after in pairwise(boxes):
        link = np.full(len(before) + 1, LOST)  # the last is for those who are lost already
        overlap = intersection_over_union(before, after)
        row, column = assign(overlap)
        is_near = overlap[row, column] >= MIN_OVERLAP
        link[row[is_near]] = column[is_near]
        forward = link[forward]
    backward = np.full(len(boxes[-1]), LOST)
    found = np.flatnonzero(forward != LOST)
    backward[forward[found]] = found
    return forward, backward
