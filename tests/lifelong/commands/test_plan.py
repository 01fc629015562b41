"""What a person reads of a plan, in terminals of any width."""

import json
from pathlib import Path

import pytest

from cluster.console import console
from lifelong.__main__ import COMMANDS
from tests.lifelong.people import write_people


@pytest.mark.parametrize("columns", [60, 80, 250])
def test_a_plan_can_be_read_at_any_width(columns: int, tmp_path: Path, monkeypatch, capsys):
    for seed, name in enumerate(("north", "south-entrance")):
        write_people(tmp_path / name, people=4, seed=seed)
    monkeypatch.setattr(console, "width", columns)
    stages = [word for name in ("north", "south-entrance") for word in ("--stage", str(tmp_path / name))]
    COMMANDS["plan"].run("lifelong plan", ["lreid-bc-tiny", *stages])
    printed = capsys.readouterr()
    lines = printed.err.splitlines()
    assert lines[0] == "2 stages, starting from random weights"
    for number, stage in enumerate(json.loads(printed.out)["stages"], 1):
        assert lines[3 * number - 2 : 3 * number + 1] == [
            f"{number}. {stage['stage']}: lreid-bc-tiny, {stage['steps']} steps on 16 images of 4 identities",
            f"   tested with {stage['query']} queries in a gallery of {stage['gallery']}",
            f"   loss: {stage['terms']}",
        ]
