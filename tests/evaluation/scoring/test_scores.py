"""A features file to scores, and how they are shown."""

import io
import json
import math

import numpy as np
import pytest
from rich.console import Console

from evaluation.metrics.protocols import PROTOCOLS
from evaluation.scoring.problem import make_problem
from evaluation.scoring.scores import BootstrapConfig, intervals_of, score, summarise, table
from tests.evaluation.features.people import make_features
from tests.evaluation.metrics.problems import market


def make_scorable(num_rows=40, **columns):
    labels = {
        "identity": np.arange(num_rows) // 2 % 5,
        "camera": np.arange(num_rows) % 2,
        "split": np.array(["query", "gallery"] * (num_rows // 2), object),
    }
    return make_features(num_rows, 8, 3, **(labels | columns))


def test_scores_the_queries_against_the_gallery():
    features = make_scorable()
    q, g = features.select("query"), features.select("gallery")
    expected = market(q.feature, g.feature, q.identity, g.identity, q.camera, g.camera)
    assert summarise(score(features)) == summarise(expected)


def test_other_splits_play_no_part():
    features = make_scorable()
    changed = features.split.copy()
    changed[[0, 1]] = "train"
    rest = features.take(np.arange(2, len(features)))
    assert summarise(score(make_scorable(split=changed))) == summarise(score(rest))


def test_the_summary_is_json_of_fractions_and_counts():
    summary = json.loads(json.dumps(summarise(score(make_scorable())), allow_nan=False))
    assert list(summary)[:5] == ["mAP", "rank1", "rank5", "rank10", "mINP"]
    assert all(0 <= summary[name] <= 1 for name in list(summary)[:5])
    assert (summary["num_queries"], summary["num_valid_queries"], summary["num_gallery"]) == (20, 20, 20)


def test_the_table_says_percent_and_what_was_left_out():
    identity = np.arange(40) // 2 % 5
    identity[0] = 99
    result = score(make_scorable(identity=identity))
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(table(result, "title"))
    text = console.export_text()
    assert f"{100 * result.mAP:.1f} %" in text
    assert "20 queries, 20 gallery images without junk; queries without a match, which are in no score: 1" in text
    assert not math.isnan(result.mAP)


def test_intervals_hold_the_scores_and_can_be_left_out():
    result = score(make_scorable())
    intervals = intervals_of(result, BootstrapConfig(resamples=200))
    summary = summarise(result, intervals)
    for name, (low, high) in summary["interval95"].items():
        assert low <= summary[name] <= high
    assert "interval95" not in summarise(result, intervals_of(result, BootstrapConfig(resamples=0)))
    with pytest.raises(ValueError, match="resamples must be >= 0, got -1"):
        BootstrapConfig(resamples=-1)


def test_the_table_tells_what_the_protocol_did():
    identity = np.arange(40) // 2 % 5
    identity[0] = 99
    for protocol, text in [("aka", "which count as 0: 1"), ("cuhk03-classic", "means of 10 drawn galleries")]:
        result = score(make_problem(make_scorable(identity=identity), PROTOCOLS[protocol]))
        console = Console(width=200, record=True, file=io.StringIO())
        console.print(table(result, "title", intervals_of(result, BootstrapConfig(resamples=10))))
        assert text in console.export_text()
