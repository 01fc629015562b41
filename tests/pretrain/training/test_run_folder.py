"""The run directory: whose it is, where its record grows, and the line that follows it."""

import json
import uuid
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import fsspec
import pytest

from cluster import storage
from pretrain.config.run import PretrainConfig
from pretrain.config.scale import ScaleConfig, scaled
from pretrain.recipes import isr_tiny
from pretrain.training.record import FILE, MetricsLog, read_metrics
from pretrain.training.run_folder import VERSION, claim_run, finished, live_progress, read_config, record_folder

CONFIG = isr_tiny()
MINE = {"clips": "/clips", "num_clips": 12}


@pytest.fixture(params=["local", "remote"])
def out(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A run directory of each kind that does not exist yet."""
    if request.param == "local":
        yield str(tmp_path / "run")
        return
    name = f"memory://{uuid.uuid4().hex}"
    yield name
    system = fsspec.filesystem("memory")
    if system.exists(name):
        system.rm(name, recursive=True)


def test_a_new_directory_and_ones_own_are_free(out: str):
    claim_run(out, CONFIG, writes=False, **MINE)
    assert not storage.exists(out), "asking takes nothing"
    claim_run(out, CONFIG, **MINE)
    storage.write_json(storage.join(out, "done.json"), {"step": 3})
    claim_run(out, CONFIG, writes=False, **MINE)
    assert finished(out) == {"step": 3}


def test_who_computes_may_change_and_nothing_else(out: str):
    claim_run(out, CONFIG, **MINE)
    changes = {"workers": 2, "min_workers": 1, "cpus_per_worker": 3, "data_workers": 2, "use_gpu": True}
    changes |= {"compile": True, "checkpoint_every": 7, "keep_checkpoints": 9, "log_every": 3, "max_failures": 0}
    assert changes.keys() == {field.name for field in fields(ScaleConfig)}
    claim_run(out, scaled(CONFIG, **changes), **MINE)
    assert read_config(out, PretrainConfig).scale == ScaleConfig(**changes), "the newest is kept"
    other = replace(CONFIG, seed=1, loss=replace(CONFIG.loss, temperature=0.2))
    with pytest.raises(
        ValueError,
        match=r"belongs to a run with other settings "
        r"\(config\.seed: 0 -> 1; config\.loss\.temperature: 0\.1 -> 0\.2\); "
        "go on with the same options, or give another --out",
    ):
        claim_run(out, other, **MINE)
    with pytest.raises(ValueError, match=r"\(clips: /clips -> /others; num_clips: 12 -> 8\)"):
        claim_run(out, CONFIG, clips="/others", num_clips=8)
    storage.write_json(storage.join(out, "config.json"), {"version": VERSION, **MINE})
    with pytest.raises(ValueError, match=r"config: None -> "):
        claim_run(out, CONFIG, **MINE)


def test_other_files_are_refused(out: str):
    storage.write_bytes(storage.join(out, "thesis.tex"), b"mine")
    with pytest.raises(ValueError, match=r"holds other files and no config\.json of a run; give an empty --out"):
        claim_run(out, CONFIG, **MINE)
    assert [storage.name_of(name) for name in storage.list_files(out)] == ["thesis.tex"]


def test_what_was_saved_and_not_recorded_is_recorded_when_the_run_goes_on(out: str):
    """A driver may be killed between a worker's checkpoint and the record that the worker reported before it."""
    with record_folder(out) as folder, MetricsLog(folder) as log:
        log.write({"step": 1, "loss/total": 0.5})
    state = {"step": 3, "records": [{"step": step, "loss/total": 1.0 / step} for step in (1, 2, 3)]}
    storage.write_json(storage.join(out, "checkpoints", "000000003", "state.json"), state)
    for _ in range(2):
        with record_folder(out):
            pass
        lines = storage.read_bytes(storage.join(out, FILE)).decode().splitlines()
        assert [json.loads(line) for line in lines] == [{"step": 1, "loss/total": 0.5}, *state["records"][1:]]


def test_the_record_is_in_the_run_directory_and_goes_on_where_it_was(out: str):
    for step in (1, 2):
        with record_folder(out) as folder:
            assert not storage.is_remote(folder), "lines are appended, which object stores cannot"
            MetricsLog(folder).write({"step": step, "loss/total": 1.0 / step})
        assert [record["step"] for record in read_metrics(out)] == list(range(1, step + 1))


def test_the_record_of_a_run_that_fails_is_kept(out: str):
    def fail() -> None:
        with record_folder(out) as folder:
            MetricsLog(folder).write({"step": 1, "loss/total": 0.5})
            raise RuntimeError("the machine went away")

    with pytest.raises(RuntimeError, match="went away"):
        fail()
    assert read_metrics(out) == [{"step": 1, "loss/total": 0.5}]


def test_the_live_line_ends_with_the_last_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    record = {
        "step": 9,
        "loss/total": 1.234,
        "reliability/mean": 0.5,
        "reliability/effective_share": 0.75,
        "images_per_second": 321.0,
        "data/wait_share": 0.25,
    }
    with live_progress(str(tmp_path / FILE), 9):
        MetricsLog(str(tmp_path)).write(record)
    shown = " ".join(capsys.readouterr().err.split())
    assert "training" in shown
    assert "100%" in shown
    assert "loss 1.23 reliability 0.50 share 0.75 321 img/s data wait 25%" in shown


def test_the_live_line_of_a_run_without_a_record_ends_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with live_progress(str(tmp_path / FILE), 9):
        pass
    assert "starting workers" in " ".join(capsys.readouterr().err.split())
