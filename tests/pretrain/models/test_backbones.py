"""The transformers: timm's own networks in names and numbers, at sizes that people have."""

import pytest
import timm
import torch
from torch import nn

from pretrain.models.architectures import BACKBONES
from pretrain.models.backbones import as_map, make_backbone
from pretrain.models.config import ModelConfig


def config(architecture, height=64, width=32):
    return ModelConfig(architecture=architecture, height=height, width=width)


@pytest.fixture(scope="module", params=["swin_t", "vit_s"])
def backbone(request):
    torch.manual_seed(0)
    made = make_backbone(config(request.param)).eval()
    made.architecture = request.param
    return made


@pytest.mark.parametrize("architecture", [name for name in BACKBONES if BACKBONES.load(name).library == "timm"])
def test_names_and_shapes_are_timm_s(architecture):
    size = (256, 128)
    with torch.device("meta"):
        plain = timm.create_model(BACKBONES.load(architecture).library_name, num_classes=0, img_size=size)
        plain.load_state_dict(make_backbone(config(architecture, *size)).state_dict(), strict=True)


def test_a_plain_network_of_timm_gives_the_same(backbone):
    plain = timm.create_model(
        BACKBONES.load(backbone.architecture).library_name, num_classes=0, img_size=(64, 32)
    ).eval()
    plain.load_state_dict(backbone.state_dict(), strict=True)
    pixels = torch.randn(2, 3, 64, 32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(backbone(pixels), plain(pixels), rtol=0, atol=0)


def test_a_map_is_what_timm_calls_an_intermediate(backbone):
    pixels = torch.randn(2, 3, 64, 32, generator=torch.Generator().manual_seed(1))
    depth = len(backbone.layers) if backbone.architecture == "swin_t" else len(backbone.blocks)
    name = "layers" if backbone.architecture == "swin_t" else "blocks"
    outputs = []
    hook = backbone.get_submodule(f"{name}.{depth - 1}").register_forward_hook(
        lambda _module, _inputs, output: outputs.append(as_map(BACKBONES.load(backbone.architecture), backbone, output))
    )
    with torch.inference_mode():
        expected = backbone.forward_intermediates(pixels, indices=1, intermediates_only=True)
    hook.remove()
    assert outputs[0].shape == (2, backbone.num_features, *((2, 1) if name == "layers" else (4, 2)))
    torch.testing.assert_close(outputs[0], expected[0], rtol=0, atol=0)


def test_nothing_is_drawn_in_training(backbone):
    pixels = torch.randn(2, 3, 64, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        first, again = (backbone.train()(pixels) for _ in range(2))
        torch.testing.assert_close(first, again, rtol=0, atol=0)
        torch.testing.assert_close(first, backbone.eval()(pixels), rtol=0, atol=0)
    assert not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in backbone.modules())


def test_windows_shrink_to_the_last_maps_of_a_person_s_image():
    with torch.device("meta"):
        made = make_backbone(config("swin_t", 256, 128))
    assert [stage.blocks[0].attn.window_size for stage in made.layers] == [(7, 7), (7, 7), (7, 7), (7, 4)]
