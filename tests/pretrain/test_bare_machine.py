"""The step and the augmentation on a machine that has torch, torchvision, numpy and scipy alone."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ABSENT = ("ray", "pyarrow", "fsspec", "tyro", "rich", "timm", "cv2", "av", "safetensors")
OPTIONS = ("--device=cpu", "--architecture=tiny", "--height=64", "--width=32", "--batch=8", "--steps=2")
PROGRAM = """
import runpy
import sys


class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Absent())
sys.argv = ["benchmarks/speed/gpu_rows.py", *OPTIONS]
sys.path[0] = "benchmarks/speed"
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.slow
def test_the_rows_for_a_gpu_are_measured_without_our_other_dependencies():
    program = f"ABSENT, OPTIONS = {ABSENT}, {OPTIONS}\n{PROGRAM}"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    rows = found["rows"]["plain"]
    assert (found["device"], list(found["rows"]), rows["encoder"]["ratio"]) == ("cpu", ["plain"], 1.0)
    assert len(rows) == 5
    assert found["provenance"]["versions"].keys() >= {"python", "torch", "numpy"}
    assert all(row["images_per_second"] > 0 for row in rows.values())
