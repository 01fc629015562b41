"""The commands: results as JSON, and wrong input as one line with the remedy and exit code 2."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from cluster import storage
from cluster.console import run_cli
from evaluation.datasets.images import decode_image
from evaluation.datasets.registry import read_dataset
from pretrain.__main__ import COMMANDS
from pretrain.ingest.clips import SCHEMA_VERSION, write_clips
from pretrain.ingest.config import IngestConfig
from pretrain.ingest.decoders import PyAvDecoder, probe, split
from pretrain.ingest.detectors.sidecar import SidecarDetector
from pretrain.ingest.extract import extract_clips
from pretrain.models.directory import load_embedder
from tests.pretrain.ingest.films import film, write_clips_directory, write_film, write_sidecar
from tests.pretrain.test_export import CONFIG, write_run

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def plain_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PERENNIAL_TRACEBACK", raising=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What can be got wrong: a video, clips of several kinds, a run, somebody's own files."""
    folder = tmp_path_factory.mktemp("main")
    video = write_film(folder / "films" / "v.mp4", film(60), gop=20)
    truth = write_sidecar(video, 60, 2)
    truth.rename(folder / "films" / "truth.csv")
    write_clips_directory(folder / "clips", videos=1, clips=3)
    write_clips_directory(folder / "old", videos=1, clips=3)
    storage.write_json(str(folder / "old" / "report.json"), {"schema_version": SCHEMA_VERSION + 1})
    (folder / "mine").mkdir()
    (folder / "mine" / "thesis.tex").touch()
    write_run(folder / "run", CONFIG)
    storage.write_bytes(str(folder / "fake.onnx"), b"no model")
    return folder


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        run_cli("python -m pretrain", COMMANDS, list(argv))
    streams = capsys.readouterr()
    return stop.value.code, streams.out, streams.err


@pytest.mark.parametrize(
    ("line", "messages"),
    [
        ("prepare {0}/absent --out {0}/new", ["absent does not exist", "give video files, folders or s3://"]),
        ("prepare {0}/mine --out {0}/new", ["mine holds no video", ".mp4"]),
        ("prepare --out {0}/new", ["give either videos or --crops"]),
        ("prepare {0}/films --out {0}/mine", ["mine holds other files", "give an empty --out"]),
        ("prepare {0}/films --out {0}/run", ["IngestConfig does not fit this version"]),
        ("prepare {0}/films --out {0}/new --stride 0", ["stride must be >= 1 frame, got 0"]),
        ("prepare {0}/films --out {0}/new --stirde 2", ["--stirde", "perhaps you meant --stride"]),
        ("prepare {0}/films --out {0}/new --detector yolox", ["needs its file: add --detector-weights"]),
        (
            "prepare {0}/films --out {0}/new --detector yolox --detector-weights {0}/fake.onnx",
            ["fake.onnx cannot be read as an ONNX model"],
        ),
        ("prepare --crops {0}/absent.csv --out {0}/new", ["absent.csv does not exist; --crops takes a CSV"]),
        (
            "train isr-tinny --clips {0}/clips --out {0}/new",
            ["unknown recipe 'isr-tinny'; perhaps you meant isr-tiny"],
        ),
        (
            "train isr-tiny --clips {0}/clips --out {0}/new --loss.temperature 0",
            ["loss.temperature must be > 0, got 0.0"],
        ),
        (
            "train isr-tiny --clips {0}/clips --out {0}/new --loss.temprature 1",
            ["--loss.temprature", "perhaps you meant --loss.temperature"],
        ),
        ("train isr-tiny --clips {0}/clips --out {0}/new --workers 33", ["batch-pairs must be >= workers=33"]),
        ("train isr-tiny --out {0}/new", ["--clips"]),
        (
            "train isr-tiny --clips {0}/absent --out {0}/new",
            ["absent holds no finished clips", "python -m pretrain prep"],
        ),
        (
            "train isr-tiny --clips {0}/old --out {0}/new",
            ["has version 2, and this program reads up to 1; update perennial-reid"],
        ),
        (
            "train isr-tiny --clips {0}/clips --out {0}/new --epochs 20 --batch-pairs 64",
            ["give 60 frame pairs in 20 epochs, less than a batch of 64", "lower --batch-pairs"],
        ),
        (
            "train isr-tiny --clips {0}/clips --out {0}/run",
            ["run with other settings", "seed: 3 -> 0", "another --"],
        ),
        ("train isr-tiny --clips {0}/clips --out {0}/mine", ["mine holds other files", "give an empty --out"]),
        ("audit {0}/clips --truth {0}/absent.csv", ["absent.csv does not exist; --truth takes a CSV"]),
        ("audit {0}/old --truth {0}/films/truth.csv", ["has version 2"]),
        ("audit {0}/clips --truth {0}/films/truth.csv --interval 100", ["are 100 s apart", "another --interval"]),
        ("audit {0}/clips --truth {0}/films/truth.csv --model {0}/mine", ["is no model directory", "pretrain export"]),
        ("export {0}/mine --out {0}/new", ["mine is no run directory of python -m pretrain train"]),
        ("export {0}/run --out {0}/mine", ["mine holds other files and no model.safetensors", "give another --out"]),
        ("street --out {0}/mine", ["mine holds other files"]),
        ("street --out {0}/mine --labelled-only", ["mine holds other files and no street.json"]),
        ("street --out {0}/new --labelled-only --test-identities 0", ["are both 0: raise one to write crops"]),
        ("street --out {0}/new --train-identities 9999", ["must be <= 9999, got 10099: lower one"]),
        ("street --out {0}/new --processes 0", ["processes must be >= 1, got 0"]),
        ("sweep isr-tiny --clips {0}/clips --out {0}/new", ["a sweep needs 1 to 10,000 trials, got 0: name --over"]),
        (
            "sweep isr-tiny --clips {0}/clips --out {0}/new --loss.temperature loguniform(0.3,0.03)",
            ["loss.temperature needs LOW < HIGH, got loguniform(0.3, 0.03)"],
        ),
        (
            "sweep isr-tiny --clips {0}/clips --out {0}/new --over loss.temprature=1,2 --heldout-share 0.5 "
            "--gap-seconds 0",
            ["there is no setting 'loss.temprature'; perhaps you meant loss.temperature"],
        ),
        (
            "sweep isr-tiny --clips {0}/clips --out {0}/new --heldout-share 2",
            ["heldout-share must be in (0, 1), got 2"],
        ),
        ("train isr-tiny --settings {0}/absent.json --clips {0}/clips --out {0}/new", ["absent.json"]),
        ("distil", ["has no command 'distil'; it has: demo, street, prepare, train, sweep, export, audit"]),
    ],
)
def test_wrong_input_is_one_line_with_the_remedy(
    capsys: pytest.CaptureFixture[str], folder: Path, line: str, messages: list[str]
):
    code, out, err = run(capsys, *line.format(folder).split())
    assert (code, out) == (2, "")
    # A progress bar may have been drawn before; the error itself is the last line and the only one that says so.
    assert err.startswith(("error: ", "matching", "drawing"))
    assert err.count("error: ") == 1
    assert err.endswith("\n")
    message = err[err.index("error: ") :]
    assert len(message.splitlines()) == 1
    assert "Traceback" not in err
    for words in messages:
        assert words in message
    assert not (folder / "new").exists(), "what cannot start leaves nothing behind"


def test_audit_prints_its_result_and_writes_its_picture(capsys: pytest.CaptureFixture[str], folder: Path):
    video = folder / "films" / "v.mp4"
    truth = folder / "films" / "truth.csv"
    (folder / "films" / "v.gt.csv").write_bytes(truth.read_bytes())
    segment = split("v.mp4", str(video), probe(str(video)), 100.0)[0]
    clips, _ = extract_clips(segment, PyAvDecoder(), SidecarDetector(), IngestConfig(min_height=40, clip_seconds=3.0))
    directory = folder / "audited"
    write_clips(str(directory / "clips" / "v.parquet"), clips)
    storage.write_json(str(directory / "report.json"), {"schema_version": SCHEMA_VERSION})
    code, out, _ = run(capsys, "audit", str(directory), "--truth", str(truth), "--interval", "1.0")
    assert code == 0
    result = json.loads(out.splitlines()[-1])
    assert (result["precision"], result["recall"], result["recall_of_crops"]) == (1, 1, 1), (
        "their clothes tell them apart"
    )
    assert result["pairs"] == 2 * result["frame_pairs"] == 2 * sum(len(clip["frames"]) - 2 for clip in clips)
    assert result["reliability_auroc"] is None
    assert result["crops_without_truth"] == 0
    assert result["interval_seconds"] == pytest.approx(1)
    assert result["contact_sheet"] == str(directory / "audit.jpg")
    picture = decode_image((directory / "audit.jpg").read_bytes())
    assert picture.shape[1] > 1000
    sheet = folder / "sheet.jpg"
    code, out, _ = run(capsys, "audit", str(directory), "--truth", str(truth), "--sheet", str(sheet))
    assert (code, sheet.exists()) == (0, True)


def test_export_prints_what_it_wrote(capsys: pytest.CaptureFixture[str], folder: Path):
    out = str(folder / "model")
    for option, step in (["--untrained"], 0), ([], 7):
        code, printed, _ = run(capsys, "export", str(folder / "run"), "--out", out, *option)
        assert code == 0
        result = json.loads(printed)
        assert (result["out"], result["step"]) == (out, step)
        assert load_embedder(out).fingerprint == result["fingerprint"]
    code, printed, _ = run(
        capsys, "audit", str(folder / "clips"), "--truth", str(folder / "films" / "truth.csv"), "--model", out
    )
    assert code == 0
    assert 0 <= json.loads(printed)["precision"] <= 1


@pytest.mark.slow
def test_street_draws_the_labelled_part_alone_or_with_videos(capsys: pytest.CaptureFixture[str], folder: Path):
    size = {"style": 1, "identities": 1, "test-identities": 1, "train-identities": 2, "cameras": 2, "seconds": 1}
    options = [f"--{name}={value}" for name, value in size.items()]
    results = []
    for name, flags in ("part", ["--labelled-only"]), ("whole", []):
        code, out, _ = run(capsys, "street", "--out", str(folder / name), *options, *flags)
        assert code == 0
        results.append(json.loads(out))
        splits = Counter(row.split for row in read_dataset(str(folder / name)))
        assert splits == {split: results[-1][split] for split in ("train", "query", "gallery")}
    part, whole = results
    assert part == {"out": str(folder / "part"), **{split: whole[split] for split in ("train", "query", "gallery")}}
    assert {path.name for path in (folder / "part").iterdir()} == {
        "bounding_box_train",
        "query",
        "gallery",
        "street.json",
    }
    assert whole["videos"] == len(list((folder / "whole").glob("*.mp4"))) == 2


@pytest.mark.parametrize("command", [*COMMANDS, "train isr-tiny"])
def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str], command: str):
    code, out, _ = run(capsys, *command.split(), "--help")
    assert code == 0
    assert "usage" in out
    assert len(out.splitlines()) >= 5


def test_train_alone_lists_the_recipes(capsys: pytest.CaptureFixture[str]):
    code, out, _ = run(capsys, "train")
    assert code == 2
    assert "isr-resnet50" in out


@pytest.mark.ray
def test_a_plan_that_does_not_fit_is_one_line_in_a_process_of_its_own(folder: Path):
    """With the real standard error, into which Ray could write too."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    argv = ["prepare", str(folder / "films"), "--out", str(folder / "many"), "--workers", "1000"]
    done = subprocess.run(
        [sys.executable, "-m", "pretrain", *argv],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        encoding="utf-8",
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("error: this plan needs 1001 CPUs and the cluster has ")
    assert "1000 x 1 for decoding workers (--workers)" in done.stderr
    assert "join a larger cluster (RAY_ADDRESS)" in done.stderr
