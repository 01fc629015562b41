"""The encoder: what comes out, where it differs from torchvision's networks, and its seed."""

import pytest
import torch
import torchvision
import torchvision.transforms.v2.functional
from torch import nn

from pretrain.config import ModelConfig
from pretrain.models.encoder import make_backbone, make_encoder


def config(architecture="tiny"):
    return ModelConfig(architecture=architecture, embedding_size=8, height=64, width=32)


def images(count=3, height=64, width=32):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, height, width), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("architecture", ["tiny", "resnet18", "resnet50"])
def test_pixels_become_unit_vectors(architecture):
    encoder = make_encoder(config(architecture), seed=0).eval()
    with torch.inference_mode():
        got = encoder(images())
        alone = encoder(images()[:1])
    assert (got.shape, got.dtype) == ((3, 8), torch.float32)
    torch.testing.assert_close(got.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(alone, got[:1], rtol=1e-4, atol=1e-5)


def test_pixels_are_normalised_as_for_imagenet():
    seen = []
    encoder = make_encoder(config(), seed=0)
    encoder.backbone.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    encoder(images())
    expected = torchvision.transforms.v2.functional.normalize(
        images() / 255, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    )
    torch.testing.assert_close(seen[0], expected)
    assert "mean" not in encoder.state_dict()


@pytest.mark.parametrize("architecture", ["resnet18", "resnet50"])
def test_the_last_stage_of_a_resnet_keeps_the_resolution(architecture):
    sizes = []
    plain = torchvision.models.get_model(architecture, weights=None)
    for network in (plain, make_backbone(architecture)[0]):
        network.layer4.register_forward_hook(lambda module, inputs, output: sizes.append(tuple(output.shape[2:])))
        with torch.inference_mode():
            network.eval()(torch.zeros(1, 3, 64, 32))
    assert sizes == [(2, 1), (4, 2)]


@pytest.mark.parametrize(("architecture", "features"), [("resnet18", 512), ("resnet50", 2048)])
def test_weights_fit_torchvision_without_its_classifier(architecture, features):
    backbone, number = make_backbone(architecture)
    assert number == features
    plain = torchvision.models.get_model(architecture, weights=None)
    plain.fc = nn.Identity()
    plain.load_state_dict(backbone.state_dict(), strict=True)
    backbone.load_state_dict(plain.state_dict(), strict=True)


def test_weights_follow_from_the_seed_and_the_global_generator_is_left_alone():
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first = make_encoder(config(), seed=3).state_dict()
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(2)
    again, other = make_encoder(config(), seed=3).state_dict(), make_encoder(config(), seed=4).state_dict()
    assert all(torch.equal(again[name], value) for name, value in first.items())
    assert not torch.equal(other["embedding.weight"], first["embedding.weight"])


def test_the_tiny_network_tells_above_from_below():
    encoder = make_encoder(config(), seed=0).eval()
    picture = images(1)
    with torch.inference_mode():
        similarity = (encoder(picture) * encoder(picture.flip(2))).sum()
    assert similarity < 0.9999
    features, number = make_backbone("tiny")
    assert features.eval()(torch.zeros(2, 3, 64, 32)).shape == (2, number)


@pytest.mark.parametrize(("architecture", "shape"), [("tiny", (128, 8, 4)), ("resnet18", (256, 4, 2))])
def test_the_map_is_of_unit_vectors_and_leaves_no_hook(architecture, shape):
    encoder = make_encoder(config(architecture), seed=0).eval()
    with torch.inference_mode():
        embedding, found = encoder.with_map(images())
        torch.testing.assert_close(embedding, encoder(images()))
    assert found.shape == (3, *shape)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(3, *shape[1:]))
    assert not any(module._forward_hooks for module in encoder.modules())
