"""The record of a run: what is written is read, also after a resume and while it grows."""

import math

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pretrain.training.record import FILE, MetricsLog, parse_lines, read_metrics


def test_what_is_written_is_read_at_once(tmp_path):
    log = MetricsLog(str(tmp_path / "run"))
    records = [{"step": 10, "loss/total": 1.5}, {"step": 20, "loss/total": 0.1, "data/wait_seconds": 0.25}]
    for record in records:
        log.write(record)
        assert read_metrics(str(tmp_path / "run"))[-1] == record
    assert read_metrics(str(tmp_path / "run")) == records


def test_tensorboard_has_the_same_numbers(tmp_path):
    log = MetricsLog(str(tmp_path))
    log.write({"step": 10, "loss/total": 1.5})
    log.write({"step": 20, "loss/total": 0.5})
    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert board.Tags()["scalars"] == ["loss/total"]
    assert [(event.step, event.value) for event in board.Scalars("loss/total")] == [(10, 1.5), (20, 0.5)]


def test_after_a_resume_the_later_record_of_a_step_counts(tmp_path):
    first = MetricsLog(str(tmp_path))
    for step in (10, 20, 30):
        first.write({"step": step, "loss/total": 1.0})
    resumed = MetricsLog(str(tmp_path))
    for step in (20, 30, 40):
        resumed.write({"step": step, "loss/total": 2.0})
    assert [(r["step"], r["loss/total"]) for r in read_metrics(str(tmp_path))] == [(10, 1), (20, 2), (30, 2), (40, 2)]


def test_a_line_that_is_being_written_is_left_out(tmp_path):
    text = '{"step": 1}\n{"step": 2}\n{"st'
    assert list(parse_lines(text)) == [{"step": 1}, {"step": 2}]
    assert list(parse_lines(text + 'ep": 3}')) == [{"step": 1}, {"step": 2}]
    assert list(parse_lines("")) == []
    (tmp_path / FILE).write_text(text, encoding="utf-8")
    assert read_metrics(str(tmp_path)) == [{"step": 1}, {"step": 2}]


def test_a_line_torn_by_a_crash_is_cut_when_the_run_goes_on(tmp_path):
    (tmp_path / FILE).write_text('{"step": 1}\n{"st', encoding="utf-8")
    MetricsLog(str(tmp_path)).write({"step": 2})
    assert read_metrics(str(tmp_path)) == [{"step": 1}, {"step": 2}]


def test_numbers_that_are_not_finite_survive(tmp_path):
    MetricsLog(str(tmp_path)).write({"step": 1, "grad/norm": math.inf})
    assert read_metrics(str(tmp_path)) == [{"step": 1, "grad/norm": math.inf}]


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"holds no metrics\.jsonl; is it a run directory of python -m pretrain train"):
        read_metrics(str(tmp_path))
