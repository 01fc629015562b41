"""A features file to scores, and how they are shown."""

import io
import json
import math

import numpy as np
import pytest
from rich.console import Console

from evaluation.features import write_features
from evaluation.retrieval import market_metrics
from evaluation.scoring import score, score_features, summarise, table
from tests.evaluation.test_features import make_features


def make_scorable(num_rows=40, **columns):
    labels = {
        "identity": np.arange(num_rows) // 2 % 5,
        "camera": np.arange(num_rows) % 2,
        "split": np.array(["query", "gallery"] * (num_rows // 2), object),
    }
    return make_features(num_rows, 8, 3, **(labels | columns))


def test_scores_the_queries_against_the_gallery_of_the_file(tmp_path):
    features, path = make_scorable(), str(tmp_path / "f.parquet")
    write_features(path, features)
    q, g = features.select("query"), features.select("gallery")
    expected = market_metrics(q.feature, g.feature, q.identity, g.identity, q.camera, g.camera)
    assert summarise(score_features(path)) == summarise(expected)


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


def test_what_cannot_be_scored_is_refused_with_the_file_named(tmp_path):
    path = str(tmp_path / "f.parquet")
    for change, message in [
        ({"split": np.array(["query"] * 40, object)}, "there are no gallery images, only: query"),
        ({"model_fingerprint": np.array(["a", "b"] * 20, object)}, r"come from 2 models \(a, b\)"),
        ({"camera": np.zeros(40, np.int64)}, "none of the 20 queries has a match"),
    ]:
        write_features(path, make_scorable(**change))
        with pytest.raises(ValueError, match=rf"f\.parquet: .*{message}"):
            score_features(path)
