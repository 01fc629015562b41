"""Matchers of features and of maps, and how the maps of a features file are found and joined."""

import numpy as np
import pytest

from evaluation.features.files import maps_location
from evaluation.features.parquet import write_features
from evaluation.metrics.protocols import PROTOCOLS
from evaluation.qaconv.correspondences import correspondences
from evaluation.qaconv.head import QAConvHead, write_head
from evaluation.qaconv.maps import MapShape, map_writer
from evaluation.qaconv.scores import scores, similarity
from evaluation.scoring.matchers import MatchingConfig, open_matcher
from evaluation.scoring.problem import read_problem
from evaluation.scoring.qaconv_matcher import QAConvMatcher
from tests.evaluation.scoring.test_scores import make_scorable

SHAPE = MapShape(height=4, width=2, channels=6)


def make_maps(features, seed=0):
    """Maps of people: one pattern for each identity, with noise."""
    rng = np.random.default_rng(seed)
    pattern = rng.normal(size=(5, SHAPE.num_locations, SHAPE.channels))
    return pattern[features.identity] + 0.7 * rng.normal(size=(len(features), SHAPE.num_locations, SHAPE.channels))


def write(path, features, *, head=None, seed=0):
    write_features(path, features)
    store = map_writer(maps_location(path), features, SHAPE, model_fingerprint="abc", head=head)
    with store as writer:
        writer.write(np.arange(len(features)), make_maps(features, seed))


def distances(matcher, problem):
    return np.concatenate([part for _, part in matcher.distances(problem.query_rows, problem.gallery_rows)])


@pytest.fixture
def path(tmp_path):
    location = str(tmp_path / "f.parquet")
    write(location, make_scorable())
    return location


def test_maps_lie_beside_the_features():
    assert maps_location("/a.b/f.parquet") == "/a.b/f.maps"
    assert maps_location("s3://bucket/x/f.npz") == "s3://bucket/x/f.maps"


def test_exact_distances_are_scores_of_the_maps(path):
    problem = read_problem([path], PROTOCOLS["market"])
    with open_matcher(problem, [path], MatchingConfig(matcher="qaconv", exact=True)) as matcher:
        query, gallery = (matcher.maps.take(rows)[:] for rows in (problem.query_rows, problem.gallery_rows))
        expected = scores(query, gallery, QAConvHead.uniform(8))
        np.testing.assert_allclose(distances(matcher, problem), -expected, atol=1e-6)
        [(_, found)] = matcher.similarities(problem.query_rows, problem.gallery_rows)
        np.testing.assert_allclose(found, similarity(expected), atol=1e-6)
        [(_, every)] = matcher.all_pairs(np.arange(40))
        np.testing.assert_allclose(every, every.T, atol=1e-6)
        assert every.min() >= 0
        assert matcher.quality(problem.query_rows, problem.gallery_rows) == {}
        best = matcher.correspondences(0, 1)
        expected = correspondences(*matcher.maps[np.array([0, 1])])
        np.testing.assert_array_equal(best.gallery_location, expected.gallery_location)


def test_shortlist_keeps_its_candidates_first_and_tells_how_good_they_are(path):
    problem = read_problem([path], PROTOCOLS["market"])
    with open_matcher(problem, [path], MatchingConfig(matcher="qaconv", exact=True)) as matcher:
        exact = distances(matcher, problem)
    with open_matcher(problem, [path], MatchingConfig(matcher="qaconv", shortlist=12)) as matcher:
        short = distances(matcher, problem)
        kept = np.isclose(short, exact, atol=1e-6).sum(axis=1)
        assert (kept >= 12).all()
        assert 0.5 < matcher.quality(problem.query_rows, problem.gallery_rows)["shortlist_agreement_top10"] <= 1
    with open_matcher(problem, [path], MatchingConfig(matcher="qaconv", shortlist=20)) as matcher:
        np.testing.assert_allclose(distances(matcher, problem), exact, atol=1e-6)
        assert matcher.quality(problem.query_rows, problem.gallery_rows)["shortlist_agreement_top10"] == 1


def test_a_head_is_that_of_the_store_or_of_a_file(tmp_path):
    weight = np.random.default_rng(0).random(8).astype(np.float32)
    stored, given = QAConvHead(query_weight=weight), QAConvHead(query_weight=weight[::-1].copy())
    path, file = str(tmp_path / "f.parquet"), str(tmp_path / "head.json")
    write(path, make_scorable(), head=stored)
    write_head(file, given)
    problem = read_problem([path], PROTOCOLS["market"])
    for config, head in [("", stored), (file, given)]:
        with open_matcher(problem, [path], MatchingConfig(matcher="qaconv", head=config)) as matcher:
            assert isinstance(matcher, QAConvMatcher)
            np.testing.assert_array_equal(matcher.head.query_weight, head.query_weight)


def test_maps_of_several_datasets_are_one_gallery(tmp_path):
    paths = [str(tmp_path / f"{name}.parquet") for name in "ab"]
    for seed, path in enumerate(paths):
        write(path, make_scorable(), seed=seed)
    problem = read_problem(paths, PROTOCOLS["joint"])
    with open_matcher(problem, paths, MatchingConfig(matcher="qaconv", exact=True)) as matcher:
        whole = distances(matcher, problem)
    for number, path in enumerate(paths):
        alone = read_problem([path], PROTOCOLS["market"])
        with open_matcher(alone, [path], MatchingConfig(matcher="qaconv", exact=True)) as matcher:
            block = slice(20 * number, 20 * number + 20)
            np.testing.assert_allclose(whole[block, block], distances(matcher, alone), atol=1e-6)


def test_maps_that_do_not_belong_are_refused(path, tmp_path):
    other = str(tmp_path / "other.parquet")
    problem = read_problem([path], PROTOCOLS["market"])
    with (
        pytest.raises(ValueError, match=r"there are no feature maps .*other\.maps; embed with --maps"),
        open_matcher(problem, [other], MatchingConfig(matcher="qaconv")),
    ):
        pass
    write(other, make_scorable(path=np.array([f"/b/{row}" for row in range(40)], object)))
    with (
        pytest.raises(ValueError, match=r"other\.maps differs from the features in path"),
        open_matcher(problem, [other], MatchingConfig(matcher="qaconv")),
    ):
        pass
    with pytest.raises(ValueError, match="shortlist must be >= 1, got 0"):
        MatchingConfig(shortlist=0)
