"""The commands, in this process: exit codes, one-line errors on standard error, JSON as the last line of output."""

import json

import numpy as np
import pytest

from cluster.console import run_cli
from evaluation.__main__ import COMMANDS
from evaluation.features.files import read_features
from evaluation.features.parquet import write_features
from evaluation.histogram import HistogramEmbedder
from tests.evaluation.people import write_market
from tests.evaluation.scoring.test_scores import make_scorable


def run(capsys, *argv):
    """Run a command line; returns exit code, output, and errors."""
    with pytest.raises(SystemExit) as exit_:
        run_cli("python -m evaluation", COMMANDS, list(argv))
    captured = capsys.readouterr()
    return exit_.value.code, captured.out, captured.err


def test_score_prints_a_table_for_people_and_json_for_programs(capsys, tmp_path):
    path = str(tmp_path / "f.parquet")
    write_features(path, make_scorable())
    code, out, err = run(capsys, "score", path)
    assert code == 0
    assert len(out.splitlines()) == 1
    result = json.loads(out)
    assert 0 < result["mAP"] < 1
    assert f"{100 * result['mAP']:.1f} %" in err


def test_usage_errors_end_with_two_and_one_line(capsys, tmp_path):
    out = str(tmp_path / "f.parquet")
    write_market(tmp_path / "market")
    for argv, message in [
        (["score", str(tmp_path / "absent.parquet")], "no such features file"),
        (["embed", "histogram", str(tmp_path / "absent"), "--out", out], "no such dataset folder"),
        (["embed", "resnet", str(tmp_path / "market"), "--out", out], "give a model directory or `histogram`"),
        (["embed", "histogram", str(tmp_path / "absent.csv"), "--out", out], "no such manifest"),
        (["embed", "histogram", str(tmp_path / "market"), "--out", str(tmp_path)], "is a folder; name a file in it"),
        (["rank"], "has no command 'rank'; it has: embed, score"),
    ]:
        code, printed, err = run(capsys, *argv)
        assert (code, printed) == (2, "")
        assert len(err.splitlines()) == 1
        assert err.startswith("error: ")
        assert message in err


def test_help_names_every_option(capsys):
    code, out, _ = run(capsys, "embed", "--help")
    assert code == 0
    for word in ("MODEL", "DATASET", "--out", "--workers", "--batch-size", "histogram"):
        assert word in out


@pytest.mark.ray
def test_embed_then_score(capsys, tmp_path, ray_cluster):
    write_market(tmp_path / "market")
    out = str(tmp_path / "f.parquet")
    argv = ["embed", "histogram", str(tmp_path / "market"), "--out", out, "--workers", "1", "--batch-size", "8"]
    code, printed, _ = run(capsys, *argv)
    assert code == 0
    result = json.loads(printed.splitlines()[-1])
    features = read_features(out)
    assert result == {
        "num_images": len(features),
        "embedding_size": HistogramEmbedder.embedding_size,
        "model_fingerprint": HistogramEmbedder.fingerprint,
        "out": out,
    }
    np.testing.assert_allclose(np.linalg.norm(features.feature, axis=1), 1, atol=1e-6)
    code, printed, _ = run(capsys, "score", out)
    assert code == 0
    assert json.loads(printed.splitlines()[-1])["num_gallery"] == 6 * 2 + 3
