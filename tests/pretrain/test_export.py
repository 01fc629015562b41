"""From a run's newest checkpoint, or a model, to a model directory, without Ray: the run is written by hand."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save

from cluster import storage
from cluster.console import run_cli
from cluster.values import to_json
from pretrain.__main__ import COMMANDS
from pretrain.config.run import PretrainConfig
from pretrain.export import export, export_untrained
from pretrain.models.config import ModelConfig
from pretrain.models.directory import load_embedder, write_model
from pretrain.models.encoder import make_encoder
from pretrain.models.matching import matching_branch
from pretrain.recipes import isr_tiny
from pretrain.runs import START
from pretrain.training.checkpoint import plain, publish
from pretrain.training.isr_learner import IsrLearner
from pretrain.training.record import MetricsLog
from pretrain.training.run_folder import VERSION, claim_run, finish

CONFIG = replace(isr_tiny(), seed=3, model=ModelConfig(architecture="tiny", embedding_size=16, height=32, width=16))


def write_run(folder: Path, config: PretrainConfig, *, step: int = 7) -> IsrLearner:
    """Write what a finished run leaves behind, with weights that differ from the first ones."""
    encoder = make_encoder(config.model, seed=config.seed + 1)
    learner = IsrLearner(config, total_steps=step, device=torch.device("cpu"), wrapped=encoder)
    out = str(folder)
    claim_run(out, config, clips="/clips", num_clips=1)
    begun = make_encoder(replace(config.model), seed=config.seed).state_dict()
    storage.write_bytes(f"{out}/{START}", save(plain(begun)))
    records = [{"step": 1, "loss/total": 9.0}, {"step": step, "loss/total": 1.25}]
    with MetricsLog(out) as log:
        for record in records:
            log.write(record)
    publish(out, learner, step, records=records, keep=1)
    finish(out, records[-1])
    return learner


def test_the_model_is_the_last_checkpoint(tmp_path: Path):
    learner = write_run(tmp_path / "run", CONFIG)
    description = export(str(tmp_path / "run"), str(tmp_path / "model"))
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    assert storage.read_json(str(tmp_path / "model" / "config.json")) == {
        **description,
        "mean": list(description["mean"]),
        "std": list(description["std"]),
    }
    assert (description["recipe"], description["step"]) == ("isr-tiny", 7)
    embedder = load_embedder(str(tmp_path / "model"))
    assert embedder.fingerprint == description["fingerprint"]
    image = np.random.default_rng(0).integers(0, 256, (32, 16, 3), dtype=np.uint8)
    with torch.inference_mode():
        expected = learner.module.eval()(torch.from_numpy(image).permute(2, 0, 1)[None])
    assert embedder.embed([image]) == pytest.approx(expected.numpy(), abs=1e-5)


def test_the_card_states_what_the_run_was(tmp_path: Path):
    write_run(tmp_path / "run", CONFIG)
    export(str(tmp_path / "run"), str(tmp_path / "model"))
    card = (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    for words in (
        "isr-tiny, step 7",
        "7 of 7, 32 frame pairs each",
        "| seed | 3 |",
        "| loss/total | 1.2500 |",
        "32x16",
    ):
        assert words in card


def test_untrained_weights_are_those_that_the_run_began_with(tmp_path: Path):
    write_run(tmp_path / "run", CONFIG)
    trained = export(str(tmp_path / "run"), str(tmp_path / "trained"))
    fresh = export(str(tmp_path / "run"), str(tmp_path / "fresh"), untrained=True)
    again = export_untrained(CONFIG, str(tmp_path / "again"))
    assert fresh == again
    assert fresh["step"] == 0
    assert fresh["fingerprint"] != trained["fingerprint"]
    begun = make_encoder(CONFIG.model, seed=CONFIG.seed).state_dict()
    loaded = load_embedder(str(tmp_path / "fresh")).encoder.state_dict()
    assert all(torch.equal(begun[name], loaded[name].cpu()) for name in begun)


def test_a_run_that_began_with_given_weights_says_so_untrained(tmp_path: Path):
    write_run(tmp_path / "run", replace(CONFIG, start="/weights.safetensors"))
    given = make_encoder(CONFIG.model, seed=99).state_dict()
    storage.write_bytes(str(tmp_path / "run" / START), save(plain(given)))
    export(str(tmp_path / "run"), str(tmp_path / "fresh"), untrained=True)
    loaded = load_embedder(str(tmp_path / "fresh")).encoder.state_dict()
    assert all(torch.equal(given[name], loaded[name].cpu()) for name in given)
    assert "| steps | 0: those it began with: /weights.safetensors |" in (tmp_path / "fresh" / "README.md").read_text(
        encoding="utf-8"
    )


def test_exporting_again_replaces_a_model_and_nothing_else(tmp_path: Path):
    write_run(tmp_path / "run", CONFIG)
    export(str(tmp_path / "run"), str(tmp_path / "model"), untrained=True)
    assert export(str(tmp_path / "run"), str(tmp_path / "model"))["step"] == 7
    assert load_embedder(str(tmp_path / "model"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(ValueError, match=r"mine holds other files and no model\.safetensors"):
        export(str(tmp_path / "run"), str(tmp_path / "mine"))


def test_what_is_no_run_is_refused(tmp_path: Path):
    for untrained in (False, True):
        with pytest.raises(ValueError, match="is no run directory of python -m pretrain train"):
            export(str(tmp_path), str(tmp_path / "model"), untrained=untrained)
    storage.write_json(str(tmp_path / "run" / "config.json"), {"version": VERSION, "config": to_json(CONFIG)})
    with pytest.raises(ValueError, match="has no checkpoint yet; let it run longer or lower --checkpoint-every"):
        export(str(tmp_path / "run"), str(tmp_path / "model"))
    assert not (tmp_path / "model").exists()


def write_stage_model(folder: Path, *, broken: bool = False) -> dict:
    """Write a model that matches, as a lifelong stage does."""
    state = {name: tensor.contiguous() for name, tensor in make_encoder(CONFIG.model, seed=0).state_dict().items()}
    if broken:
        state["embedding.bias"] = torch.full((16,), torch.nan)
    matching = matching_branch(CONFIG.model, channels=6, seed=0).state_dict()
    card = "# A stage\n"
    return write_model(state, CONFIG.model, str(folder), recipe="s", step=2, card=card, matching=matching)


def test_a_model_is_copied_with_its_card_and_what_it_matches_by(tmp_path: Path):
    description = write_stage_model(tmp_path / "stage")
    assert export(str(tmp_path / "stage"), str(tmp_path / "copy")) == description
    for path in (tmp_path / "stage").iterdir():
        assert (tmp_path / "copy" / path.name).read_bytes() == path.read_bytes(), path.name
    assert load_embedder(str(tmp_path / "copy")).matching is not None
    with pytest.raises(ValueError, match="stage is a model and no run: name the run it is from, or leave --untrained"):
        export(str(tmp_path / "stage"), str(tmp_path / "other"), untrained=True)
    assert not (tmp_path / "other").exists()


def run(capfd: pytest.CaptureFixture[str], *argv: object) -> tuple[Any, str, str]:
    with pytest.raises(SystemExit) as stop:
        run_cli("python -m pretrain", COMMANDS, ["export", *map(str, argv)])
    streams = capfd.readouterr()
    return stop.value.code, streams.out, streams.err


@pytest.mark.slow
def test_formats_are_asked_for_by_name_and_nothing_else_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    plain = write_stage_model(tmp_path / "stage")
    model = tmp_path / "model"
    code, out, err = run(capfd, tmp_path / "stage", "--out", model, "--formats", "torch-export", "onnx")
    result = json.loads(out)
    assert (code, len(out.splitlines()), result["fingerprint"]) == (0, 1, plain["fingerprint"])
    assert [line.split(" by ")[0] for line in err.splitlines()] == [
        "onnx: embeddings differ from the model's",
        "torch-export: embeddings differ from the model's",
    ]
    assert max(result["checked"].values()) < 1e-5
    assert {path.name for path in model.iterdir()} > {"model.onnx", "model.pt2", "matching.safetensors"}
    assert export(str(model), str(model)) == plain, "a copy has the formats that were asked for, and no others"
    assert {path.name for path in model.iterdir()} == {path.name for path in (tmp_path / "stage").iterdir()}
    assert (model / "README.md").read_text(encoding="utf-8") == (tmp_path / "stage" / "README.md").read_text(
        encoding="utf-8"
    )


@pytest.mark.parametrize(
    ("name", "broken", "message"),
    [
        pytest.param(
            "torch-export",
            True,
            "model.pt2 gives embeddings that are up to nan from the encoder's, more than 0.0001;",
            marks=pytest.mark.slow,
        ),
        ("backbone", False, "tiny is a backbone that no library has: leave backbone out of --formats"),
        ("tensorrt", False, "--formats"),
    ],
)
def test_what_cannot_be_written_is_one_line_and_leaves_what_was_there(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str, broken: bool, message: str
):
    write_stage_model(tmp_path / "stage", broken=broken)
    for model in (tmp_path / "new", tmp_path / "stage"):
        before = sorted(tmp_path.rglob("*"))
        code, out, err = run(capfd, tmp_path / "stage", "--out", model, "--formats", name)
        assert (code, out, len(err.splitlines())) == (2, "", 1)
        assert message in err
        assert sorted(tmp_path.rglob("*")) == before
