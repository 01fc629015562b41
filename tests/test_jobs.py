"""The commands as jobs of a Ray cluster: `ray job submit` against a small head of its own on this machine.

What goes in and comes out lies in a bucket of moto's server, as at its users'.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from ray._private.ray_constants import RAY_RUNTIME_ENV_DEFAULT_EXCLUDES
from ray._private.runtime_env.packaging import create_package

import pretrain.__main__
from cluster import storage
from pretrain.models.directory import load_embedder
from pretrain.recipes import isr_tiny
from pretrain.runs import latest_checkpoint
from pretrain.sweep import SweepConfig, sweep_pretraining
from pretrain.training.record import read_metrics
from tests.buckets import Bucket, serve_bucket
from tests.commands import here
from tests.pretrain.ingest.films import write_clips_directory, write_folder
from tests.processes import UNGUARDED

pytestmark = pytest.mark.ray
ROOT = Path(__file__).parents[1]
RAY = str(Path(sys.executable).with_name("ray"))
PRETRAIN = f"{sys.executable} -m pretrain"
SMALL = "--batch-pairs 4 --cpus-per-worker 1 --model.height 32 --model.width 16"
EVERY_STEP = "--checkpoint-every 2 --log-every 1"
STEPS = 30
"""Two videos of six clips, ten epochs, four pairs a step."""
SLOWLY = {"RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "1"}
"""A step that is reported takes as long, so that there is time to stop the run."""


@dataclass
class Head:
    """The head of a cluster, and what a process needs to talk to it."""

    url: str
    environment: dict[str, str]

    def submit(
        self, identifier: str, entrypoint: str, variables: dict[str, str] | None = None
    ) -> "subprocess.Popen[str]":
        """Submit a job as a person does, and follow its log; `variables` are for all of its processes."""
        where = ["--address", self.url, "--working-dir", ".", "--submission-id", identifier]
        where += ["--runtime-env-json", json.dumps({"env_vars": variables or {}})]
        command = [RAY, "job", "submit", *where, "--", "bash", "-c", entrypoint]
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command, cwd=ROOT, env=self.environment, stdout=pipe, stderr=subprocess.STDOUT, text=True, encoding="utf-8"
        )

    def stop(self, identifier: str) -> None:
        command = [RAY, "job", "stop", "--address", self.url, identifier]
        subprocess.run(command, env=self.environment, check=True, capture_output=True, timeout=300)

    def ended(self, identifier: str) -> dict[str, Any]:
        """What Ray says of a job when it is over: on a busy machine the logs that are followed may end before."""
        wait_until(lambda: self.get(f"/api/jobs/{identifier}")["status"] not in {"PENDING", "RUNNING"}, identifier)
        return self.get(f"/api/jobs/{identifier}")

    def get(self, path: str) -> dict[str, Any]:
        header = {"Authorization": f"Bearer {self.environment['RAY_AUTH_TOKEN']}"}
        # The opener of the process may have learned of a proxy, from the environment or from an earlier test.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(urllib.request.Request(self.url + path, headers=header), timeout=10) as answer:
            return json.load(answer)


def free_ports(count: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 900) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    port, dashboard, agent, client = free_ports(4)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    # Ray listens on all addresses whatever it is told: without the token nobody submits anything.
    access = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": uuid.uuid4().hex}
    environment = {**inherited, **access, **UNGUARDED, "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
    # The names of sockets below it have 107 bytes at most, and pytest's own folders use up many.
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        options = (
            f"--head --block --num-cpus 6 --temp-dir {folder} --port {port} --include-dashboard true "
            f"--dashboard-host 127.0.0.1 --dashboard-port {dashboard} --dashboard-agent-listen-port {agent} "
            f"--ray-client-server-port {client} --min-worker-port 0 --max-worker-port 0"
        )
        command = [RAY, "start", *options.split()]
        with Path(folder, "head.log").open("w", encoding="utf-8") as log:
            process = subprocess.Popen(
                command, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        made = Head(f"http://127.0.0.1:{dashboard}", environment)
        try:
            wait_until(lambda: is_ready(made, process), "the head")
            yield made
        finally:
            # The head's own group, and nothing else; workers end with it. Asked nicely it takes half a minute.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def is_ready(head: Head, process: "subprocess.Popen[bytes]") -> bool:
    assert process.poll() is None, "the head ended by itself"
    try:
        return bool(head.get("/api/version"))
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


@pytest.fixture(scope="module")
def store() -> Iterator[Bucket]:
    with serve_bucket("jobs") as made:
        yield made


@pytest.fixture(scope="module")
def clips(store: Bucket, tmp_path_factory: pytest.TempPathFactory) -> str:
    return store.put(write_clips_directory(tmp_path_factory.mktemp("clips")), "clips")


@pytest.fixture(scope="module")
def submitted(
    head: Head, store: Bucket, clips: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, "subprocess.Popen[str]"]]:
    """Jobs that run while another is tested: most of their time goes by while processes start."""
    videos = store.put(write_folder(tmp_path_factory.mktemp("films")), "videos")
    prepare = (
        f"{PRETRAIN} prepare {videos} --out {store.url}/prepared --detector boxes --clip-seconds 2 "
        "--segment-seconds 4 --min-height 40 --workers 1"
    )
    sweep = (
        f"{PRETRAIN} sweep isr-tiny --clips {clips} --out {store.url}/sweep --over loss.beta=0,1 --epochs 1 {SMALL} "
        "--gap-seconds 0.5 --reports 1 --no-halving"
    )
    made = {
        "prepared-and-swept": head.submit("prepared-and-swept", f"{prepare} && {sweep}", store.variables),
        "refused": head.submit("refused", f"{PRETRAIN} train isr-tiny --clips {clips} --out run"),
    }
    yield made
    for process in made.values():
        process.kill()
        process.wait()


@pytest.mark.usefixtures("submitted")
def test_a_job_that_was_stopped_goes_on_when_it_is_submitted_again(
    head: Head, store: Bucket, clips: str, monkeypatch: pytest.MonkeyPatch
):
    run = f"{store.url}/run"
    command = f"{PRETRAIN} train isr-tiny --clips {clips} --out {run} --epochs 10 {SMALL} {EVERY_STEP}"
    begun = head.submit("begun", command, store.variables | SLOWLY)
    wait_until(lambda: len(checkpoints(store)) > 1, "a second checkpoint")
    head.stop("begun")
    begun.communicate(timeout=300)
    assert head.ended("begun")["status"] == "STOPPED"
    assert 2 <= checkpoints(store)[-1] < STEPS
    assert "run/done.json" not in store.keys("run/")

    log, _ = head.submit("again", command, store.variables).communicate(timeout=900)
    assert head.ended("again")["status"] == "SUCCEEDED", log[-4000:]
    for name, value in store.variables.items():
        monkeypatch.setenv(name, value)
    assert [line["step"] for line in read_metrics(run)] == list(range(1, STEPS + 1))
    lines = [json.loads(line)["step"] for line in store.read("run/metrics.jsonl").splitlines()]
    assert lines.count(1) == lines.count(2) == 1, "it goes on from a checkpoint"
    last = f"run/checkpoints/{STEPS:09d}"
    assert {f"{last}/{name}" for name in ("model.safetensors", "optimizer.safetensors", "state.json")} <= set(
        store.keys(last)
    )
    assert any(key.startswith("run/tensorboard/events") for key in store.keys("run/"))
    final = json.loads(store.read("run/done.json"))
    assert (final["step"], latest_checkpoint(run)) == (STEPS, f"{store.url}/{last}")
    again = here(pretrain.__main__, command.removeprefix(f"{PRETRAIN} "))
    assert again == {"out": run, **final, "checkpoint": f"{store.url}/{last}"}, "the same again is done already"

    export = here(pretrain.__main__, f"export {run} --out {store.url}/model")
    assert export["step"] == STEPS
    assert store.keys("model/") == [f"model/{name}" for name in ("README.md", "config.json", "model.safetensors")]
    assert load_embedder(f"{store.url}/model").fingerprint == export["fingerprint"]


def checkpoints(store: Bucket) -> list[int]:
    return sorted(int(key.split("/")[2]) for key in store.keys("run/checkpoints/") if key.endswith("state.json"))


def test_a_job_that_cannot_start_fails_with_one_line(head: Head, submitted: dict[str, "subprocess.Popen[str]"]):
    log, _ = submitted["refused"].communicate(timeout=900)
    assert submitted["refused"].returncode == 1
    job = head.ended("refused")
    assert (job["status"], job["driver_exit_code"]) == ("FAILED", 2)
    assert "\nerror: run is relative, and a job's current directory is a temporary copy" in log
    assert "Traceback" not in log


def test_what_jobs_make_is_where_they_were_told(store: Bucket, submitted: dict[str, "subprocess.Popen[str]"]):
    log, _ = submitted["prepared-and-swept"].communicate(timeout=900)
    assert submitted["prepared-and-swept"].returncode == 0, log[-4000:]
    prepared, swept = (json.loads(line) for line in log.splitlines() if line.startswith('{"out": '))
    assert (prepared["videos"], prepared["done"], prepared["quarantined"]) == (4, 2, 2)
    assert prepared["clips"] >= 8
    report = json.loads(store.read("prepared/report.json"))
    assert {name: prepared[name] for name in report["totals"]} == report["totals"]
    assert {video["video_id"] for video in report["videos"]} == {"a.mp4", "cut.mp4", "notes.mp4", "yard/b.mp4"}
    assert len(store.keys("prepared/clips/")) == 6, "the workers know the bucket too"
    assert store.keys("prepared/attempts") == []
    best = json.loads(store.read("sweep/best.json"))
    assert len(swept["trials"]) == 2
    assert best["settings"] in [trial["settings"] for trial in swept["trials"]]


def test_the_package_of_a_job_is_the_code_and_small(tmp_path: Path):
    package = tmp_path / "package.zip"
    excludes: list[str] = [*RAY_RUNTIME_ENV_DEFAULT_EXCLUDES.split(",")]
    create_package(str(ROOT), package, include_gitignore=True, excludes=excludes)
    names = ZipFile(package).namelist()
    folders = {name.split("/")[0] for name in names if "/" in name}
    assert {"cluster", "evaluation", "lifelong", "pretrain"} <= folders
    assert not folders & {"out", "tests", ".git", ".venv", ".hypothesis", ".pytest_cache", ".ruff_cache"}
    assert "evaluation/report/templates" in {str(Path(name).parent) for name in names}, "what the code reads beside it"
    assert package.stat().st_size < 5e6


def test_a_relative_location_is_refused_in_a_job(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(storage.JOB_VARIABLE, "{}")
    with pytest.raises(ValueError, match=r"^run/one is relative, .*; give an absolute path .* or an s3:// URL$"):
        storage.resolve("run/one")
    assert storage.resolve("/data/run") == "/data/run"
    assert storage.resolve("s3://films/run") == "s3://films/run"
    with pytest.raises(ValueError, match="data is relative"):  # which only trials read
        sweep_pretraining(isr_tiny(), "/clips", "/sweep", SweepConfig(validate="market1501:data"), over=["loss.beta=0"])
