"""What a person reads of a plan, in terminals of any width."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lifelong.people import write_people

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("columns", ["60", "80", "250"])
def test_a_plan_can_be_read_at_any_width(columns: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for seed, name in enumerate(("north", "south-entrance")):
        write_people(tmp_path / name, people=4, seed=seed)
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    stages = [word for name in ("north", "south-entrance") for word in ("--stage", str(tmp_path / name))]
    argv = [sys.executable, "-m", "lifelong", "plan", "lreid-bc-tiny", *stages]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, encoding="utf-8", check=True)
    lines = done.stderr.splitlines()
    assert lines[0] == "2 stages, starting from random weights"
    for number, stage in enumerate(json.loads(done.stdout)["stages"], 1):
        assert lines[3 * number - 2 : 3 * number + 1] == [
            f"{number}. {stage['stage']}: lreid-bc-tiny, {stage['steps']} steps on 16 images of 4 identities",
            f"   tested with {stage['query']} queries in a gallery of {stage['gallery']}",
            f"   loss: {stage['terms']}",
        ]
