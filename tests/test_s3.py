"""The whole chain on an object store: videos, clips, runs and models behind s3:// URLs, on moto's server."""

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import boto3
import pytest
from moto.moto_server.threaded_moto_server import ThreadedMotoServer

import evaluation.__main__
import lifelong.__main__
import pretrain.__main__
from cluster import session
from cluster.console import run_cli
from pretrain.models.directory import load_embedder
from tests.evaluation.people import write_market
from tests.lifelong.runs.runs import write_domains
from tests.pretrain.ingest.films import write_folder

ROOT = Path(__file__).parents[1]
BUCKET = "films"


@dataclass
class Store:
    """A bucket, and what a process needs to find it."""

    environment: dict[str, str]

    def client(self):
        return boto3.client("s3", endpoint_url=self.environment["AWS_ENDPOINT_URL"], region_name="us-east-1")

    def keys(self, prefix: str = "") -> list[str]:
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]

    def json(self, key: str) -> dict:
        return json.loads(self.client().get_object(Bucket=BUCKET, Key=key)["Body"].read())

    def here(self, main: ModuleType, line: str) -> dict:
        """Run a command that needs no Ray in this process: a process of its own takes seconds to begin."""
        said = io.StringIO()
        with contextlib.redirect_stdout(said), pytest.raises(SystemExit) as ended:
            run_cli(f"python -m {main.__package__}", main.COMMANDS, line.split())
        assert ended.value.code == 0
        return json.loads(said.getvalue().splitlines()[-1])

    def run(self, package: str, line: str) -> dict:
        """Run a command in a process of its own, on the cluster of all tests, and return its result.

        Its workers learn of the bucket as those of a submitted job do; Ray reads that from the environment.
        """
        job = {"RAY_ADDRESS": session.address()}
        job["RAY_JOB_CONFIG_JSON_ENV_VAR"] = json.dumps({"runtime_env": {"env_vars": self.environment}})
        done = subprocess.run(
            [sys.executable, "-m", package, *line.split()],
            cwd=ROOT,
            env={**os.environ, **job, **self.environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
            encoding="utf-8",
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def store(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    environment = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.setattr(session, "disconnect", lambda: None)  # the cluster belongs to all tests
        store = Store(environment)
        store.client().create_bucket(Bucket=BUCKET)
        films = write_folder(tmp_path_factory.mktemp("films"))
        for path in films.rglob("*.*"):
            store.client().upload_file(str(path), BUCKET, f"videos/{path.relative_to(films).as_posix()}")
        yield store
    server.stop()


@pytest.mark.ray
def test_from_videos_to_a_model_and_its_scores(store: Store, tmp_path: Path):
    prepare = (
        f"prepare s3://{BUCKET}/videos --out s3://{BUCKET}/clips --detector boxes --clip-seconds 2 "
        "--segment-seconds 4 --min-height 40 --workers 2"
    )
    totals = store.run("pretrain", prepare)
    assert (totals["videos"], totals["done"], totals["quarantined"]) == (4, 2, 2)
    assert totals["clips"] >= 8
    report = store.json("clips/report.json")
    assert {name: totals[name] for name in report["totals"]} == report["totals"]
    assert {video["video_id"] for video in report["videos"]} == {"a.mp4", "cut.mp4", "notes.mp4", "yard/b.mp4"}
    assert len(store.keys("clips/clips/")) == 6
    assert store.keys("clips/attempts") == []

    train = (
        f"train isr-tiny --clips s3://{BUCKET}/clips --out s3://{BUCKET}/runs/one --epochs 2 --batch-pairs 4 "
        "--checkpoint-every 2 --cpus-per-worker 1 --log-every 2 --model.height 32 --model.width 16"
    )
    final = store.run("pretrain", train)
    steps = 2 * totals["clips"] // 4
    assert final["step"] == steps
    keys = store.keys("runs/one/")
    assert {"runs/one/config.json", "runs/one/done.json", "runs/one/metrics.jsonl"} <= set(keys)
    assert any(key.startswith("runs/one/tensorboard/events") for key in keys)
    checkpoint = f"runs/one/checkpoints/{steps:09d}"
    assert final["checkpoint"] == f"s3://{BUCKET}/{checkpoint}"
    assert {f"{checkpoint}/{name}" for name in ("model.safetensors", "optimizer.safetensors", "state.json")} <= set(
        keys
    )
    assert store.here(pretrain.__main__, train) == final, "the same again is done already"

    export = store.here(pretrain.__main__, f"export s3://{BUCKET}/runs/one --out s3://{BUCKET}/models/one")
    assert export["step"] == steps
    assert store.keys("models/one/") == [
        f"models/one/{name}" for name in ("README.md", "config.json", "model.safetensors")
    ]
    assert load_embedder(f"s3://{BUCKET}/models/one").fingerprint == export["fingerprint"]

    people = tmp_path / "people"
    write_market(people)
    for path in people.rglob("*.jpg"):
        store.client().upload_file(str(path), BUCKET, f"people/{path.relative_to(people).as_posix()}")
    embed = f"embed s3://{BUCKET}/models/one s3://{BUCKET}/people --out s3://{BUCKET}/features/one.parquet --maps"
    assert store.run("evaluation", embed)["maps"] == f"s3://{BUCKET}/features/one.maps"
    names = {"one.parquet", *(f"one.maps/{name}" for name in ("config.json", "maps.npy", "rows.parquet"))}
    assert {key.removeprefix("features/") for key in store.keys("features/")} == names
    score = store.here(evaluation.__main__, f"score s3://{BUCKET}/features/one.parquet --matcher qaconv --exact")
    assert score["num_gallery"] == 6 * 2 + 3
    options = "--matcher qaconv --queries 2"
    report = f"report s3://{BUCKET}/features/one.parquet --out s3://{BUCKET}/report.html {options}"
    assert store.here(evaluation.__main__, report)["scores"]["one"]["mAP"] > 0
    assert store.keys("report.html") == ["report.html"]


@pytest.mark.ray
def test_lifelong_stages_and_their_gallery(store: Store, tmp_path: Path):
    write_domains(tmp_path)
    for path in tmp_path.rglob("*.png"):
        store.client().upload_file(str(path), BUCKET, f"domains/{path.relative_to(tmp_path).as_posix()}")
    domains, run = f"s3://{BUCKET}/domains", f"s3://{BUCKET}/lifelong"
    line = (
        f"run lreid-bc-tiny --stage {domains}/north --stage {domains}/south --out {run} --epochs 1 "
        "--batch-identities 4 --model.height 32 --model.width 16 --model.embedding-size 8"
    )
    result = store.run("lifelong", line)
    assert [stage["name"] for stage in result["stages"]] == ["north", "south"]
    before = {key for key in store.keys("lifelong/") if key.startswith(("lifelong/stages", "lifelong/features"))}
    assert "lifelong/stages/02-south/memory.parquet" in before
    assert store.here(lifelong.__main__, line) == result, "the same again is done already"
    promoted = store.here(lifelong.__main__, f"promote {run} --tolerance 1 --max-forgetting 1 --gallery {run}/gallery")
    assert promoted["stage"] == 2
    verified = store.here(lifelong.__main__, f"gallery verify {run}/gallery")
    assert verified["items"] == 48
    hits = store.here(lifelong.__main__, f"gallery search {run}/gallery {run}/features/north/by-02.parquet -k 3")
    assert hits
