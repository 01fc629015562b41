"""What is learned has not changed. A change of the recorded numbers needs a reason in the commit message."""

import json

import pytest

from tests.golden.traces import FILE, NAMES, STAGES, STEPS, record

GOLDEN = json.loads(FILE.read_text(encoding="utf-8"))
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_learns_what_it_learned(name: str):
    found = record(name)
    assert len(found) == STEPS * STAGES.get(name, 1)
    for step, (line, wanted) in enumerate(zip(found, GOLDEN[name], strict=True), 1):
        assert line == pytest.approx(wanted, rel=1e-6, abs=1e-9), step
