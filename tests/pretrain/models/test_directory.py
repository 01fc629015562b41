"""Model directories: written, read, and refused when something about them is not right."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from pretrain.models.config import ModelConfig
from pretrain.models.directory import load_embedder, model_card, model_fingerprint, write_model
from pretrain.models.encoder import make_encoder
from pretrain.models.matching import matching_branch

CONFIG = ModelConfig(architecture="tiny", embedding_size=8, height=32, width=16)


def state(seed=0, config=CONFIG):
    return {name: tensor.contiguous() for name, tensor in make_encoder(config, seed=seed).state_dict().items()}


def write(out, seed=0, matching=None):
    return write_model(state(seed), CONFIG, str(out), recipe="test", step=5, card="# A model\n", matching=matching)


def branch_state(seed=0):
    return matching_branch(CONFIG, channels=6, seed=seed).state_dict()


def test_round_trip(tmp_path):
    description = write(tmp_path / "model")
    assert {path.name for path in (tmp_path / "model").iterdir()} == {"model.safetensors", "config.json", "README.md"}
    assert json.loads((tmp_path / "model/config.json").read_text(encoding="utf-8")) == json.loads(
        json.dumps(description)
    )
    assert (description["recipe"], description["step"]) == ("test", 5)
    assert (tmp_path / "model/README.md").read_text(encoding="utf-8") == "# A model\n"
    embedder = load_embedder(str(tmp_path / "model"))
    assert (embedder.fingerprint, embedder.embedding_size) == (description["fingerprint"], 8)
    assert not embedder.encoder.training
    assert (embedder.matching, embedder.head) == (None, None)
    assert "matching" not in description
    image = np.random.default_rng(0).integers(0, 256, (32, 16, 3), dtype=np.uint8)
    encoder = make_encoder(CONFIG, seed=0).eval()
    with torch.inference_mode():
        expected = encoder(torch.from_numpy(image).permute(2, 0, 1)[None])
    np.testing.assert_allclose(embedder.embed([image]), expected.numpy(), atol=1e-5)


def test_a_matching_branch_travels_with_the_model(tmp_path):
    plain = write(tmp_path / "plain")
    description = write(tmp_path / "model", matching=branch_state())
    assert description["matching"] == {"channels": 6}
    assert plain["fingerprint"] != description["fingerprint"]
    assert (tmp_path / "model/matching.safetensors").exists()
    branch = load_embedder(str(tmp_path / "model")).matching
    assert not branch.training
    assert (branch.neck.out_channels, branch.height, branch.width) == (6, 4, 2)
    for name, tensor in branch_state().items():
        assert torch.equal(branch.state_dict()[name], tensor), name


@pytest.mark.parametrize("damage", ["cut", "absent", "changed", "not noted"])
def test_a_matching_branch_that_is_not_the_model_s_is_refused(tmp_path, damage):
    write(tmp_path / "model", matching=branch_state())
    path, config = tmp_path / "model/matching.safetensors", tmp_path / "model/config.json"
    message = r"model are not those of its config\.json; export the model again"
    if damage == "changed":
        save_file(branch_state(seed=1), path)
    elif damage == "not noted":
        config.write_text(
            json.dumps({k: v for k, v in json.loads(config.read_text(encoding="utf-8")).items() if k != "matching"}),
            encoding="utf-8",
        )
    else:
        message = r"matching\.safetensors is missing or damaged .*export the model again"
        path.write_bytes(path.read_bytes()[:-10])
        if damage == "absent":
            path.unlink()
    with pytest.raises(ValueError, match=message):
        load_embedder(str(tmp_path / "model"))


def test_the_fingerprint_without_a_branch_is_what_it_always_was():
    tensors = {"a": torch.arange(3.0), "b.c": torch.ones(2, 2, dtype=torch.int64)}
    assert model_fingerprint(tensors, CONFIG) == model_fingerprint(tensors, CONFIG, None) == "f4d86ad86f546be5"
    branch = branch_state()
    seen = {model_fingerprint(tensors, CONFIG), model_fingerprint(tensors, CONFIG, branch)}
    seen |= {model_fingerprint(tensors, CONFIG, {**branch, name: tensor + 1}) for name, tensor in branch.items()}
    assert len(seen) == 2 + len(branch)


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
    path.write_text(path.read_text(encoding="utf-8").replace('"height": 32', '"height": 64'), encoding="utf-8")
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
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ValueError, match="saved ModelConfig does not fit this version"):
        load_embedder(str(tmp_path))


def test_a_model_is_replaced_as_a_whole(tmp_path):
    first = write(tmp_path / "model")
    (tmp_path / "model/notes.txt").write_text("of the old one", encoding="utf-8")
    second = write(tmp_path / "model", seed=1)
    assert first["fingerprint"] != second["fingerprint"]
    assert load_embedder(str(tmp_path / "model")).fingerprint == second["fingerprint"]
    assert not (tmp_path / "model/notes.txt").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_folder_with_other_files_is_never_replaced(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/one.jpg").write_text("dear to somebody", encoding="utf-8")
    with pytest.raises(ValueError, match=r"holds other files and no model\.safetensors; it would be replaced"):
        write(tmp_path / "photos")
    assert (tmp_path / "photos/one.jpg").read_text(encoding="utf-8") == "dear to somebody"
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_the_card_tells_what_the_model_is_and_what_was_measured():
    card = model_card(title="Tiny", config=CONFIG, facts=[("mAP", "12.3"), ("steps", "5")])
    assert card.startswith("# Tiny\n")
    assert "tiny, input 32x16 RGB, embedding 8" in card
    assert "| mAP | 12.3 |\n| steps | 5 |" in card


def test_others_may_read_a_model(tmp_path):
    config = ModelConfig(architecture="tiny", embedding_size=8, height=32, width=16)
    tensors = make_encoder(config, seed=0).state_dict()
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    write_model(tensors, config, str(tmp_path / "model"), recipe="r", step=0, card="")
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "model").iterdir()}
    assert len(set(modes.values())) == 1, modes
