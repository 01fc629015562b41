"""Search spaces: forms of text and files, values evenly drawn and the same again, and what is refused."""

import json

import numpy as np
import pytest

from cluster.sweep.search_space import Axis, draw_trials, name_of_trial, read_space, with_spaces


def trials_of(texts, *, samples=1, seed=0):
    return draw_trials(read_space(texts), samples=samples, seed=seed)


def test_values_are_combined():
    assert trials_of(["a=1,2", "b.c=x,y,z"], samples=5) == [{"a": a, "b.c": c} for a in "12" for c in "xyz"]


def test_ranges_are_drawn_evenly_in_the_logarithm():
    trials = trials_of(["kind=p,q", "rate=0.01:1"], samples=200)
    assert len(trials) == 400
    rates = [float(trial["rate"]) for trial in trials]
    assert all(0.01 <= rate <= 1 for rate in rates)
    assert sum(rate < 0.1 for rate in rates) == pytest.approx(200, abs=30)
    assert trials == trials_of(["kind=p,q", "rate=loguniform(0.01, 1)"], samples=200), "the same by another name"
    assert trials != trials_of(["kind=p,q", "rate=0.01:1"], samples=200, seed=1)


def test_other_values_are_drawn_evenly():
    trials = trials_of(["a=uniform(-1,3)", "b=randint(2,5)", "c=choice(p, q)"], samples=400)
    assert len(trials) == 400
    a = np.array([trial["a"] for trial in trials])
    assert -1 <= a.min() < a.max() <= 3
    assert np.histogram(a, 4, (-1, 3))[0] == pytest.approx(100, abs=30)
    counts = [[trial["b"] for trial in trials].count(number) for number in (2, 3, 4)]
    assert sum(counts) == 400, "the upper end is not drawn"
    assert counts == pytest.approx([400 / 3] * 3, abs=30)
    assert [trial["c"] for trial in trials].count("p") == pytest.approx(200, abs=30)


def test_equal_draws_make_one_trial():
    trials = trials_of(["b=randint(0,3)"], samples=100)
    assert sorted(trial["b"] for trial in trials) == [0, 1, 2]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("space.json", '{"loss.temperature": "loguniform(0.03, 0.3)", "loss": {"beta": [0, 1, 2]}, "head": "x,y"}'),
        ("space.toml", 'head = "x,y"\n[loss]\ntemperature = "0.03:0.3"\nbeta = [0, 1, 2]'),
    ],
)
def test_a_file_says_the_same(tmp_path, name, content):
    (tmp_path / name).write_text(content, encoding="utf-8")
    space = {axis.name: axis for axis in read_space(["seed=1,2"], str(tmp_path / name))}
    assert set(space) == {"seed", "loss.temperature", "loss.beta", "head"}
    assert space["loss.temperature"] == Axis(name="loss.temperature", kind="loguniform", low=0.03, high=0.3)
    assert space["loss.beta"].values == (0, 1, 2)
    assert space["head"].values == ("x", "y")
    assert len(draw_trials(list(space.values()), samples=4, seed=0)) == 2 * 3 * 2 * 4


def test_names_of_trials_depend_on_what_is_tried_alone():
    name = name_of_trial({"a": 0.1, "b": "x", "c": True})
    assert name == name_of_trial({"c": "true", "b": "x", "a": "0.1"})
    assert name != name_of_trial({"a": 0.2, "b": "x", "c": True})
    assert len(name) == 12


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([], "a sweep needs 1 to 10,000 trials, got 0: name --over"),
        (["temperature"], "must be NAME=A,B,C or LOW:HIGH or .*, each name once, got 'temperature'"),
        (["temperature=1", "temperature=2"], "each name once, got 'temperature=2'"),
        (["temperature=1,2,1"], "temperature must have each value once, got 1 twice"),
        (["temperature=a:b"], "temperature needs two numbers, LOW and HIGH, got 'a:b'"),
        (["temperature=1:2:3"], "temperature needs two numbers, LOW and HIGH, got '1:2:3'"),
        (["temperature=2:1"], r"temperature needs LOW < HIGH, got loguniform\(2, 1\)"),
        (["temperature=0:1"], r"temperature needs 0 < LOW < HIGH, got loguniform\(0, 1\)"),
        (["temperature=uniform(1,inf)"], r"temperature needs LOW < HIGH, got uniform\(1, inf\)"),
        (["temperature=randint(0,1.5)"], "temperature needs two whole numbers"),
        (["temperature=normal(0,1)"], r"temperature must be A,B,C or .*choice\(A,B,C\), got 'normal\(0,1\)'"),
        (["temperature=uniform(0,1"], r"temperature must be A,B,C or .*, got 'uniform\(0,1'"),
        ([f"{name}=1,2,3,4,5,6,7,8,9,10" for name in "abcde"], "1 to 10,000 trials, got 100000"),
    ],
)
def test_texts_that_name_no_trials_are_refused(texts, message):
    with pytest.raises(ValueError, match=message):
        trials_of(texts)


def test_ranges_without_samples_are_refused():
    with pytest.raises(ValueError, match="got 0: name --over, and --samples of ranges"):
        trials_of(["temperature=1:2"], samples=0)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", {"temperature": 1}, "temperature in .* must be a list of values or text of the form .*, got 1"),
        ("a.json", {"temperature": [1, None]}, r"must be a list of values .*, got \[1, None\]"),
        ("a.json", {"temperature": []}, r"must be a list of values .*, got \[\]"),
        ("a.json", {"seed": [1]}, "seed stands twice"),
        ("a.json", [1], "must hold settings by name, got list"),
        ("a.toml", 1, "is not valid TOML"),
    ],
)
def test_files_that_name_nothing_to_try_are_refused(tmp_path, name, content, message):
    (tmp_path / name).write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_space(["seed=0"], str(tmp_path / name))
    with pytest.raises(ValueError, match="there is no such file"):
        read_space([], str(tmp_path / "none.json"))


def test_distributions_may_follow_the_name_of_a_setting():
    given = ["--out", "x", "--loss.temperature", "loguniform(0.03,0.3)", "--over", "loss.beta=0,1", "--seed", "2"]
    expected = [
        "--out",
        "x",
        "--over",
        "loss.temperature=loguniform(0.03,0.3)",
        "--over",
        "loss.beta=0,1",
        "--seed",
        "2",
    ]
    assert with_spaces("config", given) == ("config", expected)
