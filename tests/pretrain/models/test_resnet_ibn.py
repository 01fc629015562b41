"""IBN-a: its loop, which norms are split, and the names of the authors' weights."""

import re

import pytest
import torch
import torchvision

from pretrain.models.resnet_ibn import SplitNorm, resnet50_ibn_a


@pytest.fixture(scope="module")
def network():
    with torch.device("meta"):
        return resnet50_ibn_a()


@pytest.mark.parametrize("channels", [4, 5])
@pytest.mark.parametrize("is_training", [True, False])
def test_it_is_the_loop_of_its_docstring(channels, is_training):
    generator = torch.Generator().manual_seed(0)
    norm = SplitNorm(channels).double().train(is_training)
    for tensor in norm.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator, dtype=torch.float64) + 0.5)
    mean, variance = norm.BN.running_mean.clone(), norm.BN.running_var.clone()
    given = torch.randn(3, channels, 4, 2, generator=generator, dtype=torch.float64) * 3 + 1
    weight, bias = torch.cat([norm.IN.weight, norm.BN.weight]), torch.cat([norm.IN.bias, norm.BN.bias])
    expected, half = torch.empty_like(given), channels // 2
    for c in range(channels):
        for b in range(3):
            over = given[b, c] if c < half else given[:, c]
            centre, spread = over.mean(), over.var(correction=0)
            if c >= half and not is_training:
                centre, spread = mean[c - half], variance[c - half]
            expected[b, c] = (given[b, c] - centre) / (spread + 1e-5).sqrt() * weight[c] + bias[c]
    torch.testing.assert_close(norm(given), expected)


def test_a_camera_s_contrast_is_forgotten_by_the_first_half_alone():
    norm, given = SplitNorm(4).double().eval(), torch.randn(2, 4, 4, 2, dtype=torch.float64)
    change = norm(given * 3 + 5) - norm(given)
    assert change[:, :2].abs().max() < 1e-4
    assert change[:, 2:].abs().min() > 1e-3


def test_the_first_norm_of_every_block_is_split_but_for_the_last_stage(network):
    split = [name for name, module in network.named_modules() if isinstance(module, SplitNorm)]
    assert split == [
        f"layer{stage}.{block}.bn1" for stage, blocks in ((1, 3), (2, 4), (3, 6)) for block in range(blocks)
    ]
    assert [network.get_submodule(f"layer{stage}.0.bn1").num_instance for stage in (1, 2, 3)] == [32, 64, 128]


def test_all_other_names_are_torchvision_s(network):
    with torch.device("meta"):
        plain = torchvision.models.resnet50(weights=None).state_dict()
    found = network.state_dict()
    merged = {re.sub(r"\.(IN|BN)\.", ".", name) for name in found}
    assert merged == set(plain)
    assert {name.split(".", 3)[3] for name in found if ".IN." in name} == {"IN.weight", "IN.bias"}
    unchanged = set(found) & set(plain)
    assert all(found[name].shape == plain[name].shape for name in unchanged)
    assert found["layer2.1.bn1.IN.weight"].shape == found["layer2.1.bn1.BN.running_var"].shape == (64,)
