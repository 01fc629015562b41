"""What runs on a GPU machine runs here in a small form, and what it printed there is shown as it was."""

import json

import pytest

from benchmarks import results_file
from benchmarks.speed import gpu_checks, gpu_saved

SMALL = ("--device=cpu", "--architecture=tiny", "--height=64", "--width=32", "--batch=16")
SAVED = [path for path in sorted(results_file.FOLDER.glob("*.json")) if results_file.read(str(path))["kind"] == "gpu"]


def test_the_checks_of_a_gpu_hold_on_a_cpu(capsys):
    assert gpu_checks.main([*SMALL, "--checks", "resume", "retrieval", "qaconv"]) == 0
    checks = json.loads(capsys.readouterr().out)["checks"]
    assert list(checks) == ["resume", "retrieval", "qaconv"]
    assert (checks["resume"]["step"], checks["resume"]["largest_gap"]) == (3, 0.0)
    assert checks["qaconv"]["float32"]["largest_gap"] == 0.0


@pytest.mark.parametrize("path", SAVED, ids=lambda path: path.stem)
def test_a_stored_table_is_that_of_what_was_printed(path):
    content = results_file.read(str(path))
    assert content["table"] == gpu_saved.table(content["printed"])
    assert f"{content['printed'][0]['rows']['plain']['encoder']['images_per_second']:,.0f}" in content["table"]
