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


@pytest.mark.parametrize(
    ("architecture", "layers"), [("tiny", ["blocks.0", "blocks"]), ("resnet18", ["layer4", "bn1"])]
)
def test_several_layers_in_one_pass_are_what_each_gives_alone(architecture, layers):
    encoder = make_encoder(config(architecture), seed=0).eval()
    passes = []
    encoder.backbone.conv1.register_forward_hook(lambda *_: passes.append(1))
    with torch.inference_mode():
        raw, found = encoder.with_layers(images(), layers)
        assert len(passes) == 1
        alone = [encoder.with_layers(images(), [layer])[1][0] for layer in layers]
        repeated = encoder.with_layers(images(), [layers[1], layers[0], layers[1]])[1]
        assert encoder.with_layers(images(), [])[1] == []
        torch.testing.assert_close(raw, encoder.raw(images()), rtol=0, atol=0)
        torch.testing.assert_close(nn.functional.normalize(raw, dim=1), encoder(images()), rtol=0, atol=0)
    assert not torch.allclose(raw.norm(dim=1), torch.ones(3))
    for got, expected in zip(found, alone, strict=True):
        assert torch.equal(got, expected)
    assert torch.equal(repeated[0], found[1])
    assert torch.equal(repeated[1], found[0])
    assert sum(len(module._forward_hooks) for module in encoder.modules()) == 1


@pytest.mark.parametrize("architecture", ["tiny", "resnet18"])
def test_the_raw_map_is_the_map_before_its_norm(architecture):
    encoder = make_encoder(config(architecture), seed=0).eval()
    with torch.inference_mode():
        embedding, found = encoder.with_map(images())
        same, raw = encoder.with_raw_map(images())
        trunk = encoder.with_trunk(images())[1]
    assert torch.equal(same, embedding)
    assert torch.equal(nn.functional.normalize(raw, dim=1), found)
    assert torch.equal(raw, trunk) == (architecture == "tiny")
    assert raw.min() >= 0


def test_an_unknown_layer_leaves_no_hook():
    encoder = make_encoder(config(), seed=0)
    with pytest.raises(AttributeError, match="layer9"):
        encoder.with_layers(images(), ["blocks", "layer9"])
    assert not any(module._forward_hooks for module in encoder.modules())
