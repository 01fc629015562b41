"""The command that explains a score: picture, table, numbers, and one line for what cannot be used."""

import json

import cv2
import numpy as np
import pytest

from cluster.console import run_cli
from evaluation.__main__ import COMMANDS
from evaluation.datasets.images import read_image
from evaluation.embedding.embedder import MapEmbedder
from evaluation.explain import UNIFORM, ExplainConfig, explain_files
from evaluation.qaconv.head import QAConvHead, write_head
from evaluation.qaconv.scores import scores
from evaluation.report.explanation_picture import LEAST_WIDTH_PIXELS
from pretrain.models.config import ModelConfig
from pretrain.models.directory import load_embedder, write_model
from pretrain.models.encoder import make_encoder


class StripeEmbedder:
    """The mean colours of 2 x 3 cells, as a model with a head of its own."""

    fingerprint, embedding_size, map_shape = "stripes", 3, (2, 3, 3)

    def __init__(self, head=None):
        self.head = head

    def embed(self, images):
        return self.embed_with_maps(images)[0]

    def embed_with_maps(self, images):
        cells = np.stack([cv2.resize(image, (3, 2), interpolation=cv2.INTER_AREA) for image in images])
        maps = cells.reshape(len(images), 6, 3).astype(np.float32) + 1
        maps /= np.linalg.norm(maps, axis=2, keepdims=True)
        return maps.mean(axis=1), maps


@pytest.fixture
def files(tmp_path):
    """Two image files and a model directory."""
    rng = np.random.default_rng(0)
    for name in ("q[a].jpg", "g.png"):
        cv2.imwrite(str(tmp_path / name), rng.integers(0, 256, (40, 60, 3)).astype(np.uint8))
    config = ModelConfig(architecture="tiny", embedding_size=8, height=32, width=16)
    tensors = {name: tensor.contiguous() for name, tensor in make_encoder(config, seed=0).state_dict().items()}
    write_model(tensors, config, str(tmp_path / "model"), recipe="r", step=0, card="c")
    return [str(tmp_path / name) for name in ("q[a].jpg", "g.png", "model")]


def run(capsys, *argv):
    with pytest.raises(SystemExit) as exit_:
        run_cli("python -m evaluation", COMMANDS, ["explain", *argv])
    captured = capsys.readouterr()
    return exit_.value.code, captured.out, captured.err


def test_the_command_writes_a_picture_and_the_score_of_qaconv(capsys, tmp_path, files):
    query, gallery, model = files
    out = tmp_path / "new" / "e.png"
    code, printed, err = run(capsys, query, gallery, "--model", model, "--out", str(out), "--lines", "3")
    assert code == 0
    result = json.loads(printed.splitlines()[-1])
    maps = load_embedder(model).embed_with_maps([read_image(query), read_image(gallery)])[1]
    expected = scores(maps[:1], maps[1:], QAConvHead.uniform(maps.shape[1]))[0, 0]
    assert result["score"] == pytest.approx(expected, abs=1e-6)
    assert result["map"]["height"] * result["map"]["width"] == maps.shape[1]
    assert result["weights"] == UNIFORM
    assert f"weights: {UNIFORM}" in err
    assert "q[a].jpg and g.png: score" in err
    assert len(result["matches"]) == min(3, result["num_mutual"])
    match = result["matches"][0]
    locations = [match[side]["row"] * result["map"]["width"] + match[side]["column"] for side in ("query", "gallery")]
    assert match["cosine"] == pytest.approx(maps[0, locations[0]] @ maps[1, locations[1]], abs=1e-6)
    assert match["share"] == pytest.approx(match["contribution"] / result["raw"])
    assert f"{match['query']['row']}, {match['query']['column']}" in err
    assert f"{match['cosine']:.3f}" in err
    assert read_image(str(out)).shape[1] >= LEAST_WIDTH_PIXELS


def test_the_head_of_the_model_counts_and_a_file_overrides_it(tmp_path, files):
    own = QAConvHead(query_weight=np.linspace(-0.2, 1, 6).astype(np.float32), scale=4.0, shift=1.0)
    other = QAConvHead(query_weight=np.ones(6, np.float32), gallery_weight=np.zeros(6, np.float32))
    write_head(str(tmp_path / "head.json"), other)
    assert isinstance(StripeEmbedder(), MapEmbedder)
    maps = StripeEmbedder().embed_with_maps([read_image(path) for path in files[:2]])[1]
    for location, head in (("", own), (str(tmp_path / "head.json"), other)):
        config = ExplainConfig(
            query=files[0], gallery=files[1], model="stripes", out=str(tmp_path / "e.png"), head=location
        )
        result = explain_files(config, lambda: StripeEmbedder(own))
        assert result["weights"] == (location or "the model's head")
        assert result["score"] == pytest.approx(scores(maps[:1], maps[1:], head)[0, 0], abs=1e-5)
        json.dumps(result, allow_nan=False)


def test_usage_errors_end_with_two_and_one_line(capsys, tmp_path, files):
    query, gallery, model = files
    (tmp_path / "text.jpg").write_text("no image", encoding="utf-8")
    (tmp_path / "folder.png").mkdir()
    write_head(str(tmp_path / "head.json"), QAConvHead.uniform(192))
    out = ["--out", str(tmp_path / "e.png")]
    for argv, message in [
        ([query, str(tmp_path / "absent.jpg"), "--model", model], "cannot read the image (No such file or directory)"),
        ([str(tmp_path / "text.jpg"), gallery, "--model", model], "8 bytes that are no image"),
        ([query, str(tmp_path), "--model", model], "cannot read the image (Is a directory)"),
        ([query, gallery, "--model", "histogram"], "histogram gives no feature maps to match; give a model directory"),
        ([query, gallery, "--model", str(tmp_path / "absent")], "no such model"),
        ([query, gallery], "--model"),
        ([query, "--model", model], "Missing from python -m evaluation explain: GALLERY"),
        ([query, gallery, "--model", model, "--lines", "0"], "--lines must be >= 1, got 0"),
        ([query, gallery, "--model", model, "--out", "e.jpg"], "--out must be a .png file, got e.jpg"),
        ([query, gallery, "--model", model, "--out", str(tmp_path / "folder.png")], "is a folder; name a file in it"),
        ([query, gallery, "--model", model, "--head", str(tmp_path / "no.json")], "it should hold a QAConv head"),
        ([query, gallery, "--model", model, "--head", str(tmp_path / "head.json")], "weighs 192 locations, but the"),
    ]:
        code, printed, err = run(capsys, *argv, *([] if "--out" in argv else out))
        assert (code, printed) == (2, ""), argv
        assert len(err.splitlines()) == 1
        assert message in err
    assert not (tmp_path / "e.png").exists()


def test_help_names_images_and_options(capsys):
    code, out, _ = run(capsys, "--help")
    assert code == 0
    for word in ("QUERY", "GALLERY", "--model", "--out", "--lines", "--head"):
        assert word in out
