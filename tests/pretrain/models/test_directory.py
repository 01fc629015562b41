"""Model directories: written, read, and refused when something about them is not right."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from pretrain.config import ModelConfig
from pretrain.models import directory
from pretrain.models.directory import load_embedder, model_card, model_fingerprint, write_model
from pretrain.models.encoder import make_encoder

CONFIG = ModelConfig(architecture="tiny", embedding_size=8, height=32, width=16)


def state(seed=0, config=CONFIG):
    return {name: tensor.contiguous() for name, tensor in make_encoder(config, seed=seed).state_dict().items()}


def write(out, seed=0):
    return write_model(state(seed), CONFIG, str(out), recipe="test", step=5, card="# A model\n")


def pictures(*sizes):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for height, width in sizes]


def test_round_trip(tmp_path):
    description = write(tmp_path / "model")
    assert {path.name for path in (tmp_path / "model").iterdir()} == {"model.safetensors", "config.json", "README.md"}
    assert json.loads((tmp_path / "model/config.json").read_text()) == json.loads(json.dumps(description))
    assert (description["recipe"], description["step"]) == ("test", 5)
    assert (tmp_path / "model/README.md").read_text() == "# A model\n"
    embedder = load_embedder(str(tmp_path / "model"))
    assert (embedder.fingerprint, embedder.embedding_size) == (description["fingerprint"], 8)
    assert not embedder.encoder.training
    (image,) = pictures((32, 16))
    encoder = make_encoder(CONFIG, seed=0).eval()
    with torch.inference_mode():
        expected = encoder(torch.from_numpy(image).permute(2, 0, 1)[None])
    np.testing.assert_allclose(embedder.embed([image]), expected.numpy(), atol=1e-5)


def test_images_of_any_size_and_number_are_embedded_in_order(tmp_path, monkeypatch):
    write(tmp_path / "model")
    embedder = load_embedder(str(tmp_path / "model"))
    images = pictures((32, 16), (100, 40), (9, 7), (300, 301), (31, 90))
    got = embedder.embed(images)
    assert (got.shape, got.dtype) == ((5, 8), np.float32)
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, atol=1e-5)
    monkeypatch.setattr(directory, "BATCH", 2)
    np.testing.assert_allclose(embedder.embed(images), got, atol=1e-5)
    np.testing.assert_allclose(np.concatenate([embedder.embed([image]) for image in images]), got, atol=1e-5)
    assert embedder.embed([]).shape == (0, 8)


def test_feature_maps_come_with_the_same_features(tmp_path, monkeypatch):
    write(tmp_path / "model")
    embedder = load_embedder(str(tmp_path / "model"))
    images = pictures((32, 16), (100, 40), (9, 7))
    features, maps = embedder.embed_with_maps(images)
    height, width, channels = embedder.map_shape
    assert maps.shape == (3, height * width, channels)
    np.testing.assert_allclose(np.linalg.norm(maps, axis=2), 1, atol=1e-5)
    np.testing.assert_array_equal(features, embedder.embed(images))
    monkeypatch.setattr(directory, "BATCH", 2)
    np.testing.assert_allclose(embedder.embed_with_maps(images)[1], maps, atol=1e-5)
    upside_down = embedder.embed_with_maps([images[0][::-1].copy()])[1].reshape(height, width, channels)
    assert not np.allclose(upside_down, maps[0].reshape(height, width, channels), atol=0.01)


def test_the_fingerprint_is_of_every_weight_and_the_architecture():
    tensors = state()
    seen = {model_fingerprint(tensors, CONFIG), model_fingerprint(tensors, replace(CONFIG, height=48))}
    for name, tensor in tensors.items():
        changed = tensor.clone()
        changed.view(-1)[-1] += 1
        seen.add(model_fingerprint({**tensors, name: changed}, CONFIG))
    assert len(seen) == 2 + len(tensors)
    assert model_fingerprint(dict(reversed(tensors.items())), CONFIG) == model_fingerprint(state(), CONFIG)
    moved = {k: v.to(memory_format=torch.channels_last) if v.ndim == 4 else v for k, v in tensors.items()}
    assert model_fingerprint(moved, CONFIG) == model_fingerprint(tensors, CONFIG)


def test_weights_that_were_changed_are_refused(tmp_path):
    write(tmp_path / "model")
    path = tmp_path / "model/model.safetensors"
    tensors = load_file(path)
    tensors["embedding.bias"][3] += 1e-3
    save_file(tensors, path)
    with pytest.raises(ValueError, match=r"are not those of its config\.json; export the model again"):
        load_embedder(str(tmp_path / "model"))


def test_a_config_that_was_changed_is_refused(tmp_path):
    write(tmp_path / "model")
    path = tmp_path / "model/config.json"
    path.write_text(path.read_text().replace('"height": 32', '"height": 64'))
    with pytest.raises(ValueError, match=r"are not those of its config\.json"):
        load_embedder(str(tmp_path / "model"))


@pytest.mark.parametrize("damage", ["cut", "absent"])
def test_weights_that_are_damaged_or_missing_are_refused(tmp_path, damage):
    write(tmp_path / "model")
    path = tmp_path / "model/model.safetensors"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-10])
    else:
        path.unlink()
    with pytest.raises(ValueError, match=r"model\.safetensors is missing or damaged .*export the model again"):
        load_embedder(str(tmp_path / "model"))


def test_what_is_no_model_directory_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"absent is no model directory \(no config\.json\); make one with: python -m"):
        load_embedder(str(tmp_path / "absent"))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="saved ModelConfig does not fit this version"):
        load_embedder(str(tmp_path))


def test_a_model_is_replaced_as_a_whole(tmp_path):
    first = write(tmp_path / "model")
    (tmp_path / "model/notes.txt").write_text("of the old one")
    second = write(tmp_path / "model", seed=1)
    assert first["fingerprint"] != second["fingerprint"]
    assert load_embedder(str(tmp_path / "model")).fingerprint == second["fingerprint"]
    assert not (tmp_path / "model/notes.txt").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_folder_with_other_files_is_never_replaced(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/one.jpg").write_text("dear to somebody")
    with pytest.raises(ValueError, match=r"holds other files and no model\.safetensors; it would be replaced"):
        write(tmp_path / "photos")
    assert (tmp_path / "photos/one.jpg").read_text() == "dear to somebody"
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_the_card_tells_what_the_model_is_and_what_was_measured():
    card = model_card(title="Tiny", config=CONFIG, facts=[("mAP", "12.3"), ("steps", "5")])
    assert card.startswith("# Tiny\n")
    assert "tiny, input 32x16 RGB, embedding 8" in card
    assert "| mAP | 12.3 |\n| steps | 5 |" in card
