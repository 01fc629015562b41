"""Joining two files of the same images, and how the differences are shown."""

import io

import numpy as np
import pytest
from rich.console import Console

from evaluation.metrics.bootstrap import paired_differences
from evaluation.metrics.protocols import PROTOCOLS
from evaluation.scoring.comparison import align, comparison_table
from evaluation.scoring.problem import make_problem
from evaluation.scoring.scores import score
from tests.evaluation.scoring.test_scores import make_scorable


def problem_of(features):
    return make_problem(features, PROTOCOLS["market"])


def test_images_are_joined_by_path_whatever_their_order():
    features = make_scorable()
    shuffled = features.take(np.random.default_rng(0).permutation(40))
    aligned = align(problem_of(shuffled), problem_of(features))
    assert aligned.query.path.tolist() == features.select("query").path.tolist()
    assert aligned.gallery.path.tolist() == features.select("gallery").path.tolist()
    np.testing.assert_array_equal(shuffled.path[aligned.query_rows], aligned.query.path)


def test_images_with_the_same_path_are_joined_by_order():
    problem = problem_of(make_scorable(path=np.array(["x"] * 40, object)))
    np.testing.assert_array_equal(align(problem, problem).query_rows, problem.query_rows)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (make_scorable(38), "20 query images against 19; compare features of the same split"),
        (
            make_scorable(path=np.array([f"/b/{row}" for row in range(40)], object)),
            "20 query images are in one file only",
        ),
        (make_scorable(identity=np.arange(40) // 2 % 5 + 1), "20 query images have another identity in the other file"),
        (make_scorable(camera=np.arange(40) % 2 + (np.arange(40) == 6)), "1 query images have another camera"),
    ],
)
def test_different_splits_are_refused(other, message):
    with pytest.raises(ValueError, match=message):
        align(problem_of(other), problem_of(make_scorable()))


def test_the_table_is_in_points():
    result = score(make_scorable())
    differences = paired_differences(result, score(make_scorable(feature=make_scorable().feature ** 3)))
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(comparison_table(differences, title="a - b"))
    assert f"{100 * differences['mAP'].difference:+.2f} points" in console.export_text()
