"""Backbones under the names of public libraries: the libraries themselves load them."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch import nn

from pretrain.models.config import ModelConfig
from pretrain.models.encoder import make_encoder
from pretrain.models.formats.library import library_model, read_backbone, write_backbone


def written(tmp_path, architecture, **options):
    config = ModelConfig(architecture=architecture, embedding_size=8, height=64, width=32, **options)
    encoder = make_encoder(config, seed=0).eval().requires_grad_(False)
    write_backbone(str(tmp_path / "backbone.safetensors"), encoder)
    return encoder, config, str(tmp_path / "backbone.safetensors")


def pixels():
    return torch.randn(3, 3, 64, 32, generator=torch.Generator().manual_seed(0))


def test_torchvision_loads_a_resnet_and_strides_make_it_ours(tmp_path: Path):
    encoder, config, path = written(tmp_path, "resnet18")
    network: Any = torchvision.models.resnet18()
    network.fc = nn.Identity()
    network.load_state_dict(load_file(path), strict=True)
    network.eval()
    assert (network(pixels()) - encoder.backbone(pixels())).abs().max() > 1e-3
    model = library_model(encoder, config)
    assert (model.library, model.name, model.arguments, model.gem_exponent) == ("torchvision", "resnet18", {}, None)
    assert model.strides == {"layer4.0.conv1": [1, 1], "layer4.0.downsample.0": [1, 1]}
    network.layer4[0].conv1.stride = network.layer4[0].downsample[0].stride = (1, 1)
    torch.testing.assert_close(network(pixels()), encoder.backbone(pixels()))


def test_timm_loads_a_transformer(tmp_path: Path):
    encoder, config, path = written(tmp_path, "swin_t")
    name = "swin_tiny_patch4_window7_224"
    network = timm.create_model(name, num_classes=0, img_size=(64, 32))
    network.load_state_dict(load_file(path), strict=True)
    torch.testing.assert_close(network.eval()(pixels()), encoder.backbone(pixels()))
    model = library_model(encoder, config)
    assert (model.library, model.name, model.strides) == ("timm", name, {})
    assert model.arguments == {"num_classes": 0, "img_size": [64, 32]}


def test_an_exponent_of_the_pooling_is_noted_beside_the_file(tmp_path: Path):
    encoder, config, path = written(tmp_path, "resnet18", pooling="gem")
    assert library_model(encoder, config).gem_exponent == 3.0
    assert "avgpool.p" not in load_file(path)
    images = torch.randint(0, 256, (2, 3, 64, 32), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    torch.testing.assert_close(read_backbone(path, encoder, config)(images), encoder(images))


def test_ibn_net_is_named_though_no_package_has_it(tmp_path: Path):
    encoder, config, path = written(tmp_path, "resnet50_ibn_a")
    model = library_model(encoder, config)
    assert (model.library, model.name) == ("IBN-Net", "resnet50_ibn_a")
    assert model.strides == {"layer4.0.conv2": [1, 1], "layer4.0.downsample.0": [1, 1]}
    assert {"layer1.0.bn1.IN.weight", "layer1.0.bn1.BN.running_mean"} < load_file(path).keys()
    images = torch.zeros(1, 3, 64, 32, dtype=torch.uint8)
    torch.testing.assert_close(read_backbone(path, encoder, config)(images), encoder(images))


def test_a_file_that_lacks_a_tensor_is_refused(tmp_path: Path):
    encoder, config, path = written(tmp_path, "resnet18")
    tensors = load_file(path)
    del tensors["layer4.1.bn2.running_var"]
    save_file(tensors, path)
    with pytest.raises(RuntimeError, match=r"Missing key.*layer4\.1\.bn2\.running_var"):
        read_backbone(path, encoder, config)


def test_a_backbone_that_no_library_has_is_refused(tmp_path: Path):
    encoder, config, _ = written(tmp_path, "tiny")
    with pytest.raises(ValueError, match="tiny is a backbone that no library has: leave backbone out of --formats"):
        library_model(encoder, config)
