"""Where a number comes from."""

import os
import subprocess
from datetime import UTC, datetime

from benchmarks import provenance, results_file


def git(folder, *arguments):
    identity = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, encoding="utf-8")
    return done.stdout.strip()


def test_a_tree_is_dirty_when_code_differs_from_the_commit(tmp_path):
    assert provenance.commit(tmp_path) == {"commit": None, "dirty": None}
    git(tmp_path, "init", "--quiet")
    (tmp_path / "a.py").write_text("1\n", encoding="utf-8")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    head = git(tmp_path, "rev-parse", "HEAD")
    (tmp_path / "notes.txt").touch()
    (tmp_path / "benchmarks" / "results").mkdir(parents=True)
    (tmp_path / "benchmarks" / "results" / "speed.json").touch()
    assert provenance.commit(tmp_path) == {"commit": head, "dirty": False}
    (tmp_path / "new.py").touch()
    assert provenance.commit(tmp_path) == {"commit": head, "dirty": True}
    (tmp_path / "new.py").unlink()
    (tmp_path / "a.py").write_text("2\n", encoding="utf-8")
    assert provenance.commit(tmp_path) == {"commit": head, "dirty": True}


def test_a_watch_says_when_where_and_with_what():
    before = datetime.now(UTC).replace(microsecond=0)
    known = provenance.Watch().provenance()
    assert before <= datetime.fromisoformat(known["date"]) <= datetime.now(UTC)
    assert known["date"].endswith("+00:00")
    assert known["versions"]["python"].startswith("3.")
    assert known["machine"]["processor"]
    assert 1 <= known["machine"]["cores"] <= os.cpu_count()
    assert 0.1 < known["machine"]["memory_gb"] < 1e5
    assert isinstance(known["machine"]["gpus"], list)
    assert known["command"].startswith("python ")


def test_a_line_says_where_a_result_comes_from():
    known = {
        "commit": "0123456789abcdef",
        "dirty": True,
        "machine": {"processor": "Chip", "cores": 2, "gpus": ["Card"]},
        "command": "python -m benchmarks.studies recipes",
        "date": "2026-01-02T03:04:05+00:00",
        "seconds": 1234.5,
    }
    assert results_file.from_line(known, None) == (
        "`python -m benchmarks.studies recipes`: 2026-01-02, commit 0123456789 with changes, Chip, 2 cores, Card, "
        "21 minutes."
    )
    assert results_file.from_line(None, results_file.UNKNOWN) == (
        "Measured before version 0.2.0, without a record of commit and machine."
    )
