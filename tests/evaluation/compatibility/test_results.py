"""A result as JSON and back, as Markdown, and as a chart."""

import json
from dataclasses import replace

import numpy as np
import pytest

from evaluation.compatibility.chart import table_chart
from evaluation.compatibility.markdown import to_markdown
from evaluation.compatibility.protocol import evaluate_stages, evaluate_unseen
from evaluation.compatibility.results import KINDS, from_json, measures_of, to_json
from evaluation.compatibility.sequence import ScoreTable
from tests.evaluation.compatibility.stages import drifting, make_dataset, source_of

NAMES = ("one", "two", "three")
TABLE = np.array([[0.4, 0, 0], [0.5, 0.6, 0], [0.5, 0.5, 0.7]])
OWN = np.array([[0.4, 0, 0], [0.5, 0.6, 0], [0.6, 0.8, 0.7]])


@pytest.fixture(scope="module")
def result():
    features = source_of([make_dataset(seed) for seed in range(3)], drifting)
    found = evaluate_stages(NAMES, lambda *asked: None if asked[:2] == (1, 2) else features(*asked))
    unseen = evaluate_unseen(("x", "y"), source_of([make_dataset(9), make_dataset(10)], drifting), models=NAMES)
    return replace(found, unseen=unseen)


def test_json_holds_all_scores_and_null_for_what_is_not_known(result):
    saved = json.loads(json.dumps(to_json(result), allow_nan=False))
    assert list(saved) == ["stages", "table", "own", "measures", "unseen"]
    assert list(saved["stages"][0]) == ["name", *KINDS, "macro", "datasets", "isolated"]
    last, scores = saved["stages"][-1], result.stages[-1]
    assert last["stored"] == {"mAP": scores.stored.mAP, "rank1": scores.stored.rank1}
    frozen = scores.first_model
    assert last["macro"]["first_model"] == {"mAP": frozen.macro_mAP, "rank1": frozen.macro_rank1}
    assert last["datasets"][1]["no_update"]["mAP"] == scores.no_update.datasets[1].mAP
    assert last["isolated"][0]["stored"]["mAP"] == result.table.mAP[2, 0]
    assert last["isolated"][0]["re_extracted"]["rank1"] == result.own.rank1[2, 0]
    assert saved["table"]["mAP"][1][2] is None
    assert saved["own"]["mAP"][0] == [result.own.mAP[0, 0], None, None]
    assert list(saved["unseen"]) == list(NAMES)
    assert saved["unseen"]["two"]["mAP"] == result.unseen[1].mAP


def test_measures_are_named_and_of_stored_galleries(result):
    found = to_json(result)["measures"]
    assert set(found["average_compatibility"]) == {"strict", "non_strict"}
    assert set(found["forgetting"]) == {"avalanche", "chaudhry", "mammoth"}
    assert found["forgetting"]["avalanche"] == -found["backward_transfer"]
    assert [(one["model"], one["gallery"]) for one in found["update_gain"]] == [
        ("two", "one"),
        ("three", "one"),
        ("three", "two"),
    ]
    assert [one["gain"] for one in found["update_gain"]] == [None] * 3, "drifting models only get worse"
    better = replace(result, table=ScoreTable(mAP=TABLE, rank1=TABLE), own=ScoreTable(mAP=OWN, rank1=OWN))
    gains = [one["gain"] for one in to_json(better)["measures"]["update_gain"]]
    assert gains == [pytest.approx(1.0), pytest.approx(0.5), pytest.approx(-0.5)]
    assert "the same model with the gallery re-extracted" in found["update_gain_paragon"]


def test_json_comes_back_as_the_same_result(result):
    saved = to_json(result)
    again = from_json(json.loads(json.dumps(saved)))
    assert (again.names, again.stages, again.unseen) == (result.names, result.stages, result.unseen)
    np.testing.assert_array_equal(again.table.mAP, result.table.mAP)
    assert to_json(again) == saved
    with pytest.raises(ValueError, match="this is not the JSON of a sequence of models: KeyError"):
        from_json({"mAP": 0.5})


def test_a_single_stage_has_no_measures_of_pairs():
    one = evaluate_stages(("one",), source_of([make_dataset(0)]))
    measures = to_json(one)["measures"]
    assert (measures["backward_transfer"], measures["update_gain"]) == (None, [])
    assert to_json(one)["unseen"] == {}
    assert "Unseen" not in to_markdown(one)


def test_markdown_is_in_percent_and_the_same_from_json(result):
    text = to_markdown(result)
    assert text == to_markdown(json.loads(json.dumps(to_json(result))))
    for value in (
        result.stages[-1].stored.mAP,
        result.stages[1].first_model.macro_rank1,
        result.table.mAP[2, 0],
        result.unseen[2].mAP,
        measures_of(result)["forgetting"]["chaudhry"],
    ):
        assert f"| {100 * value:.1f} |" in text
    assert "nan" not in text
    for line in text.splitlines():
        assert not line.startswith("|") or line.endswith(" |")
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) == 8
    assert all(len({line.count("|") for line in table}) == 1 for table in tables)


def test_the_chart_says_which_model_is_on_which_side(result):
    svg = table_chart(result)
    assert "queries by the model of" in svg
    assert "gallery by the model of" in svg
    assert f"{100 * result.table.mAP[2, 0]:.1f} %" in svg
    assert f"{100 * result.own.mAP[2, 0]:.1f} %" in table_chart(result, of=result.own)
