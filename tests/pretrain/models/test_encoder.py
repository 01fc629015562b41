"""The encoder: what comes out, where it differs from torchvision's networks, and its seed."""

import functools

import pytest
import torch
import torchvision
import torchvision.transforms.v2.functional
from torch import nn

from pretrain.models.backbones import make_backbone
from pretrain.models.config import ModelConfig
from pretrain.models.encoder import make_encoder
from pretrain.models.pooling import EmbeddingNorm, GeneralisedMean

EACH = ["tiny", "resnet18", "resnet50", "resnet50_ibn_a", "swin_t", "vit_s"]


def config(architecture="tiny", **others):
    return ModelConfig(**{"architecture": architecture, "embedding_size": 8, "height": 64, "width": 32, **others})


@functools.cache
def made(architecture):
    """An encoder in evaluation mode; the large ones take a while to make."""
    return make_encoder(config(architecture), seed=0).eval()


def images(count=3, height=64, width=32):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, height, width), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("architecture", EACH)
def test_pixels_become_unit_vectors(architecture):
    encoder = made(architecture)
    with torch.inference_mode():
        got = encoder(images())
        precise = encoder.double()(images())
        alone = encoder(images()[:1])
    assert (got.shape, got.dtype) == ((3, 8), torch.float32)
    torch.testing.assert_close(got.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(alone, precise[:1], rtol=1e-9, atol=1e-9)


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
    for network in (plain, make_backbone(config(architecture))):
        network.layer4.register_forward_hook(lambda module, inputs, output: sizes.append(tuple(output.shape[2:])))
        with torch.inference_mode():
            network.eval()(torch.zeros(1, 3, 64, 32))
    assert sizes == [(2, 1), (4, 2)]


@pytest.mark.parametrize(("architecture", "features"), [("resnet18", 512), ("resnet50", 2048)])
def test_weights_fit_torchvision_without_its_classifier(architecture, features):
    backbone = make_backbone(config(architecture))
    assert config(architecture, embedding_size=0).length == features
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


@pytest.mark.parametrize("architecture", ["swin_t", "vit_s"])
def test_weights_of_timm_s_networks_follow_from_the_seed_too(architecture):
    torch.manual_seed(5)
    again = make_encoder(config(architecture), seed=0).state_dict()
    assert all(torch.equal(again[name], value) for name, value in made(architecture).state_dict().items())


def test_the_tiny_network_tells_above_from_below():
    encoder = make_encoder(config(), seed=0).eval()
    picture = images(1)
    with torch.inference_mode():
        similarity = (encoder(picture) * encoder(picture.flip(2))).sum()
    assert similarity < 0.9999
    assert make_backbone(config()).eval()(torch.zeros(2, 3, 64, 32)).shape == (2, config().num_features)


SHAPES = [
    ("tiny", (128, 8, 4)),
    ("resnet18", (256, 4, 2)),
    ("resnet50_ibn_a", (1024, 4, 2)),
    ("swin_t", (384, 4, 2)),
    ("vit_s", (384, 4, 2)),
]


@pytest.mark.parametrize(("architecture", "shape"), SHAPES)
def test_the_map_is_of_unit_vectors_and_leaves_no_hook(architecture, shape):
    encoder = made(architecture)
    with torch.inference_mode():
        embedding, found = encoder.with_map(images())
        torch.testing.assert_close(embedding, encoder(images()))
    assert found.shape == (3, *shape)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(3, *shape[1:], dtype=found.dtype))
    assert not any(module._forward_hooks for module in encoder.modules())


@pytest.mark.parametrize(
    ("architecture", "layers"),
    [
        ("tiny", ["blocks.0", "blocks"]),
        ("resnet18", ["layer4", "bn1"]),
        ("swin_t", ["layers.0", "norm"]),
        ("vit_s", ["blocks.8", "norm"]),
    ],
)
def test_several_layers_in_one_pass_are_what_each_gives_alone(architecture, layers):
    encoder, passes = made(architecture), []
    counter = encoder.backbone.register_forward_hook(lambda *_: passes.append(1))
    with torch.inference_mode():
        raw, found = encoder.with_layers(images(), layers)
        assert len(passes) == 1
        alone = [encoder.with_layers(images(), [layer])[1][0] for layer in layers]
        repeated = encoder.with_layers(images(), [layers[1], layers[0], layers[1]])[1]
        assert encoder.with_layers(images(), [])[1] == []
        torch.testing.assert_close(raw, encoder.raw(images()), rtol=0, atol=0)
        torch.testing.assert_close(nn.functional.normalize(raw, dim=1), encoder(images()), rtol=0, atol=0)
    assert not torch.allclose(raw.norm(dim=1), torch.ones(3, dtype=raw.dtype))
    for got, expected in zip(found, alone, strict=True):
        assert torch.equal(got, expected)
    assert torch.equal(repeated[0], found[1])
    assert torch.equal(repeated[1], found[0])
    counter.remove()
    assert not any(module._forward_hooks for module in encoder.modules())


@pytest.mark.parametrize("architecture", ["tiny", "resnet18", "swin_t", "vit_s"])
def test_the_raw_map_is_the_map_before_its_norm(architecture):
    encoder = made(architecture)
    with torch.inference_mode():
        embedding, found = encoder.with_map(images())
        same, raw = encoder.with_raw_map(images())
        trunk = encoder.with_trunk(images())[1]
    assert torch.equal(same, embedding)
    assert torch.equal(nn.functional.normalize(raw, dim=1), found)
    assert torch.equal(raw, trunk) == (architecture in ("tiny", "vit_s"))
    assert (raw.min() >= 0) == (architecture in ("tiny", "resnet18"))


def test_an_unknown_layer_leaves_no_hook():
    encoder = make_encoder(config(), seed=0)
    with pytest.raises(AttributeError, match="layer9"):
        encoder.with_layers(images(), ["blocks", "layer9"])
    assert not any(module._forward_hooks for module in encoder.modules())


@pytest.mark.parametrize("architecture", EACH)
def test_the_trunk_is_what_is_pooled(architecture):
    encoder = made(architecture).double()
    with torch.inference_mode():
        raw = encoder.raw(images())
        found, trunk = encoder.with_trunk(images())
        torch.testing.assert_close(found, nn.functional.normalize(raw, dim=1), rtol=0, atol=0)
        if architecture not in ("tiny", "vit_s"):  # stripes apart; a class token
            torch.testing.assert_close(encoder.embedding(trunk.mean(dim=(2, 3))), raw, rtol=1e-9, atol=1e-9)
    assert trunk.shape[0] == 3
    assert trunk.ndim == 4


@pytest.mark.parametrize(("is_normed", "names"), [(False, set()), (True, {"weight", "running_mean", "running_var"})])
def test_without_a_linear_layer_features_are_the_embedding(is_normed, names):
    encoder = make_encoder(config("resnet18", embedding_size=0, bn_neck=is_normed), seed=0).eval().double()
    state = encoder.state_dict()
    assert {name for name in state if not name.startswith("backbone.")} == {
        f"neck.{name}" for name in (names | {"num_batches_tracked"} if names else names)
    }
    with torch.inference_mode():
        raw, features = encoder.raw(images()), encoder.backbone((images() - encoder.mean) / encoder.std)
    assert raw.shape == (3, 512)
    torch.testing.assert_close(raw, features / (1 + 1e-5) ** 0.5 if is_normed else features, rtol=1e-9, atol=1e-9)


def test_the_neck_is_behind_the_linear_layer_and_changes_no_other_weight():
    plain, normed = (make_encoder(config(bn_neck=is_normed), seed=0).train() for is_normed in (False, True))
    assert isinstance(normed.neck, EmbeddingNorm)
    assert all(torch.equal(normed.state_dict()[name], value) for name, value in plain.state_dict().items())
    raw, expected = normed.raw(images()), plain.raw(images())
    expected = (expected - expected.mean(dim=0)) / (expected.var(dim=0, correction=0) + 1e-5).sqrt()
    torch.testing.assert_close(raw, expected)


def test_a_resnet_pools_by_a_learned_exponent_where_it_is_asked_for():
    plain, learned = (
        make_encoder(config("resnet18", pooling=kind), seed=0).eval().double() for kind in ("average", "gem")
    )
    assert isinstance(learned.backbone.avgpool, GeneralisedMean)
    assert set(learned.state_dict()) - set(plain.state_dict()) == {"backbone.avgpool.p"}
    with torch.no_grad():
        learned.backbone.avgpool.p.fill_(1)
        torch.testing.assert_close(learned(images()), plain(images()), rtol=1e-5, atol=1e-5)
    learned.raw(images()).sum().backward()
    assert learned.backbone.avgpool.p.grad.abs() > 0


@pytest.mark.parametrize("architecture", EACH)
def test_every_weight_learns_in_half_precision_too(architecture):
    """A weight without a gradient would stop `DistributedDataParallel`."""
    encoder = make_encoder(config(architecture, embedding_size=0, bn_neck=True), seed=0).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        raw = encoder.raw(images())
    assert raw.dtype == torch.float32
    (raw**3).sum().backward()
    assert [name for name, parameter in encoder.named_parameters() if parameter.grad is None] == []
    assert all(torch.isfinite(parameter.grad).all() for parameter in encoder.parameters())
