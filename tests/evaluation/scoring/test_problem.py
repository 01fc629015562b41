"""What a protocol makes of features files: queries, gallery, several datasets at once."""

import numpy as np
import pytest

from evaluation.features.parquet import write_features
from evaluation.metrics.distances import distance_chunks
from evaluation.metrics.protocols import PROTOCOLS
from evaluation.metrics.retrieval import evaluate
from evaluation.scoring.problem import keep_apart, make_problem, read_problem
from tests.evaluation.scoring.test_scores import make_scorable


def scored(problem):
    chunks = distance_chunks(problem.query.feature, problem.gallery.feature)
    return evaluate(chunks, problem.labels, problem.protocol)


def test_queries_and_gallery_by_split():
    problem = make_problem(make_scorable(), PROTOCOLS["market"])
    assert problem.query_rows.tolist() == list(range(0, 40, 2))
    assert problem.gallery_rows.tolist() == list(range(1, 40, 2))
    assert set(problem.query.split) == {"query"}


def test_vehicleid_takes_all_on_both_sides():
    problem = make_problem(make_scorable(), PROTOCOLS["vehicleid"])
    np.testing.assert_array_equal(problem.query_rows, np.arange(40))
    np.testing.assert_array_equal(problem.gallery_rows, np.arange(40))


def test_models_that_are_declared_compatible_may_be_mixed():
    mixed = make_scorable(model_fingerprint=np.array(["a", "b"] * 20, object))
    problem = make_problem(mixed, PROTOCOLS["market"], declared=("b", "c", "a"))
    np.testing.assert_array_equal(problem.query_rows, make_problem(make_scorable(), PROTOCOLS["market"]).query_rows)
    with pytest.raises(
        ValueError, match=r"2 models \(a, b\).*embed all images with one model, or name all of these in"
    ):
        make_problem(mixed, PROTOCOLS["market"], declared={"a", "c"})


def test_joint_numbers_of_two_datasets_never_meet():
    identity = np.array([7, 7, 0, -1, 3, 3] * 6 + [7, 7, 3, 3])
    one, two = make_scorable(identity=identity), make_scorable(identity=identity, camera=np.arange(40) % 2 + 1)
    both = keep_apart([one, two])
    first, second = both.take(np.arange(40)), both.take(np.arange(40, 80))
    assert set(first.identity) == {-1, 0, 1, 2}
    assert set(second.identity) == {-1, 0, 1_000_001, 1_000_002}
    assert not set(first.camera) & set(second.camera)
    np.testing.assert_array_equal(first.identity == 0, identity == 0)


def test_joint_is_harder_than_each_alone_and_equal_where_datasets_lie_apart():
    one = make_scorable()
    near = keep_apart([one, make_scorable(feature=one.feature + 0.1)])
    alone = scored(make_problem(one, PROTOCOLS["market"])).mAP
    assert scored(make_problem(near, PROTOCOLS["joint"])).mAP < alone
    zeros = np.zeros_like(one.feature)
    apart = [make_scorable(feature=np.hstack(parts)) for parts in ([one.feature, zeros], [zeros, one.feature])]
    assert scored(make_problem(keep_apart(apart), PROTOCOLS["joint"])).mAP == pytest.approx(alone, abs=0.15)


def test_files_of_several_datasets(tmp_path):
    paths = [str(tmp_path / f"{name}.parquet") for name in "ab"]
    for path in paths:
        write_features(path, make_scorable())
    assert len(read_problem(paths, PROTOCOLS["joint"]).query) == 40
    with pytest.raises(ValueError, match="the market protocol scores one file, got 2; see --protocol joint"):
        read_problem(paths, PROTOCOLS["market"])
    with pytest.raises(ValueError, match="give at least one features file"):
        read_problem([], PROTOCOLS["market"])
    with pytest.raises(ValueError, match="the joint protocol scores the files of several datasets, got 1"):
        read_problem(paths[:1], PROTOCOLS["joint"])


def test_what_cannot_be_scored_is_refused_with_the_file_named(tmp_path):
    path = str(tmp_path / "f.parquet")
    for change, message in [
        ({"split": np.array(["query"] * 40, object)}, "there are no gallery images, only: query"),
        ({"model_fingerprint": np.array(["a", "b"] * 20, object)}, r"come from 2 models \(a, b\)"),
    ]:
        write_features(path, make_scorable(**change))
        with pytest.raises(ValueError, match=rf"f\.parquet: .*{message}"):
            read_problem([path], PROTOCOLS["market"])
