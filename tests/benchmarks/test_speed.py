"""Rows of speed: each has a name and a budget, and is kept with where it comes from."""

import pytest

from benchmarks import results_file
from benchmarks.speed import __main__ as speed
from benchmarks.speed import saved
from benchmarks.speed.budget import at_least, at_most, from_json, to_json
from benchmarks.speed.rows import ROWS, Row


@pytest.mark.parametrize("name", ROWS)
def test_a_row_has_a_name_and_a_budget(name):
    assert name.strip()
    assert callable(ROWS[name].measure)
    assert ROWS[name].budget.bound > 0


@pytest.mark.parametrize("budget", [at_least(2.5), at_most(0.05)])
def test_a_budget_is_a_bound_on_one_side(budget):
    assert from_json(to_json(budget)) == budget
    assert budget.is_met(budget.bound)
    assert budget.is_met(2 * budget.bound) == budget.is_least
    assert budget.is_met(budget.bound / 2) != budget.is_least
    assert str(budget) == {True: ">= 2.5", False: "<= 0.05"}[budget.is_least]


def test_rows_are_kept_when_asked_and_others_stay(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(results_file, "FOLDER", tmp_path)
    rows = {
        "first: a": Row(lambda: {"ratio": 1.0, "lowest": 0.5, "highest": 2.0, "wait": 3.0}, at_least(2)),
        "second: b": Row(lambda: {"ratio": 0.01}, at_most(0.05)),
    }
    monkeypatch.setattr(speed, "ROWS", rows)
    speed.main(["first"])
    assert not (tmp_path / "speed.json").exists()
    speed.main(["first", "--save"])
    speed.main(["second", "--save"])
    kept = results_file.read(str(tmp_path / "speed.json"))["rows"]
    assert list(kept) == list(rows)
    assert kept["first: a"]["found"] == {"ratio": 1.0, "lowest": 0.5, "highest": 2.0, "wait": 3.0}
    assert kept["first: a"]["provenance"]["machine"]["cores"] >= 1
    lines = saved.table(kept).splitlines()
    assert lines[2].startswith("| first: a | **1** (0.5 to 2) | >= 2 | wait 3 | 20")
    assert lines[3].startswith("| second: b | 0.01 | <= 0.05 |  | 20")
    with pytest.raises(SystemExit) as stop:
        speed.main(["third"])
    assert stop.value.code == 2
    assert "no row has third in its name; there are: first: a; second: b" in capsys.readouterr().err
