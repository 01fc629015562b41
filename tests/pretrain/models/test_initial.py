"""First weights: random, a model directory, and files of a backbone's tensors."""

import pytest
import torch
from safetensors.torch import save_file

from pretrain.models.config import ModelConfig
from pretrain.models.directory import write_model
from pretrain.models.encoder import make_encoder
from pretrain.models.initial import model_config_of, read_initial, resolve_initial

TINY = ModelConfig(architecture="tiny", embedding_size=8, height=32, width=16)
RESNET = ModelConfig(architecture="resnet18", embedding_size=8, height=64, width=32)


def backbone(config, prefix=""):
    """A trained backbone as others save it, with a classifier beside it."""
    state = make_encoder(config, seed=7).state_dict()
    renamed = {
        prefix + name.removeprefix("backbone."): value.contiguous()
        for name, value in state.items()
        if name.startswith("backbone.") and not name.endswith("num_batches_tracked")
    }
    return state, renamed | {f"{prefix}fc.weight": torch.zeros(1000, 3)}


def test_without_a_place_weights_are_random_by_the_seed():
    tensors, config = read_initial("", TINY, seed=3)
    expected = make_encoder(TINY, seed=3).state_dict()
    assert config == TINY
    assert all(torch.equal(value, expected[name]) for name, value in tensors.items())


def test_a_model_directory_says_its_own_architecture(tmp_path):
    state = {name: value.contiguous() for name, value in make_encoder(TINY, seed=5).state_dict().items()}
    write_model(state, TINY, str(tmp_path / "model"), recipe="test", step=0, card="")
    tensors, config = read_initial(str(tmp_path / "model"), RESNET, seed=0)
    assert config == TINY == model_config_of(str(tmp_path / "model"), RESNET)
    assert all(torch.equal(value, state[name]) for name, value in tensors.items())


@pytest.mark.parametrize(
    ("ending", "prefix"), [("safetensors", ""), ("safetensors", "encoder.backbone."), ("pth", "base.")]
)
def test_a_backbone_under_any_usual_name(tmp_path, ending, prefix):
    state, renamed = backbone(RESNET, prefix)
    path = str(tmp_path / f"r18.{ending}")
    if ending == "safetensors":
        save_file(renamed, path)
    else:
        torch.save({"state_dict": renamed}, path)
    tensors, config = read_initial(path, RESNET, seed=3)
    assert config == RESNET == model_config_of(path, RESNET)
    for name, value in tensors.items():
        if name.startswith("backbone.") and not name.endswith("num_batches_tracked"):
            assert torch.equal(value, state[name]), name
    assert torch.equal(tensors["embedding.weight"], make_encoder(RESNET, seed=3).embedding.weight), "not in the file"


def test_the_embedding_layer_is_taken_where_it_fits(tmp_path):
    state = {name: value.contiguous() for name, value in make_encoder(TINY, seed=7).state_dict().items()}
    path = str(tmp_path / "whole.safetensors")
    save_file(state, path)
    assert torch.equal(read_initial(path, TINY, seed=0)[0]["embedding.weight"], state["embedding.weight"])
    wider = ModelConfig(architecture="tiny", embedding_size=16, height=32, width=16)
    assert read_initial(path, wider, seed=0)[0]["embedding.weight"].shape == (16, 512)


def test_what_is_no_backbone_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no usable safetensors or PyTorch file"):
        read_initial(str(tmp_path / "absent.safetensors"), TINY, seed=0)
    (tmp_path / "torn.safetensors").write_bytes(b"torn")
    with pytest.raises(ValueError, match="no usable safetensors or PyTorch file"):
        read_initial(str(tmp_path / "torn.safetensors"), TINY, seed=0)
    save_file(backbone(RESNET)[1], tmp_path / "r18.safetensors")
    with pytest.raises(ValueError, match=r"the first that is absent is .*: is it of another architecture"):
        read_initial(str(tmp_path / "r18.safetensors"), TINY, seed=0)
    _, renamed = backbone(TINY)
    renamed["conv1.weight"] = torch.zeros(3, 3)
    save_file(renamed, tmp_path / "bent.safetensors")
    with pytest.raises(ValueError, match=r"conv1\.weight is \[3, 3\] and tiny has \[16, 3, 3, 3\]"):
        read_initial(str(tmp_path / "bent.safetensors"), TINY, seed=0)


def test_a_vision_transformer_begins_at_another_input_size(tmp_path):
    trained = make_encoder(ModelConfig(architecture="vit_s", embedding_size=8, height=64, width=64), seed=7)
    path = str(tmp_path / "vit.pth")
    torch.save({"teacher": {f"backbone.{name}": value for name, value in trained.backbone.state_dict().items()}}, path)
    config = ModelConfig(architecture="vit_s", embedding_size=8, height=64, width=32)
    tensors, same = read_initial(path, config, seed=3)
    assert same == config
    assert torch.equal(tensors["backbone.cls_token"], trained.backbone.cls_token)
    assert tensors["backbone.pos_embed"].shape == (1, 9, 384)
    assert tensors.keys() == trained.state_dict().keys()


def test_a_library_s_name_is_no_path():
    assert [resolve_initial(location) for location in ("", "timm:", "/a/b.pth")] == ["", "timm:", "/a/b.pth"]
    assert model_config_of("timm:ms_in1k", RESNET) == RESNET
    with pytest.raises(ValueError, match="torchvision has no weights under the names of tiny"):
        read_initial("torchvision:DEFAULT", TINY, seed=0)
