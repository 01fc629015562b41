"""Rank lists with images: an honest choice of queries, and the right images in the right order."""

import numpy as np
import pytest

from evaluation.datasets.images import read_image
from evaluation.datasets.registry import read_dataset
from evaluation.embedding.histogram import HistogramEmbedder
from evaluation.features.table import Features
from evaluation.report.examples import choose_queries, show_rankings
from evaluation.scoring.scores import score
from tests.evaluation.people import write_market


@pytest.fixture
def features(tmp_path):
    write_market(tmp_path)
    rows = read_dataset(str(tmp_path))
    return Features(
        feature=HistogramEmbedder().embed([read_image(row.path) for row in rows]),
        identity=np.array([row.identity for row in rows]),
        camera=np.array([row.camera for row in rows]),
        time_seconds=np.full(len(rows), np.nan),
        path=np.array([row.path for row in rows], object),
        split=np.array([row.split for row in rows], object),
        model_fingerprint=np.array(["histogram"] * len(rows), object),
    )


def test_choice_is_seeded_valid_and_sorted(features):
    identity = features.identity.copy()
    identity[0] = 99  # the first query loses its match
    result = score(Features(**{**{n: getattr(features, n) for n in features.__slots__}, "identity": identity}))
    assert choose_queries(result, 100) == (1, 2, 3, 4, 5)
    assert choose_queries(result, 3) == choose_queries(result, 3)
    assert {choose_queries(result, 3, seed=seed) for seed in range(9)} != {choose_queries(result, 3)}


def test_shows_the_ranking_of_every_method(features):
    other = features.take(np.arange(len(features)))
    other.feature[:] = np.random.default_rng(0).normal(size=other.feature.shape)
    section = show_rankings({"histogram": features, "noise": other}, [0, 2], heading="h", length=4)
    query, gallery = features.select("query"), features.select("gallery")
    assert len(section.queries) == 2
    shown = section.queries[1]
    np.testing.assert_array_equal(shown.query, read_image(query.path[2]))
    assert [ranking.method for ranking in shown.rankings] == ["histogram", "noise"]
    similarity = gallery.feature @ query.feature[2]
    similarity[gallery.identity == -1] = -1
    best = int(similarity.argmax())
    np.testing.assert_array_equal(shown.rankings[0].gallery[0], read_image(gallery.path[best]))
    assert shown.rankings[0].is_right[0] == (gallery.identity[best] == query.identity[2])
    assert len(shown.rankings[0].gallery) == 4


def test_methods_must_have_seen_the_same_images(features):
    with pytest.raises(ValueError, match="features of a, b are of different images"):
        show_rankings({"a": features, "b": features.take(np.arange(5))}, [0], heading="h")
