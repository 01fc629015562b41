"""The commands, as a person types them."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from evaluation.features.parquet import write_features
from evaluation.features.table import concatenate
from lifelong.__main__ import GALLERY
from tests.lifelong.gallery.rows import make_rows


@pytest.fixture
def run(tmp_path, capsys):
    def start(line):
        name, *arguments = line.replace("DIR", str(tmp_path / "g")).replace("FILES", str(tmp_path)).split()
        GALLERY[name].run(f"python -m lifelong gallery {name}", arguments)
        return json.loads(capsys.readouterr().out.splitlines()[-1])

    gallery, query = make_rows(1, 60), make_rows(2, 5)
    query.split[:] = "query"
    write_features(str(tmp_path / "old.parquet"), concatenate([query, gallery]))
    newer = make_rows(3, 4, model="b")
    newer.split[:] = "query"
    newer.identity[0] = -1
    write_features(str(tmp_path / "new.parquet"), newer)
    return start


def test_the_life_of_a_gallery(run, tmp_path):
    assert run("create DIR --size 8 --model a")["models"] == ["a"]
    added = run("add DIR FILES/old.parquet")
    assert (added["added"], added["is_repeat"]) == (60, False)
    assert run("add DIR FILES/old.parquet")["is_repeat"]
    assert run("add DIR FILES/old.parquet --again")["added"] == 60
    with pytest.raises(ValueError, match="declare it: python -m lifelong gallery declare DIR b"):
        run("search DIR FILES/new.parquet")
    assert run("declare DIR b --note promoted")["models"] == ["a", "b"]
    found = run("search DIR FILES/new.parquet -k 3 --out FILES/hits.parquet")
    assert (found["num_queries"], found["k"], found["out"]) == (4, 3, str(tmp_path / "hits.parquet"))
    hits = pq.read_table(tmp_path / "hits.parquet").to_pandas()
    np.testing.assert_array_equal(hits["rank"], np.tile([1, 2, 3], 4))
    np.testing.assert_array_equal(hits["query_path"], np.repeat([f"3/{row}.jpg" for row in range(4)], 3))
    assert set(hits["model_fingerprint"]) == {"a"}
    assert run("add DIR FILES/new.parquet --splits query")["junk"] == 1
    assert run("search DIR FILES/old.parquet --index flat")["k"] == 10
    stats = run("stats DIR")
    assert (stats["items"], stats["models"]) == (123, {"a": 120, "b": 3})
    identity = int(make_rows(1, 60).identity[0])
    deleted = run(f"delete DIR --identity {identity} --reason asked")["deleted"]
    assert run("verify DIR")["deleted_items"] == deleted > 0
    assert run("compact DIR --orphan-hours 0")["removed_items"] == deleted
    after = run("verify DIR")
    assert (after["items"], after["deleted_items"], after["orphans"]) == (123 - deleted, 0, [])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("stats DIR", "no gallery there"),
        ("create DIR --size 8", "model"),
        ("create DIR --size 8 --model unknown", "a model needs a fingerprint"),
        ("add DIR FILES/none.parquet", "no gallery there"),
    ],
)
def test_mistakes_before_there_is_a_gallery(run, line, message):
    with pytest.raises(ValueError, match=message):
        run(line)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("create DIR --size 8 --model a", "is a gallery already"),
        ("add DIR FILES/none.parquet", "no such features file"),
        ("add DIR FILES/new.parquet", "there are no gallery images, only: query"),
        ("add DIR FILES/new.parquet --splits query", "features come from model b"),
        ("search DIR FILES/old.parquet", "holds no images yet"),
        ("search DIR FILES/old.parquet -k 0", "k must be >= 1, got 0"),
        ("search DIR FILES/old.parquet --index hnsw", "index"),
        ("delete DIR --identity 4", "has no images of identity 4"),
        ("delete DIR", "Missing .* --identity"),
    ],
)
def test_mistakes_are_one_line(run, line, message):
    run("create DIR --size 8 --model a")
    with pytest.raises(ValueError, match=message) as caught:
        run(line)
    assert "\n" not in str(caught.value)


def test_queries_of_two_models_are_refused(run, tmp_path):
    run("create DIR --size 8 --model a")
    write_features(str(tmp_path / "two.parquet"), concatenate([make_rows(1, 3), make_rows(2, 3, model="b")]))
    with pytest.raises(ValueError, match="has queries of 2 models, a, b; give one file for each"):
        run("search DIR FILES/two.parquet --split gallery")
