"""Weights as others save them: pickles of tensors, wrappers around them, and downloads that lie in a cache."""

import argparse
import datetime
import functools
import io
import pickle
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torchvision

from pretrain.models.config import ModelConfig
from pretrain.models.weight_files import (
    HARMLESS,
    NUMBERS,
    from_timm,
    is_download,
    is_weights,
    read_weights,
    renormalised,
)

RESNET = ModelConfig(architecture="resnet18", height=64, width=32)
TENSORS = {"a.weight": torch.arange(3.0), "a.bias": torch.ones(2, 2)}


def read(path, config=RESNET):
    return read_weights(str(path), config)


@pytest.mark.parametrize("ending", ["pth", "pt", "bin", "pth.tar"])
@pytest.mark.parametrize(
    "wrapped",
    [
        TENSORS,
        TENSORS | {"epoch": 3},
        {"state_dict": TENSORS, "epoch": 3, "optimizer": {"lr": 0.1}},
        {"model": TENSORS},
        {"student": {"a.weight": torch.zeros(1)}, "teacher": TENSORS},
        {"net": {"state_dict": TENSORS}},
    ],
)
def test_pickles_of_tensors_are_read_with_or_without_a_wrapper(tmp_path, ending, wrapped):
    torch.save(wrapped, tmp_path / f"weights.{ending}")
    found = read(tmp_path / f"weights.{ending}")
    assert found.keys() == TENSORS.keys()
    assert all(torch.equal(found[name], value) for name, value in TENSORS.items())


BESIDE = {
    "numbers": {name: np.ones(1, name)[0] for name in NUMBERS},
    "options of a training": argparse.Namespace(lr=0.1, best=np.float64(0.87)),
    "a dtype": np.dtype("float32"),
    "arrays": {name: np.ones((2, 3), name) for name in NUMBERS},
    "where and when": (Path("/data/run"), datetime.datetime(2026, 1, 2, 3, 4)),
}


@pytest.mark.parametrize("value", BESIDE.values(), ids=BESIDE)
def test_what_training_programs_keep_beside_a_network_is_no_reason_to_refuse_it(tmp_path, value):
    torch.save({"model": TENSORS, "kept": value}, tmp_path / "weights.pth")
    found = read(tmp_path / "weights.pth")
    assert all(torch.equal(found[name], tensor) for name, tensor in TENSORS.items())


def test_numbers_are_read_under_the_names_of_numpy_1_and_2(tmp_path):
    """A pickle of NumPy 1, made by exchanging the module's name, both of which have a length before them."""
    kept = pickle.dumps({"model": {}, "best": np.float64(0.87)}, protocol=2)
    new, old = b"cnumpy._core.multiarray", b"cnumpy.core.multiarray"
    assert new in kept
    for content in (kept, kept.replace(new, old)):
        with torch.serialization.safe_globals(HARMLESS):
            assert torch.load(io.BytesIO(_zipped(content)), weights_only=True)["best"] == 0.87


def _zipped(content):
    """A file of torch.save's around a pickle."""
    stream = io.BytesIO()
    torch.save({}, stream)
    made = io.BytesIO()
    with zipfile.ZipFile(stream) as source, zipfile.ZipFile(made, "w") as target:
        for name in source.namelist():
            target.writestr(name, content if name.endswith("data.pkl") else source.read(name))
    return made.getvalue()


@pytest.mark.parametrize("name", ["os.system", "builtins.eval", "numpy.load", "argparse.FileType"])
def test_what_is_harmless_lets_nothing_else_in(tmp_path, name):
    module, _, attribute = name.rpartition(".")
    content = f"c{module}\n{attribute}\n(Vtrue\ntR.".encode()
    (tmp_path / "evil.pth").write_bytes(_zipped(content))
    with pytest.raises(ValueError, match=r"evil\.pth: .*never run"):
        read(tmp_path / "evil.pth")


def test_a_pickle_that_would_run_code_is_refused_in_one_line(tmp_path):
    torch.save({"state_dict": TENSORS, "hook": functools.partial(print, "ran")}, tmp_path / "evil.pth")
    text = r"evil\.pth: .*never run \(.*functools\.partial.*state_dict\(\) alone"
    with pytest.raises(ValueError, match=text) as error:
        read(tmp_path / "evil.pth")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"torn", b"PK\x03\x04torn"])
def test_a_damaged_pickle_is_refused_in_one_line(tmp_path, content):
    (tmp_path / "torn.pth").write_bytes(content)
    with pytest.raises(ValueError, match=r"torn\.pth: damaged, or a pickle with more than values") as error:
        read(tmp_path / "torn.pth")
    assert "\n" not in str(error.value)


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"absent\.pth: no usable safetensors or PyTorch file .*check the path"):
        read(tmp_path / "absent.pth")


@pytest.mark.parametrize(
    ("location", "is_tensors", "is_name"),
    [
        ("torchvision:IMAGENET1K_V2", True, True),
        ("timm:", True, True),
        ("/a/b.safetensors", True, False),
        ("s3://bucket/b.pth.tar", True, False),
        ("/a/model", False, False),
    ],
)
def test_kinds_of_locations(location, is_tensors, is_name):
    assert (is_weights(location), is_download(location)) == (is_tensors, is_name)


def test_torchvision_s_weights_are_read_from_its_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    url = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.url
    (tmp_path / "hub/checkpoints").mkdir(parents=True)
    torch.save(TENSORS, tmp_path / "hub/checkpoints" / url.rsplit("/")[-1])
    found = read("torchvision:IMAGENET1K_V1")
    assert all(torch.equal(found[name], value) for name, value in TENSORS.items())


def test_a_failed_download_is_told_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody listens there
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("urllib.request._opener", None)  # or what it learns of proxies here would stay for ever
    with pytest.raises(ValueError, match=r"^torchvision:IMAGENET1K_V1: the download failed .*fetch https://.*path of"):
        read("torchvision:IMAGENET1K_V1")


@pytest.mark.parametrize(
    ("location", "architecture", "text"),
    [
        ("torchvision:V9", "resnet50", "torchvision's weights of resnet50 are IMAGENET1K_V1, IMAGENET1K_V2"),
        ("torchvision:DEFAULT", "resnet50_ibn_a", "torchvision has no weights under the names of resnet50_ibn_a"),
        ("timm:v9", "swin_t", "timm:v9: timm's weights of swin_t are ms_i"),
        ("timm:", "tiny", "timm:: timm's weights of tiny are none"),
        ("timm:", "resnet50_ibn_a", "timm's weights of resnet50_ibn_a are none"),
    ],
)
def test_names_that_a_library_does_not_have_are_refused(location, architecture, text):
    with pytest.raises(ValueError, match=re.escape(text)):
        read_weights(location, ModelConfig(architecture=architecture))


@pytest.mark.slow
def test_timm_s_file_becomes_a_backbone_that_sees_what_timm_s_network_sees(tmp_path):
    """The default ViT-S of timm was trained with mean and deviation 0.5."""
    config = ModelConfig(architecture="vit_s", height=224, width=224)
    trained = timm.create_model("vit_small_patch16_224", num_classes=1000).eval().double()
    torch.save(trained.state_dict(), tmp_path / "timm.pth")
    tensors = from_timm("timm:", config, {"file": str(tmp_path / "timm.pth"), "custom_load": False})
    assert torch.equal(tensors["pos_embed"], trained.pos_embed)
    assert not [name for name in tensors if name.startswith("head.")]
    image = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mean, std = torch.tensor((0.485, 0.456, 0.406)), torch.tensor((0.229, 0.224, 0.225))
    with torch.inference_mode():
        expected = trained.forward_head(trained.forward_features((image - 0.5) / 0.5), pre_logits=True)
        trained.reset_classifier(0)
        trained.load_state_dict(tensors)
        found = trained((image - mean[:, None, None]) / std[:, None, None])
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_imagenet_s_own_normalisation_changes_nothing():
    tensors = {"patch_embed.proj.weight": torch.randn(5, 3, 4, 4), "patch_embed.proj.bias": torch.randn(5)}
    found = renormalised(tensors, torch.tensor((0.485, 0.456, 0.406)), torch.tensor((0.229, 0.224, 0.225)))
    assert all(torch.equal(found[name], value) for name, value in tensors.items())
