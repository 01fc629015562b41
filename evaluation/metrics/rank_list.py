"""The nearest gallery images of some queries, in exactly the ranking that is scored."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cluster.errors import InputError
from evaluation.metrics.counting import JUNK_IDENTITY, GalleryGroups, Labels, leave_out
from evaluation.metrics.distances import Chunks
from evaluation.metrics.protocols import MARKET, Protocol


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class RankList:
    """Lists of K entries, nearest first. Those with fewer images end in -1, False and infinity."""

    gallery_index: NDArray[np.int64]
    """[Q, K], rows of the gallery."""
    is_right: NDArray[np.bool_]
    """[Q, K], whether the gallery image shows the query's identity."""
    distance: NDArray[np.float32]
    """[Q, K], in the unit of the distances."""


def rank_list(chunks: Chunks, labels: Labels, protocol: Protocol = MARKET, *, length: int = 10) -> RankList:
    """List the nearest gallery images of queries, without those that the protocol leaves out.

    A gallery that a protocol draws at random is not drawn here: the lists are of the whole one.

    Args:
        chunks: Distances of the queries to the gallery, smaller is nearer; equal ones in the order of the gallery.
        labels: Who is in the images, and which camera took them; of the same queries and gallery.
        protocol: Says what is left out.
        length: K, >= 1.

    Raises:
        InputError: If the length is < 1.
    """
    if length < 1:
        raise InputError(f"a rank list needs a length >= 1, got {length}")
    num_queries = len(labels.query_identity)
    groups = GalleryGroups(labels.gallery_identity, labels.gallery_camera)
    index_QK = np.full((num_queries, length), -1, np.int64)
    distance_QK = np.full((num_queries, length), np.inf, np.float32)
    for rows, distance_CG in chunks:
        distance_CG = np.array(distance_CG, np.float32)
        distance_CG[:, labels.gallery_identity == JUNK_IDENTITY] = np.inf
        for query, distance_G in zip(range(rows.start, rows.stop), distance_CG, strict=True):
            identity, camera = int(labels.query_identity[query]), int(labels.query_camera[query])
            leave_out(distance_G, identity, camera, groups, protocol.left_out)
            nearest = np.argsort(distance_G, kind="stable")[:length]
            nearest = nearest[np.isfinite(distance_G[nearest])]
            index_QK[query, : len(nearest)], distance_QK[query, : len(nearest)] = nearest, distance_G[nearest]
    is_right_QK = (index_QK >= 0) & (labels.gallery_identity[index_QK] == labels.query_identity[:, None])
    return RankList(gallery_index=index_QK, is_right=is_right_QK, distance=distance_QK)


def queries_with_match(labels: Labels, protocol: Protocol = MARKET) -> NDArray[np.int64]:
    """Return the queries that have a match among what the protocol does not leave out, ascending."""
    groups = GalleryGroups(labels.gallery_identity, labels.gallery_camera)
    found = []
    for query, (identity, camera) in enumerate(zip(labels.query_identity, labels.query_camera, strict=True)):
        cameras = groups.camera[groups.of_identity(int(identity))] if identity != JUNK_IDENTITY else ()
        if len(cameras) and (protocol.left_out == "nothing" or (cameras != camera).any()):
            found.append(query)
    return np.array(found, np.int64)
