"""The evaluation for a notebook: plain arrays in, plain arrays or scores out.

Shapes: Q queries, G gallery images, D components of a feature, L locations of a feature map, C its channels. What is
too large to hold is scored chunk by chunk by the functions that these call.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cluster.errors import InputError
from evaluation.metrics import retrieval
from evaluation.metrics.counting import Labels
from evaluation.metrics.distances import distance_chunks
from evaluation.metrics.protocols import find_protocol
from evaluation.metrics.retrieval import RetrievalResult
from evaluation.qaconv.head import QAConvHead
from evaluation.scoring import reranking


def evaluate(
    distances: ArrayLike,
    query_ids: ArrayLike,
    gallery_ids: ArrayLike,
    query_cameras: ArrayLike,
    gallery_cameras: ArrayLike,
    *,
    protocol: str = "market",
    seed: int = 0,
) -> RetrievalResult:
    """Score a matrix of distances under a named protocol (`evaluation.metrics.retrieval.evaluate` has the definition).

    >>> import evaluation
    >>> distances = [[0.1, 0.4, 0.3], [0.9, 0.2, 0.5]]
    >>> result = evaluation.evaluate(distances, [7, 8], [7, 7, 8], [1, 1], [2, 2, 2], protocol="market")
    >>> f"{result.mAP:.4f} {result.rank(1):.2f}"
    '0.6667 0.50'

    Args:
        distances: [Q, G], smaller is nearer; in any unit.
        query_ids: [Q] whole numbers, who is in each query.
        gallery_ids: [G]; -1 is junk, 0 a distractor.
        query_cameras: [Q] whole numbers.
        gallery_cameras: [G].
        protocol: One of `evaluation.PROTOCOLS`.
        seed: Of the galleries that a protocol draws.

    Raises:
        ValueError: If shapes disagree, a label is no whole number, a distance is NaN, or no query has a match.
    """
    distance_QG = np.asarray(distances)
    if distance_QG.ndim != 2:
        raise InputError(f"distances must be [Q, G], got {list(distance_QG.shape)}")
    labels = Labels(
        query_identity=np.asarray(query_ids),
        gallery_identity=np.asarray(gallery_ids),
        query_camera=np.asarray(query_cameras),
        gallery_camera=np.asarray(gallery_cameras),
    )
    whole = [(slice(0, len(distance_QG)), distance_QG)]
    return retrieval.evaluate(whole, labels, find_protocol(protocol), seed=seed)


def distances(query_features: ArrayLike, gallery_features: ArrayLike) -> NDArray[np.float32]:
    """Return the squared Euclidean distances of features scaled to norm 1, float32 [Q, G] in 0 to 4.

    >>> import evaluation
    >>> evaluation.distances([[2.0, 0.0]], [[1.0, 0.0], [0.0, 3.0], [-1.0, 0.0]]).tolist()
    [[0.0, 2.0, 4.0]]

    Args:
        query_features: [Q, D], any norm but 0.
        gallery_features: [G, D].

    Raises:
        InputError: If D differs, or a feature is zero or not finite.
    """
    query_QD, gallery_GD = np.asarray(query_features, np.float32), np.asarray(gallery_features, np.float32)
    return np.concatenate([chunk for _, chunk in distance_chunks(query_QD, gallery_GD)])


def rerank(
    query_features: ArrayLike, gallery_features: ArrayLike, *, k1: int = 20, k2: int = 6, weight: float = 0.3
) -> NDArray[np.float32]:
    """Return k-reciprocal distances (Zhong et al., 2017; `evaluation.scoring.reranking` has the definition).

    >>> import numpy as np, evaluation
    >>> features = np.random.default_rng(0).normal(size=(50, 8))
    >>> evaluation.rerank(features[:10], features[10:], k1=5).shape
    (10, 40)

    Args:
        query_features: [Q, D], any norm but 0.
        gallery_features: [G, D].
        k1: Neighbours that must be mutual.
        k2: Images whose encodings are averaged.
        weight: Of the original distance, 0 to 1 (lambda).

    Returns:
        float32 [Q, G] in 0 to 1, smaller is nearer; for `evaluate`.

    Raises:
        InputError: If a number is out of range, D differs, or a feature is zero or not finite.
    """
    query_QD, gallery_GD = np.asarray(query_features, np.float32), np.asarray(gallery_features, np.float32)
    if query_QD.ndim != 2 or gallery_GD.ndim != 2 or query_QD.shape[1] != gallery_GD.shape[1]:
        raise InputError(f"features must be [Q, D] and [G, D], got {list(query_QD.shape)} and {list(gallery_GD.shape)}")
    all_ND = np.concatenate([query_QD, gallery_GD])
    chunks = reranking.rerank(
        lambda: distance_chunks(all_ND, all_ND), len(query_QD), len(all_ND), k1=k1, k2=k2, weight=weight
    )
    return np.concatenate([chunk for _, chunk in chunks])


def qaconv_scores(
    query_maps: NDArray[np.floating], gallery_maps: NDArray[np.floating], head: QAConvHead | None = None
) -> NDArray[np.float32]:
    """Match feature maps location by location (QAConv; `evaluation.qaconv.scores` has the definition).

    It is not called `evaluation.qaconv`, which is the folder of it.

    >>> import numpy as np, evaluation
    >>> maps = np.random.default_rng(0).normal(size=(3, 12, 16)).astype("float32")
    >>> maps /= np.linalg.norm(maps, axis=2, keepdims=True)
    >>> evaluation.qaconv_scores(maps[:1], maps).argmax(axis=1).tolist()
    [0]

    Args:
        query_maps: [Q, L, C], unit norm over C, such as `load_model(...).embed_with_maps` returns.
        gallery_maps: [G, L, C].
        head: The trained weights of locations; all alike unless given.

    Returns:
        float32 [Q, G], larger is nearer; `-scores` are distances for `evaluate`.

    Raises:
        ValueError: If shapes disagree, or a map is not finite.
    """
    from evaluation.qaconv.scores import scores  # torch, which scoring of distances does not need

    if head is None:
        if query_maps.ndim != 3:
            raise InputError(f"query maps must be [Q, L, C], got {list(query_maps.shape)}")
        head = QAConvHead.uniform(query_maps.shape[1])
    return scores(query_maps, gallery_maps, head)
