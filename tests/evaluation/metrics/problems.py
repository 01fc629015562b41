"""Small retrieval problems, and the ranking of a query by the plainest loop."""

import numpy as np

from evaluation.metrics.counting import Labels
from evaluation.metrics.distances import distance_chunks
from evaluation.metrics.protocols import PROTOCOLS
from evaluation.metrics.retrieval import evaluate


def labels_of(query_identity, gallery_identity, query_camera, gallery_camera):
    return Labels(
        query_identity=query_identity,
        gallery_identity=gallery_identity,
        query_camera=query_camera,
        gallery_camera=gallery_camera,
    )


def market(query, gallery, *labels, chunk=None, protocol="market"):
    return evaluate(distance_chunks(query, gallery, chunk=chunk), labels_of(*labels), PROTOCOLS[protocol])


def random_problem(seed, num_queries=13, num_gallery=80, size=6, num_identities=7, num_cameras=3):
    """Queries and a gallery with junk (-1), distractors (0), and some queries without a match."""
    rng = np.random.default_rng(seed)
    return [
        rng.normal(size=(num_queries, size)).astype(np.float32),
        rng.normal(size=(num_gallery, size)).astype(np.float32),
        rng.integers(1, num_identities + 3, num_queries),
        rng.integers(-1, num_identities, num_gallery),
        rng.integers(0, num_cameras, num_queries),
        rng.integers(0, num_cameras, num_gallery),
    ]


def ranking_as_loop(q, query, gallery, query_identity, gallery_identity, query_camera, gallery_camera):
    """Gallery indices that remain for query q, nearest first: the loop of the docstring in float64."""
    unit = gallery.astype(np.float64) / np.linalg.norm(gallery.astype(np.float64), axis=1, keepdims=True)
    distance = ((unit - query[q].astype(np.float64) / np.linalg.norm(query[q].astype(np.float64))) ** 2).sum(1)
    ranking = []
    for g in sorted(range(len(gallery)), key=lambda g: (distance[g], g)):
        if gallery_identity[g] == -1:
            continue
        if gallery_identity[g] == query_identity[q] and gallery_camera[g] == query_camera[q]:
            continue
        ranking.append(g)
    return ranking


def line(similarities, identities, cameras=None):
    """One query of identity 1, camera 0, and a gallery at the given cosines."""
    cosine = np.asarray(similarities)
    gallery = np.stack([cosine, np.sqrt(1 - cosine**2)], axis=1).astype(np.float32)
    cameras = np.ones(len(cosine), np.int64) if cameras is None else np.asarray(cameras)
    query = np.array([[1, 0]], np.float32)
    return [query, gallery, np.array([1]), np.asarray(identities), np.array([0]), cameras]
