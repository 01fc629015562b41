"""Lifelong stages on an object store: images, runs, features and the gallery behind s3:// URLs, on moto's server.

Videos, clips and pretraining there: `tests.test_jobs`.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import evaluation.__main__
import lifelong.__main__
from cluster import session
from lifelong.runs.backend import LocalBackend
from tests.buckets import Bucket, serve_bucket
from tests.commands import here
from tests.evaluation.people import write_market
from tests.lifelong.runs.runs import write_domains

ROOT = Path(__file__).parents[1]


def run(store: Bucket, package: str, line: str) -> dict[str, Any]:
    """Run a command in a process of its own, on the cluster of all tests, and return its result.

    Its workers learn of the bucket as those of a submitted job do; Ray reads that from the environment.
    """
    job = {"RAY_ADDRESS": session.address()}
    job["RAY_JOB_CONFIG_JSON_ENV_VAR"] = json.dumps({"runtime_env": {"env_vars": store.variables}})
    done = subprocess.run(
        [sys.executable, "-m", package, *line.split()],
        cwd=ROOT,
        env={**os.environ, **job, **store.variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def store(ray_cluster: None) -> Iterator[Bucket]:
    with serve_bucket("people") as made, pytest.MonkeyPatch.context() as patch:
        for name, value in made.variables.items():
            patch.setenv(name, value)
        yield made


@pytest.mark.ray
def test_lifelong_stages_and_their_gallery(store: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_domains(tmp_path)
    domains, out = store.put(tmp_path, "domains"), f"{store.url}/lifelong"
    first = (
        f"run lreid-bc-tiny --stage {domains}/north --out {out} --epochs 1 "
        "--batch-identities 4 --model.height 32 --model.width 16 --model.embedding-size 8"
    )
    line = f"{first} --stage {domains}/south"
    with monkeypatch.context() as patch:  # where a stage is trained is no part of a run, and Ray takes half a minute
        patch.setattr("lifelong.commands.run.RayBackend", LocalBackend)
        assert [stage["name"] for stage in here(lifelong.__main__, first)["stages"]] == ["north"]
    result = run(store, "lifelong", line)
    assert [stage["name"] for stage in result["stages"]] == ["north", "south"]
    assert "lifelong/stages/02-south/memory.parquet" in store.keys("lifelong/stages")
    assert here(lifelong.__main__, line) == result, "the same again is done already"
    promoted = here(lifelong.__main__, f"promote {out} --tolerance 1 --max-forgetting 1 --gallery {out}/gallery")
    assert promoted["stage"] == 2
    verified = here(lifelong.__main__, f"gallery verify {out}/gallery")
    assert verified["items"] == 48
    hits = here(lifelong.__main__, f"gallery search {out}/gallery {out}/features/north/by-02.parquet -k 3")
    assert hits

    people = tmp_path / "market"
    write_market(people)
    made = f"{store.url}/features/two.parquet"
    embed = f"embed {out}/stages/02-south/model {store.put(people, 'market')} --out {made} --maps --workers 1"
    assert run(store, "evaluation", embed)["maps"] == f"{store.url}/features/two.maps"
    names = {"two.parquet", *(f"two.maps/{name}" for name in ("config.json", "maps.npy", "rows.parquet"))}
    assert {key.removeprefix("features/") for key in store.keys("features/")} == names
    score = here(evaluation.__main__, f"score {made} --matcher qaconv --exact")
    assert score["num_gallery"] == 6 * 2 + 3
    options = "--matcher qaconv --queries 2"
    report = here(evaluation.__main__, f"report {made} --out {store.url}/report.html {options}")
    assert report["scores"]["two"]["mAP"] > 0
    assert store.keys("report.html") == ["report.html"]
