"""The commands, in this process: exit codes, one-line errors on standard error, JSON as the last line of output."""

import json

import numpy as np
import pytest

from cluster.console import run_cli
from evaluation.__main__ import COMMANDS
from evaluation.embedding.histogram import HistogramEmbedder
from evaluation.features.files import read_features
from evaluation.features.parquet import write_features
from pretrain.models.config import ModelConfig
from pretrain.models.directory import write_model
from pretrain.models.encoder import make_encoder
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
        (
            ["embed", "histogram", "market1501:" + str(tmp_path / "market"), "--out", out],
            "or take it as it is with --any",
        ),
        (
            ["embed", "histogram", str(tmp_path / "market"), "--out", out, "--maps"],
            "gives no feature maps; leave --maps",
        ),
        (
            ["embed", "histogram", str(tmp_path / "market"), "--out", out, "--splits", "probe"],
            "some of train, query, gal",
        ),
        (["score"], "give at least one features file"),
        (["score", out, "--protocol", "markt"], "there is no protocol 'markt'; there are market, market-official"),
        (["score", out, "--shortlist", "0"], "shortlist must be >= 1, got 0"),
        (["score", out, "--device", "gpu"], "invalid choice"),
        (["compare", out], "Missing from python -m evaluation compare: B"),
        (["compare", out, out, "--resamples", "0"], "a comparison needs --resamples >= 1"),
        (["report", out, out, "--out", "r.html"], "2 files need as many different names, got f, f; give --names"),
        (["embed", "histogram", str(tmp_path / "absent.csv"), "--out", out], "no such manifest"),
        (["embed", "histogram", str(tmp_path / "market"), "--out", str(tmp_path)], "is a folder; name a file in it"),
        (["rank"], "has no command 'rank'; it has: embed, score, compare, compatibility, report"),
    ]:
        code, printed, err = run(capsys, *argv)
        assert (code, printed) == (2, "")
        assert len(err.splitlines()) == 1
        assert err.startswith("error: ")
        assert message in err


def npz(tmp_path, **changes):
    features = make_scorable()
    rows = {split: features.split == split for split in ("query", "gallery")}
    arrays = {f"{split}_features": features.feature[chosen] for split, chosen in rows.items()}
    arrays |= {f"{split}_identities": features.identity[chosen] for split, chosen in rows.items()}
    arrays |= {f"{split}_cameras": features.camera[chosen] for split, chosen in rows.items()}
    path = str(tmp_path / "other.npz")
    np.savez(path, **(arrays | changes))
    return path


def test_features_of_another_toolbox_are_scored_like_our_own(capsys, tmp_path):
    path = str(tmp_path / "f.parquet")
    write_features(path, make_scorable())
    ours, theirs = (json.loads(run(capsys, "score", name)[1]) for name in (path, npz(tmp_path)))
    assert ours == theirs
    assert all(0 <= theirs[name] <= 1 for name in ("mAP", "rank1", "rank5", "rank10", "mINP"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"query_features": np.full((20, 8), np.nan, np.float32)},
            "20 features hold NaN or infinity, the first in row 0",
        ),
        ({"query_features": np.zeros((20, 8), np.float32)}, "20 query features are zero or not finite"),
        (
            {
                f"gallery_{name}": np.zeros(
                    (0, 8)[: 1 + (name == "features")], np.float32 if name == "features" else int
                )
                for name in ("features", "identities", "cameras")
            },
            "there are no gallery images, only: query",
        ),
        ({"query_identities": np.arange(19)}, "query_features has 20 rows where the identities are 19"),
        ({"gallery_features": np.ones((20, 7), np.float32)}, "queries have 8 components and the gallery 7"),
        ({"query_identities": np.array(["ann"] * 20)}, "query_identities must be integers [N], got <U3 [20]"),
        ({"gallery_identities": np.full(20, -2)}, "identities must be >= -1 (-1 is junk), got -2"),
        ({"gallery_cameras": np.zeros(20, int)}, "all images are of camera 0, whose own images of a query's identity"),
        ({"query_identities": np.full(20, 77)}, "none of the 20 queries has a match in the gallery (20 images)"),
    ],
)
def test_every_kind_of_wrong_features_gets_one_clear_line(capsys, tmp_path, changes, message):
    code, printed, err = run(capsys, "score", npz(tmp_path, **changes))
    assert (code, printed) == (2, "")
    assert len(err.splitlines()) == 1
    assert message in err


def test_compare_prints_differences_and_refuses_other_images(capsys, tmp_path):
    paths = [str(tmp_path / f"{name}.parquet") for name in "abc"]
    features = make_scorable()
    write_features(paths[0], features)
    write_features(paths[1], make_scorable(feature=features.feature**3))
    write_features(paths[2], make_scorable(38))
    code, out, err = run(capsys, "compare", *paths[:2], "--resamples", "50")
    result = json.loads(out.splitlines()[-1])
    assert code == 0
    assert result["differences"]["mAP"]["difference"] == pytest.approx(result["a"]["mAP"] - result["b"]["mAP"])
    assert "a.parquet - b.parquet, market protocol, 20 queries" in err
    code, _, err = run(capsys, "compare", paths[0], paths[2])
    assert code == 2
    assert "20 query images against 19; compare features of the same split" in err


def test_compatibility_tells_whether_new_queries_work_against_the_stored_gallery(capsys, tmp_path):
    features = make_scorable(model_fingerprint=np.array(["old"] * 40, object))
    new = np.array(["new"] * 40, object)
    turned = make_scorable(feature=features.feature[:, ::-1].copy(), model_fingerprint=new)
    paths = [str(tmp_path / f"{name}.parquet") for name in ("old", "turned", "queries")]
    for path, table in zip(paths, (features, turned, turned.select("query")), strict=True):
        write_features(path, table)
    code, out, err = run(capsys, "compatibility", *paths[:2], "--resamples", "50")
    result = json.loads(out.splitlines()[-1])
    assert code == 0
    assert result["new_new"]["mAP"] == pytest.approx(result["old_old"]["mAP"])
    assert result["differences"]["mAP"]["difference"] == pytest.approx(
        result["new_old"]["mAP"] - result["old_old"]["mAP"]
    )
    assert "compatible: " + ("yes" if result["is_compatible"] else "no") in err
    assert "old.parquet to turned.parquet, market protocol, 20 queries" in err
    code, out, err = run(capsys, "compatibility", paths[0], paths[2], "--resamples", "50")
    assert (code, json.loads(out)["new_new"], json.loads(out)["update_gain"]) == (0, None, None)
    assert json.loads(out)["new_old"] == result["new_old"]
    assert "update gain: not known; embed the gallery with the new model too" in err
    code, _, err = run(capsys, "compatibility", paths[2], paths[1])
    assert code == 2
    assert "there are no gallery images, only: query" in err


def test_report_is_one_file_with_all_methods(capsys, tmp_path):
    paths = [str(tmp_path / f"{name}.parquet") for name in "ab"]
    for number, path in enumerate(paths):
        write_features(path, make_scorable(feature=make_scorable().feature ** (1 + 2 * number)))
    page = tmp_path / "new" / "r.html"
    code, out, _ = run(
        capsys, "report", *paths, "--names", "ours", "theirs", "--out", str(page), "--projection", "tsne"
    )
    assert code == 0
    assert set(json.loads(out.splitlines()[-1])["scores"]) == {"ours", "theirs"}
    html = page.read_text(encoding="utf-8")
    for text in (
        "Difference to ours",
        "Cumulative matching",
        "Distances, theirs",
        "(t-SNE), ours",
        "none is shown here",
    ):
        assert text in html


def test_help_of_compatibility_says_what_it_is_for(capsys):
    code, out, _ = run(capsys, "compatibility", "--help")
    assert code == 0
    assert "before a release whether a new model's queries work against" in " ".join(out.split())
    for word in ("OLD", "NEW", "--protocol", "--resamples", "--seed"):
        assert word in out


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


@pytest.mark.ray
def test_embed_with_maps_then_match_them(capsys, tmp_path, ray_cluster):
    write_market(tmp_path / "market")
    config = ModelConfig(architecture="tiny", embedding_size=8, height=32, width=16)
    tensors = {name: tensor.contiguous() for name, tensor in make_encoder(config, seed=0).state_dict().items()}
    write_model(tensors, config, str(tmp_path / "model"), recipe="r", step=0, card="c")
    out = str(tmp_path / "f.parquet")
    argv = [str(tmp_path / "model"), str(tmp_path / "market"), "--out", out, "--maps", "--workers", "1"]
    code, printed, _ = run(capsys, "embed", *argv)
    assert code == 0
    assert json.loads(printed.splitlines()[-1])["maps"] == str(tmp_path / "f.maps")
    results = []
    for options in (["--exact"], ["--shortlist", "99"], ["--shortlist", "99", "--precision", "bfloat16"]):
        code, printed, _ = run(capsys, "score", out, "--matcher", "qaconv", *options)
        assert code == 0
        results.append(json.loads(printed.splitlines()[-1]))
    assert results[0]["mAP"] == results[1]["mAP"] == pytest.approx(results[2]["mAP"], abs=0.1)
    assert results[1]["shortlist_agreement_top10"] == 1
    page = tmp_path / "r.html"
    code, _, _ = run(capsys, "report", out, "--matcher", "qaconv", "--out", str(page), "--queries", "3")
    assert code == 0
    assert "What matched" in page.read_text(encoding="utf-8")
