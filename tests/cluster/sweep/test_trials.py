"""What a trial says and what is kept of it, without Ray."""

import pytest

from cluster import storage
from cluster.sweep.trials import Reporter, begin, folder_of, new_record, ordered, write_record


def test_reports_reach_the_sweep_and_steps_past_the_last_rung_are_not_halved():
    said = []
    reporter = Reporter("/f", "mAP", said.append, max_steps=10)
    reporter.report(5, {"mAP": 0.1, "loss": 3})
    reporter.report(10, {"mAP": 0.2})
    reporter.finish({"mAP": 0.3})
    assert said == [
        {"at": 5, "step": 5, "value": 0.1, "metrics": {"mAP": 0.1, "loss": 3.0}},
        {"at": 10, "value": 0.2, "metrics": {"mAP": 0.2}},
        {"final": True, "value": 0.3, "metrics": {"mAP": 0.3}},
    ]


def test_a_trial_that_goes_on_says_again_what_it_said_before():
    earlier = [{"step": step, "metrics": {"mAP": step / 10}} for step in (1, 2, 3)]
    said = []
    Reporter("/f", "mAP", said.append, earlier=earlier).report(3, {"mAP": 0.9})
    assert [(one["step"], one["value"]) for one in said] == [(1, 0.1), (2, 0.2), (3, 0.9)]
    said = []
    Reporter("/f", "mAP", said.append, earlier=earlier).report(0, {"mAP": 0.9})
    assert [one["step"] for one in said] == [0], "one that starts anew does not"


def test_reports_that_cannot_be_ordered_are_refused():
    reporter = Reporter("/f", "mAP", lambda report: None)
    with pytest.raises(ValueError, match="must report a finite mAP, got loss"):
        reporter.report(1, {"loss": 1})
    with pytest.raises(ValueError, match="must report a finite mAP, got loss=nan"):
        reporter.report(2, {"mAP": 1, "loss": float("nan")})
    with pytest.raises(ValueError, match="must report a finite mAP, got none"):
        reporter.finish({})
    with pytest.raises(ValueError, match="increasing steps >= 0, got 2 after 2"):
        reporter.report(2, {"mAP": 1})


def test_records_are_found_again_and_another_sweep_is_refused(tmp_path):
    out, trials = str(tmp_path), [{"x": "1"}, {"x": 2.5}]
    names = list(begin(out, trials, metric="mAP"))
    assert [one["trial"] for one in storage.read_json(f"{out}/trials.json")["trials"]] == names
    record = new_record(trials[1]) | {"state": "finished", "metrics": {"mAP": 0.5}}
    write_record(out, names[1], record)
    assert begin(out, trials, metric="mAP") == {names[0]: new_record(trials[0]), names[1]: record}
    for changed in ({"trials": trials[:1], "metric": "mAP"}, {"trials": trials, "metric": "rank1"}):
        with pytest.raises(ValueError, match=r"belongs to a sweep with other settings \(.*\); go on with"):
            begin(out, **changed)
    for alike in ([], [{"x": 1}, {"x": "1"}]):
        with pytest.raises(ValueError, match="needs trials that differ"):
            begin(out, alike)


@pytest.mark.parametrize(("mode", "names"), [("max", "cadbe"), ("min", "acbde")])
def test_finished_trials_come_first_then_those_that_were_stopped(mode, names):
    def record(state, value, steps):
        return new_record({}) | {
            "state": state,
            "metrics": {"m": value},
            "reports": [{"step": step, "metrics": {"m": value}} for step in range(1, steps + 1)],
            "error": "no",
        }

    records = {
        "a": record("finished", 1.0, 0),
        "b": record("stopped", 9.0 if mode == "max" else 1.0, 2),
        "c": record("finished", 2.0, 9),
        "d": record("stopped", 5.0, 3 if mode == "max" else 2),
        "e": record("failed", 0.0, 1),
    }
    entries = ordered("/out", records, "m", mode)
    assert "".join(entry["trial"][-1] for entry in entries) == names
    assert entries[0]["trial"] == folder_of("/out", names[0])
    assert [entry.get("stopped_at") for entry in entries][:2] == [None, None]
    assert entries[-1] == {"settings": {}, "trial": "/out/trials/e", "steps": 1, "error": "no"}
