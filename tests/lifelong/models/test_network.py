"""The network from stage to stage: what stays bit by bit, what is new, what is refused."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from lifelong.models.network import LifelongModel, model_of, next_model
from lifelong.stages.config import StageConfig
from lifelong.stages.loss_config import LossConfig, MatchingLossConfig
from pretrain.models.config import ModelConfig
from pretrain.models.encoder import make_encoder

PLAIN = StageConfig(recipe="test", model=ModelConfig(architecture="tiny", embedding_size=8, height=32, width=16))
PARTS = replace(PLAIN, loss=LossConfig(parts=0.1, num_parts=3))


def images(count=4, height=32, width=16):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, height, width), generator=generator, dtype=torch.uint8)


def first(config=PLAIN, identities=3):
    encoder = {f"encoder.{name}": value for name, value in make_encoder(config.model, seed=1).state_dict().items()}
    return next_model(config, encoder, torch.randn(identities, 8, generator=torch.Generator().manual_seed(2)))


def test_logits_are_scaled_cosines():
    model = first().eval()
    found = model.outputs(images())
    embedding, logit = found.embedding_BD, found.logit_BC
    expected = 16 * functional.cosine_similarity(embedding[:, None], model.classifier[None], dim=2)
    assert torch.allclose(logit, expected, atol=1e-5)


def test_a_new_head_keeps_old_rows_and_old_logits():
    old = first().eval()
    mean = torch.randn(2, 8, generator=torch.Generator().manual_seed(3))
    new = next_model(PLAIN, old.state_dict(), mean).eval()
    assert new.num_identities == 5
    assert torch.equal(new.classifier[:3], old.classifier)
    assert torch.allclose(new.classifier[3:], functional.normalize(mean, dim=1))
    assert torch.allclose(new(images())["logit_BC"][:, :3], old(images())["logit_BC"], atol=1e-5)
    for name, value in old.encoder.state_dict().items():
        assert torch.equal(value, new.encoder.state_dict()[name]), name


def test_parts_travel_with_the_network_and_come_when_they_are_asked_for():
    plain = first()
    with_parts = next_model(PARTS, plain.state_dict(), torch.randn(1, 8))
    assert with_parts.part_head is not None
    after = next_model(PARTS, with_parts.state_dict(), torch.randn(1, 8))
    for name, value in with_parts.part_head.state_dict().items():
        assert torch.equal(value, after.part_head.state_dict()[name])
    assert next_model(PLAIN, with_parts.state_dict(), torch.randn(1, 8)).part_head is None
    outputs = with_parts.eval().outputs(images())
    assert outputs.part_BPK.shape == outputs.mask_BPK.shape == (4, 3, 128)
    assert outputs.part_logit_BPP.shape == (4, 3, 3)


def test_the_embedding_is_that_of_the_encoder_alone():
    model = next_model(PARTS, first().state_dict(), torch.randn(1, 8)).eval()
    assert torch.equal(model.outputs(images()).embedding_BD, model.encoder(images()))


def test_tensors_give_the_network_back():
    model = next_model(PARTS, first().state_dict(), torch.randn(1, 8)).eval()
    again = model_of(model.state_dict(), PARTS).eval()
    assert all(torch.equal(value, again(images())[name]) for name, value in model(images()).items())


def test_a_resnet_gives_its_last_stage_for_parts():
    config = replace(PARTS, model=ModelConfig(architecture="resnet18", embedding_size=8, height=64, width=32))
    model = LifelongModel(config, 2, with_parts=True, with_matching=False).eval()
    assert model.outputs(images(2, 64, 32)).part_BPK.shape == (2, 3, 512)


def test_another_architecture_is_refused():
    other = replace(PLAIN, model=replace(PLAIN.model, embedding_size=16))
    with pytest.raises(
        ValueError, match=r"encoder\.embedding\.weight is \[8, 512\] in the last network and \[16, 512\]"
    ):
        next_model(other, first().state_dict(), torch.randn(1, 16))
    with pytest.raises(ValueError, match=r"has no encoder\.backbone\.[a-z0-9.]*; is it of another architecture"):
        next_model(
            replace(PLAIN, model=replace(PLAIN.model, architecture="resnet18")), first().state_dict(), torch.randn(1, 8)
        )
    with pytest.raises(ValueError, match="does not fit this stage's configuration"):
        model_of(first().state_dict(), other)


@pytest.mark.parametrize("architecture", ["resnet50_ibn_a", "swin_t", "vit_s"])
def test_every_kind_of_backbone_gives_maps_for_parts_and_matching(architecture):
    size = ModelConfig(architecture=architecture, embedding_size=0, bn_neck=True, height=64, width=32)
    loss = LossConfig(parts=0.1, num_parts=2, matching=MatchingLossConfig(pairwise=1.0, channels=6))
    model = LifelongModel(replace(PLAIN, model=size, loss=loss), 2, with_parts=True, with_matching=True)
    outputs = model.outputs(images(2, 64, 32))
    assert outputs.raw_BD.shape == (2, size.length)
    assert outputs.part_BPK.shape == (2, 2, size.num_features)
    assert outputs.map_BKHW.shape == (2, 6, 4, 2)
    assert model.encoder.neck.weight.requires_grad
