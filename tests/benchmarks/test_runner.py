"""Arms x seeds: what is done is kept, what fails takes nothing away, and the results say where they come from."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import results_file
from benchmarks.studies.runner import RunnerConfig, StudyFailed, folder_of, run_study
from cluster.errors import InputError
from tests.benchmarks.tiny import tiny

ROOT = Path(__file__).parents[2]
TABLE = "| arm | mAP |\n|---|---|\n| half | 2.5 ± 3.5 |\n| whole | 5.0 ± 7.1 |"


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A finished study, in four processes."""
    out, before = tmp_path_factory.mktemp("studies"), dict(os.environ)
    content = run_study(tiny(), RunnerConfig(out=str(out), processes=4))
    assert dict(os.environ) == before, "one thread is for the runs alone"
    return out, content


def calls_of(out: Path) -> dict[str, int]:
    return {str(path.parent.relative_to(out)): len(path.read_text(encoding="utf-8")) for path in out.rglob("calls")}


def test_a_study_gives_its_numbers_by_arm_and_seed_with_a_table_and_a_picture(done):
    out, content = done
    one = {"steps": 1, "threads": "1"}
    assert content["results"] == {
        "half": {"0": {"mAP": 0.0, **one}, "1": {"mAP": 0.05, **one}},
        "whole": {"0": {"mAP": 0.0, **one}, "1": {"mAP": 0.1, **one}},
    }
    assert list(content["results"]) == list(content["arms"]) == ["half", "whole"]
    assert (content["seeds"], content["options"], content["table"]) == ([0, 1], {"steps": 1}, TABLE)
    assert (out / "tiny" / "table.md").read_text(encoding="utf-8") == f"{TABLE}\n"
    assert (out / "tiny" / "picture.svg").read_text(encoding="utf-8") == "half whole"


def test_the_results_file_has_its_format_and_where_the_numbers_come_from(done):
    out, content = done
    saved = results_file.read(str(out / "tiny" / "results.json"))
    assert saved == json.loads(json.dumps({"format": "perennial benchmark", "version": 1, **content}))
    known = saved["provenance"]
    assert known.keys() >= {"commit", "dirty", "versions", "machine", "load", "command", "date", "seconds"}
    assert known["commits"] == [known["commit"]]
    assert known["versions"].keys() >= {"python", "torch", "numpy", "ray"}
    assert 0 < known["seconds"] < 600


def test_one_process_gives_what_four_give(done, tmp_path):
    _, content = done
    alone = run_study(tiny(seeds=(1,)), RunnerConfig(out=str(tmp_path), processes=1))
    assert alone["results"] == {arm: {"1": by_seed["1"]} for arm, by_seed in content["results"].items()}


def test_what_is_done_is_not_done_again(done):
    out, content = done
    before = calls_of(out)
    assert set(before.values()) == {1}
    assert len(before) == 2 + 4
    again = run_study(tiny(), RunnerConfig(out=str(out)))
    assert calls_of(out) == before
    assert again["results"] == content["results"]


def test_other_settings_are_refused_and_nothing_is_run(done):
    out, _ = done
    before = calls_of(out)
    with pytest.raises(InputError, match=r"other settings \(options.steps: 1 -> 2\).*another --out"):
        run_study(tiny(steps=2), RunnerConfig(out=str(out)))
    changed = replace(tiny(), arms={**tiny().arms, "whole": {"share": 3.0, "sizes": (1, 2)}})
    with pytest.raises(InputError, match=r"whole, seed 0\) with other settings \(settings.share: 1.0 -> 3.0\)"):
        run_study(changed, RunnerConfig(out=str(out)))
    assert calls_of(out) == before


def test_a_run_that_fails_or_is_killed_takes_no_other_away(tmp_path, monkeypatch):
    monkeypatch.setattr(results_file, "FOLDER", tmp_path / "results")
    study = tiny(arms=("fails", "dies", "whole"), seeds=(1,))
    config = RunnerConfig(out=str(tmp_path), save="tiny")
    with pytest.raises(
        StudyFailed, match=r"2 runs failed \(fails, seed 1: ZeroDivisionError: no such share; dies, seed 1: .*killed"
    ):
        run_study(study, config)
    runs = tmp_path / "tiny" / "runs"
    assert "in run\n" in (runs / "fails" / "1" / "error.txt").read_text(encoding="utf-8")
    assert list(results_file.read(str(tmp_path / "tiny" / "results.json"))["results"]) == ["whole"]
    assert not (tmp_path / "results").exists()
    (tmp_path / "prepared" / "mended").touch()
    mended = run_study(tiny(arms=("fails", "whole"), seeds=(1,)), config)
    assert list(mended["results"]) == ["fails", "whole"]
    assert calls_of(runs) == {"fails/1/files": 2, "dies/1/files": 1, "whole/1/files": 1}
    assert not (runs / "fails" / "1" / "error.txt").exists()
    assert results_file.read(str(tmp_path / "results" / "tiny.json"))["results"] == mended["results"]


def test_a_runner_that_is_killed_leaves_no_run_behind(tmp_path):
    """Started again, the study would meet it in the same folder."""
    program = (
        "from benchmarks.studies.runner import RunnerConfig, run_study; from tests.benchmarks.tiny import tiny; "
        f"run_study(tiny(arms=('waits',), seeds=(0,)), RunnerConfig(out={str(tmp_path)!r}))"
    )
    runner = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT)
    pid = tmp_path / "prepared" / "pid"
    wait_until(lambda: pid.exists() and pid.read_text(encoding="utf-8") != "")
    runner.kill()
    runner.wait()
    wait_until(lambda: not is_alive(int(pid.read_text(encoding="utf-8"))))


def wait_until(is_so) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that ended and that nobody asked about is a zombie."""
    status = Path(f"/proc/{pid}/status")
    return status.exists() and "State:\tZ" not in status.read_text(encoding="utf-8")


def test_results_of_another_study_are_not_replaced(done, tmp_path, monkeypatch):
    out, content = done
    monkeypatch.setattr(results_file, "FOLDER", tmp_path)
    results_file.write(str(tmp_path / "kept.json"), {**content, "name": "other"})
    with pytest.raises(InputError, match="is a result of other, not of tiny; give another --save"):
        run_study(tiny(), RunnerConfig(out=str(out), save="kept"))
    with pytest.raises(InputError, match=r"--save must be a name such as demo-seeds.*got '../x'"):
        run_study(tiny(), RunnerConfig(out=str(out), save="../x"))


def test_an_arm_has_a_folder_whatever_its_name():
    assert folder_of("dwpp, T = 1") == "dwpp-T-1"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RunnerConfig(processes=0), "processes must be >= 1, got 0"),
        (lambda: tiny(seeds=()), "seeds must not be empty"),
        (lambda: run_study(tiny(), RunnerConfig(out="s3://bucket/studies")), "--out must be a local folder"),
    ],
)
def test_unusable_options_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
