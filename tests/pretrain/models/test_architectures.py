"""The table of architectures agrees with the networks, and inputs that they cannot take are refused."""

import re

import pytest
import torch

from pretrain.models.architectures import BACKBONES
from pretrain.models.config import ModelConfig
from pretrain.models.encoder import Encoder


@pytest.mark.parametrize("architecture", list(BACKBONES))
def test_the_table_says_how_many_features_a_network_pools(architecture):
    config = ModelConfig(architecture=architecture, embedding_size=0)
    with torch.device("meta"), torch.no_grad():
        encoder = Encoder(config).eval()
        raw, trunk = encoder.with_trunk(torch.zeros(2, 3, 256, 128, dtype=torch.uint8))
    assert raw.shape == (2, BACKBONES.load(architecture).num_features) == (2, config.length)
    assert trunk.shape[1] == (128 if architecture == "tiny" else config.num_features)
    assert ModelConfig(architecture=architecture, embedding_size=7).length == 7


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (
            ("vit_s", 256, 130),
            "--model.height/--model.width must be multiples of 16 with --model.architecture vit_s, got",
        ),
        (("vit_b", 248, 128), "multiples of 16 with --model.architecture vit_b, got (248, 128)"),
        (("swin_t", 240, 128), "multiples of 32 with --model.architecture swin_t, got (240, 128)"),
        (("swin_b", 256, 112), "multiples of 32 with --model.architecture swin_b, got (256, 112)"),
        (("resnet50_ibn_a", 16, 16), "must be >= 17 in one of both with --model.architecture resnet50_ibn_a"),
        (("resnet50", 8, 16), "model.height/width must be >= 16, got (8, 16)"),
    ],
)
def test_inputs_that_an_architecture_cannot_take_are_refused(values, text):
    architecture, height, width = values
    with pytest.raises(ValueError, match=re.escape(text)):
        ModelConfig(architecture=architecture, height=height, width=width)


@pytest.mark.parametrize("architecture", ["tiny", "swin_s", "vit_s"])
def test_only_a_resnet_pools_by_a_learned_exponent(architecture):
    with pytest.raises(ValueError, match=r"--model\.pooling must be average with --model\.architecture .*, got gem"):
        ModelConfig(architecture=architecture, pooling="gem")


@pytest.mark.parametrize(("architecture", "size"), [("resnet50_ibn_a", (17, 16)), ("swin_t", (32, 32))])
def test_the_smallest_inputs_work(architecture, size):
    config = ModelConfig(architecture=architecture, height=size[0], width=size[1])
    with torch.device("meta"):
        found = Encoder(config).train()(torch.zeros(2, 3, *size, dtype=torch.uint8))
    assert found.shape == (2, 512)
