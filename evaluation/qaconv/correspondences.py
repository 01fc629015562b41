"""Which locations of two feature maps look most alike: what a QAConv score is made of, for drawing.

Shapes: L locations of a query's map, M locations of a gallery map, C channels.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cluster.errors import InputError


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Correspondences:
    """Which locations of two maps look most alike, both ways, for drawing."""

    gallery_location: NDArray[np.int64]
    """[L], the best gallery location for each query location; the first one where several are as good."""
    query_similarity: NDArray[np.float32]
    """[L], its cosine similarity, -1 to 1."""
    query_location: NDArray[np.int64]
    """[M], the best query location for each gallery location."""
    gallery_similarity: NDArray[np.float32]
    """[M], its cosine similarity."""


def correspondences(query_LC: NDArray[Any], gallery_MC: NDArray[Any]) -> Correspondences:
    """Find the best match of every location of one map in the other, both ways.

    Raises:
        InputError: If a map is not [L, C], or C differs.
    """
    if query_LC.ndim != 2 or gallery_MC.ndim != 2 or query_LC.shape[1] != gallery_MC.shape[1]:
        raise InputError(f"two maps must be [L, C] and [M, C], got {[*query_LC.shape]} and {[*gallery_MC.shape]}")
    S_LM = np.asarray(query_LC, np.float32) @ np.asarray(gallery_MC, np.float32).T
    return Correspondences(
        gallery_location=S_LM.argmax(1),
        query_similarity=S_LM.max(1),
        query_location=S_LM.argmax(0),
        gallery_similarity=S_LM.max(0),
    )
