"""The commands of benchmarks: listing, unpacking, cutting out."""

import json

import pytest

from cluster.console import run_cli
from evaluation.datasets.__main__ import COMMANDS
from evaluation.datasets.registry import BENCHMARKS, read_dataset
from tests.evaluation.datasets.test_cuhk03 import write_mat
from tests.evaluation.datasets.video.drawn_sequence import write_sequence


def run(capsys, *argv):
    with pytest.raises(SystemExit) as exit_:
        run_cli("python -m evaluation.datasets", COMMANDS, list(argv))
    captured = capsys.readouterr()
    return exit_.value.code, captured.out, captured.err


def test_the_list_names_every_benchmark(capsys):
    code, out, err = run(capsys, "list")
    assert code == 0
    assert json.loads(out)["datasets"] == sorted(BENCHMARKS)
    assert "market1501               12,936 train, 3,368 query, 19,732 gallery" in err
    assert "partitions viper#0 to #9" in err


def test_tracks_become_a_manifest_that_is_read_like_any(capsys, tmp_path):
    write_sequence(tmp_path / "drawn")
    argv = ["crop-tracks", str(tmp_path / "drawn"), "--out", str(tmp_path / "out"), "--every", "1"]
    code, out, _ = run(capsys, *argv, "--min-height", "20", "--gap-seconds", "1")
    assert code == 0
    rows = read_dataset("csv:" + json.loads(out.splitlines()[-1])["manifest"])
    assert {row.split for row in rows} == {"query", "gallery"}


def test_cuhk03_is_unpacked(capsys, tmp_path):
    write_mat(tmp_path / "cuhk-03.mat")
    code, out, _ = run(capsys, "unpack-cuhk03", str(tmp_path / "cuhk-03.mat"), "--out", str(tmp_path / "cuhk03"))
    assert code == 0
    assert (tmp_path / "cuhk03" / "splits.json").exists()
    assert json.loads(out)["out"] == str(tmp_path / "cuhk03")


def test_wrong_input_ends_with_two_and_one_line(capsys, tmp_path):
    for argv, message in [
        (["crop-tracks", str(tmp_path / "absent.mp4"), "--out", str(tmp_path / "o")], "absent"),
        (
            ["unpack-cuhk03", str(tmp_path / "absent.mat"), "--out", str(tmp_path / "o")],
            "no such file; give cuhk-03.mat",
        ),
    ]:
        code, printed, err = run(capsys, *argv)
        assert (code, printed) == (2, "")
        assert len(err.splitlines()) == 1
        assert message in err
