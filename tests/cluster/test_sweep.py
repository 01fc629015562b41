"""Sweeps: trials from text, and a small one on Ray Tune that goes on where it stopped."""

from pathlib import Path

import pytest

from cluster.sweep import parse_space, sweep


def test_values_are_combined():
    trials = parse_space(["a=1,2", "b.c=x,y,z"], samples=5, seed=0)
    assert trials == [{"a": a, "b.c": c} for a in "12" for c in "xyz"]


def test_ranges_are_drawn_evenly_in_the_logarithm():
    trials = parse_space(["kind=p,q", "rate=0.01:1"], samples=200, seed=0)
    assert len(trials) == 400
    rates = [float(trial["rate"]) for trial in trials]
    assert all(0.01 <= rate <= 1 for rate in rates)
    assert sum(rate < 0.1 for rate in rates) == pytest.approx(200, abs=30)
    assert trials == parse_space(["kind=p,q", "rate=0.01:1"], samples=200, seed=0)
    assert trials != parse_space(["kind=p,q", "rate=0.01:1"], samples=200, seed=1)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([], "name --over"),
        (["tau"], "must be NAME=A,B,C or NAME=LOW:HIGH, each name once, got 'tau'"),
        (["tau=1", "tau=2"], "each name once, got 'tau=2'"),
        (["tau=a:b"], "needs two numbers, got 'a:b'"),
        (["tau=2:1"], "needs 0 < LOW < HIGH, got '2:1'"),
        ([f"{name}=1,2,3,4,5,6,7,8,9,10" for name in "abcde"], "1 to 10,000 trials, got 100000"),
    ],
)
def test_texts_that_name_no_trials_are_refused(texts, message):
    with pytest.raises(ValueError, match=message):
        parse_space(texts, samples=1, seed=0)


@pytest.mark.ray
def test_trials_are_ordered_failures_are_told_and_nothing_runs_twice(ray_cluster: None, tmp_path: Path):
    def trial(settings):
        with open(tmp_path / "calls", "a") as stream:
            stream.write(f"{settings['x']}\n")
        if settings["x"] == "3" and not (tmp_path / "mended").exists():
            raise ValueError("x must not be 3")
        return {"score": -((int(settings["x"]) - 2) ** 2), "other": 1.0}

    trials = parse_space(["x=1,2,3,4"], samples=1, seed=0)
    out = str(tmp_path / "sweep")
    found = sweep(trial, trials, out, metric="score", cpus=1)
    assert [(one["settings"]["x"], one["metrics"]["score"]) for one in found[:3]] == [("2", 0), ("1", -1), ("4", -4)]
    assert found[3]["settings"] == {"x": "3"}
    assert "x must not be 3" in found[3]["error"]
    (tmp_path / "mended").touch()
    again = sweep(trial, trials, out, metric="score", cpus=1)
    assert [one["settings"]["x"] for one in again] == ["2", "1", "3", "4"]
    assert sorted((tmp_path / "calls").read_text().split()) == ["1", "2", "3", "3", "4"], "the failed one alone"
