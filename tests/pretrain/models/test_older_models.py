"""Models that were written before `ModelConfig` had all its fields: read as ever, with the same fingerprint."""

import dataclasses
import json

import pytest

from cluster.values import to_json
from pretrain.models.config import ModelConfig
from pretrain.models.directory import load_embedder, model_fingerprint, write_model
from pretrain.models.encoder import make_encoder

FIRST = ModelConfig(architecture="tiny", embedding_size=8, height=32, width=16)


def state(config):
    return {name: tensor.contiguous() for name, tensor in make_encoder(config, seed=0).state_dict().items()}


def test_defaults_never_change():
    """Else models of different kinds could have one fingerprint. A new field goes into this list with its default."""
    assert to_json(ModelConfig()) == {
        "architecture": "resnet50",
        "embedding_size": 512,
        "height": 256,
        "width": 128,
        "pooling": "average",
        "bn_neck": False,
    }


def test_a_model_without_later_fields_is_read(tmp_path):
    written = write_model(state(FIRST), FIRST, str(tmp_path / "m"), recipe="r", step=0, card="")
    path = tmp_path / "m/config.json"
    older = json.loads(path.read_text(encoding="utf-8"))
    for name in ("pooling", "bn_neck"):
        del older["model"][name]
    path.write_text(json.dumps(older), encoding="utf-8")
    embedder = load_embedder(str(tmp_path / "m"))
    assert (embedder.config, embedder.fingerprint) == (FIRST, written["fingerprint"])


@pytest.mark.parametrize("name", ["height", "architecture"])
def test_a_field_that_got_lost_is_found_out(tmp_path, name):
    write_model(state(FIRST), FIRST, str(tmp_path / "m"), recipe="r", step=0, card="")
    path = tmp_path / "m/config.json"
    broken = json.loads(path.read_text(encoding="utf-8"))
    del broken["model"][name]
    path.write_text(json.dumps(broken), encoding="utf-8")
    with pytest.raises(ValueError, match=r"are not those of its config\.json; export the model again"):
        load_embedder(str(tmp_path / "m"))


def test_later_fields_count_where_they_are_used():
    first = ModelConfig(architecture="resnet18")
    seen = {model_fingerprint({}, config) for config in (first, dataclasses.replace(first, pooling="gem"))}
    seen.add(model_fingerprint({}, dataclasses.replace(first, bn_neck=True)))
    assert len(seen) == 3


def test_a_model_with_a_neck_and_no_linear_layer_travels(tmp_path):
    config = dataclasses.replace(FIRST, embedding_size=0, bn_neck=True)
    write_model(state(config), config, str(tmp_path / "m"), recipe="r", step=0, card="")
    embedder = load_embedder(str(tmp_path / "m"))
    assert (embedder.config, embedder.embedding_size) == (config, 512)
    assert embedder.embed([]).shape == (0, 512)
