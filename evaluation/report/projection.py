"""Features in the plane: a picture of which images a model takes for alike.

Shapes: N images, D components of a feature, M images that are shown.
"""

import importlib
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from cluster.errors import InputError
from evaluation.metrics.distances import check_features, unit_rows

FEWEST = 5
"""Below this, neighbourhoods mean nothing."""


def project(
    feature_ND: NDArray[np.float32], *, method: Literal["tsne", "umap"] = "tsne", max_images: int = 2000, seed: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Place images in the plane so that images with near features come to lie near (van der Maaten and Hinton, 2008).

    Features are scaled to norm 1 first, so the neighbours are those of retrieval. Only neighbourhoods can be read from
    the picture: neither axis has a meaning, nor has the gap between two far groups, or the size of a group.

    The same input gives the same points on the same machine: t-SNE runs on one thread for that.

    Args:
        feature_ND: Features of any norm but 0, N >= 5, D >= 2.
        method: ``tsne``, or ``umap`` (McInnes et al., 2018), which needs the package umap-learn.
        max_images: M is at most this, >= 5; the rows are chosen at random. t-SNE of 2,000 takes some ten seconds.
        seed: Chooses the rows, and starts the optimiser.

    Returns:
        The rows that were chosen, ascending, [M]; and their places, float32 [M, 2].

    Raises:
        InputError: If there are too few images, a feature is zero or not finite, or the method is not installed.
    """
    check_features(feature_ND, "projected")
    if min(len(feature_ND), max_images) < FEWEST or feature_ND.shape[1] < 2:
        raise InputError(
            f"a projection needs at least {FEWEST} images of 2 components, got {list(feature_ND.shape)} "
            f"with max_images {max_images}"
        )
    chosen = np.random.default_rng(seed).permutation(len(feature_ND))[:max_images]
    rows_M = np.sort(chosen)
    unit_MD = unit_rows(feature_ND[rows_M])
    xy_M2 = _tsne(unit_MD, seed) if method == "tsne" else _umap(unit_MD, seed)
    return rows_M, np.asarray(xy_M2, np.float32)


def _tsne(unit_MD: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    perplexity = min(30.0, (len(unit_MD) - 1) / 3)
    with threadpool_limits(1):  # sums of several threads differ in their last bits from run to run
        return TSNE(init="pca", perplexity=perplexity, random_state=seed).fit_transform(unit_MD)


def _umap(unit_MD: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    try:
        umap = importlib.import_module("umap")
    except ModuleNotFoundError as error:
        raise InputError("UMAP is not installed; pip install umap-learn, or choose tsne") from error
    return umap.UMAP(n_neighbors=min(15, len(unit_MD) - 1), random_state=seed, n_jobs=1).fit_transform(unit_MD)
