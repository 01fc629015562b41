"""Other people's tensors: any prefix, older names, other input sizes, and what is refused."""

import functools
import re

import pytest
import torch

from pretrain.models.config import ModelConfig
from pretrain.models.encoder import Encoder, make_encoder
from pretrain.models.fitting import fitted, grid_of, resampled

RESNET = ModelConfig(architecture="resnet18", embedding_size=8, height=64, width=32)


@pytest.fixture(scope="module")
def encoder():
    return make_encoder(RESNET, seed=3)


@functools.cache
def trained(seed):
    return make_encoder(RESNET, seed=seed).backbone.state_dict()


def backbone(prefix="", seed=7):
    """A trained backbone as others save it."""
    names = [name for name in trained(seed) if not name.endswith("num_batches_tracked")]
    return {prefix + name: trained(seed)[name] for name in names}


def on_meta(architecture, height, width):
    with torch.device("meta"):
        return Encoder(ModelConfig(architecture=architecture, height=height, width=width))


PREFIXES = ["", "module.", "backbone.", "encoder_q.", "module.encoder_q.", "base.", "model.", "backbone.0.", "a.b.c."]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_prefix_of_all_names_is_found(encoder, prefix):
    found = fitted("f", backbone(prefix) | {f"{prefix}fc.weight": torch.zeros(9, 9)}, encoder, "resnet18")
    assert found.keys() == {f"backbone.{name}" for name in backbone()}
    assert all(torch.equal(found[f"backbone.{name}"], value) for name, value in backbone().items())


@pytest.mark.parametrize("value", [torch.zeros(1), torch.tensor([3]), torch.zeros(2, 2), torch.tensor(7)])
def test_counters_that_nobody_reads_may_have_any_shape_and_are_not_taken(encoder, value):
    counters = {name: value for name in trained(7) if name.endswith("num_batches_tracked")}
    assert counters
    found = fitted("f", backbone() | counters | {"neck.num_batches_tracked": value}, encoder, "resnet18")
    assert found.keys() == {f"backbone.{name}" for name in backbone()}


@pytest.mark.parametrize("architecture", ["resnet18", "resnet50_ibn_a", "swin_b", "vit_s"])
def test_only_numbers_with_a_point_are_weights(architecture):
    """So the rule that leaves the others out loses nothing that was learned."""
    encoder = on_meta(architecture, 224, 224)
    learned = {name for name, _ in encoder.backbone.named_parameters()}
    whole = {name for name, tensor in encoder.backbone.state_dict().items() if not tensor.is_floating_point()}
    assert not learned & whole


def test_the_running_mean_of_moco_is_left_alone(encoder):
    both = backbone("module.encoder_k.", seed=8) | backbone("module.encoder_q.")
    found = fitted("f", both, encoder, "resnet18")
    assert torch.equal(found["backbone.conv1.weight"], backbone()["conv1.weight"])


def test_two_backbones_are_refused(encoder):
    with pytest.raises(ValueError, match=r"f holds 2 backbones, under one\., two\.; keep one in the file"):
        fitted("f", backbone("one.") | backbone("two."), encoder, "resnet18")


def test_a_tensor_of_another_shape_is_refused_by_its_name(encoder):
    bent = backbone("module.") | {"module.layer2.0.conv1.weight": torch.zeros(3, 3)}
    text = "f: module.layer2.0.conv1.weight is [3, 3] and resnet18 has [128, 64, 3, 3]"
    with pytest.raises(ValueError, match=re.escape(text)):
        fitted("f", bent, encoder, "resnet18")


@pytest.mark.parametrize(
    ("names", "is_taken"),
    [
        (("model.", "feat"), True),  # the released weights of ISR
        (("backbone.", "embedding"), True),
        (("", "embedding"), True),
        (("model.", "fc"), False),
    ],
)
def test_the_layer_behind_the_backbone_is_taken_under_its_known_names(encoder, names, is_taken):
    prefix, name = names
    layer = {f"{name}.weight": torch.ones(8, 512), f"{name}.bias": torch.ones(8)}
    found = fitted("f", backbone(prefix) | layer, encoder, "resnet18")
    assert ("embedding.weight" in found) == ("embedding.bias" in found) == is_taken
    assert "embedding.weight" not in fitted("f", backbone(prefix) | {f"{name}.weight": torch.ones(8, 512)}, encoder, "")


def test_a_learned_exponent_may_be_absent():
    learned = make_encoder(ModelConfig(architecture="resnet18", height=64, width=32, pooling="gem"), seed=0)
    assert "backbone.avgpool.p" not in fitted("f", backbone(), learned, "resnet18")
    given = backbone() | {"avgpool.p": torch.tensor([4.5])}
    assert fitted("f", given, learned, "resnet18")["backbone.avgpool.p"] == 4.5


def test_older_swins_are_renamed():
    encoder = on_meta("swin_t", 64, 32)
    own = encoder.backbone.state_dict()
    older = {
        re.sub(r"layers\.(\d)\.downsample", lambda found: f"layers.{int(found[1]) - 1}.downsample", name): value
        for name, value in own.items()
    } | {"layers.0.blocks.1.attn_mask": torch.zeros(4, 49, 49), "head.weight": torch.zeros(9, 9)}
    assert "layers.0.downsample.norm.weight" in older
    found = fitted("f", {f"model.{name}": value for name, value in older.items()}, encoder, "swin_t")
    assert found.keys() == {f"backbone.{name}" for name in own}


@pytest.mark.parametrize(("count", "grid"), [(196, (14, 14)), (128, (16, 8)), (1, (1, 1)), (2, (2, 1)), (3, None)])
def test_a_number_of_patches_says_their_grid(count, grid):
    assert grid_of(count) == grid


def positions(tensor, height, width):
    return resampled({"pos_embed": tensor}, on_meta("vit_s", height, width).backbone)["pos_embed"]


def test_position_embeddings_are_resampled():
    trained = torch.randn(1, 1 + 4 * 4, 384, generator=torch.Generator().manual_seed(0))
    assert positions(trained, 64, 64) is trained
    found = positions(trained, 256, 128)
    assert found.shape == (1, 1 + 16 * 8, 384)
    assert torch.equal(found[:, 0], trained[:, 0])  # the class token's
    torch.testing.assert_close(positions(torch.full_like(trained, 0.7), 256, 128), torch.full((1, 129, 384), 0.7))
    rows = torch.arange(16.0).view(1, 16, 1, 1).expand(1, 16, 8, 384).reshape(1, 128, 384)
    high = positions(torch.cat([trained[:, :1], rows], dim=1), 512, 256)[0, 1:].view(32, 16, 384)
    torch.testing.assert_close(high[4:-4, 0, 0], torch.arange(4.0, 28) / 2 - 0.25, rtol=0, atol=0.05)
    torch.testing.assert_close(high[:, 3], high[:, 12])


def test_tables_of_relative_positions_are_resampled():
    name = "layers.3.blocks.0.attn.relative_position_bias_table"
    trained = torch.randn(13 * 13, 24, generator=torch.Generator().manual_seed(0))
    assert resampled({name: trained}, on_meta("swin_t", 224, 224).backbone)[name] is trained
    smaller = on_meta("swin_t", 256, 128).backbone  # windows of 7 x 4 in the last stage
    found = resampled({name: trained}, smaller)[name]
    assert found.shape == (13 * 7, 24)
    constant = resampled({name: torch.full_like(trained, 0.7)}, smaller)[name]
    torch.testing.assert_close(constant, torch.full((13 * 7, 24), 0.7))
    # A step of one patch stays a step of one patch: the table is cut, not squeezed.
    torch.testing.assert_close(found.view(13, 7, 24)[6, 3], trained.view(13, 13, 24)[6, 6])


def test_positions_of_an_unknown_grid_are_refused():
    encoder = on_meta("vit_s", 64, 32)
    state = dict(encoder.backbone.state_dict()) | {"pos_embed": torch.zeros(1, 1 + 3, 384)}
    with pytest.raises(ValueError, match=re.escape("f: pos_embed is [1, 4, 384] and vit_s has [1, 9, 384]")):
        fitted("f", state, encoder, "vit_s")
