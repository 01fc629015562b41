"""One vector per image out of its feature map, by which candidates for a dearer matching are found.

Shapes: N images, L locations, C channels, B images of a block, S stripes.
"""

import numpy as np
from numpy.typing import NDArray

from cluster.errors import InputError

STRIPES = 4
"""On one drawn street of 12,315 gallery images (seed 0 of ``benchmarks/speed/qaconv.py``), 100 candidates gave 80.2 %
of the true top 10 with one mean over the whole map, 98.3 % with two, 99.5 % with four and 99.1 % with eight."""
BLOCK_ENTRIES = 2**23
"""Components of maps that are read at a time: 32 MB as float32."""


def pool(
    map_NLC: NDArray, *, height: int, weight_L: NDArray[np.float32], stripes: int = STRIPES
) -> NDArray[np.float32]:
    """Pool maps into one vector per image, by whose inner products candidates are found.

    The definition, as a loop::

        for n in range(N):
            for s in range(S):
                rows = range(s * height // S, (s + 1) * height // S)
                mean[n, s] = unit(sum(weight[l] * map[n, l] for l in range(L) if row_of(l) in rows))
            pooled[n] = unit(concatenate(mean[n]))

    A person is found upright, so a stripe of one image is best compared with the same stripe of another; the mean over
    the whole map forgets what is above and what is below.

    Args:
        map_NLC: Maps whose locations are in row-major order; read block by block.
        height: Rows of locations, which divide L.
        weight_L: The head's weights of these locations.
        stripes: S, 1 to the height.

    Returns:
        float32 [N, S * C], rows of norm 1.

    Raises:
        InputError: If the height or the stripes do not fit, or a map has no direction.
    """
    count, num_locations, channels = map_NLC.shape
    if len(weight_L) != num_locations or num_locations % height or not 1 <= stripes <= height:
        raise InputError(
            f"maps of {num_locations} locations cannot be pooled with {len(weight_L)} weights "
            f"into {stripes} stripes of {height} rows"
        )
    pooled_NSC = np.empty((count, stripes, channels), np.float32)
    width = num_locations // height
    size = max(1, BLOCK_ENTRIES // (num_locations * channels))
    for first in range(0, count, size):
        map_BLC = np.asarray(map_NLC[first : first + size], np.float32)
        for s in range(stripes):
            part = slice(s * height // stripes * width, (s + 1) * height // stripes * width)
            pooled_NSC[first : first + size, s] = weight_L[part] @ map_BLC[:, part]
    norm_NS = np.linalg.norm(pooled_NSC, axis=2)
    num_stripes_N = (norm_NS > 0).sum(axis=1)  # a stripe without direction stays zero
    unusable = np.flatnonzero(~(np.isfinite(norm_NS).all(axis=1) & (num_stripes_N > 0)))
    if len(unusable):
        raise InputError(f"map {unusable[0]} is zero or not finite; check the model that made it")
    pooled_NSC /= np.where(norm_NS > 0, norm_NS, 1)[..., None]
    pooled_NSC /= np.sqrt(num_stripes_N)[:, None, None]
    return pooled_NSC.reshape(count, -1)
