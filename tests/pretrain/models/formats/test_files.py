"""ONNX and torch.export files: any batch, the encoder's embeddings, and refused where they are another's."""

import json
from pathlib import Path

import onnxruntime
import pytest
import torch

from pretrain.models.config import ModelConfig
from pretrain.models.directory import load_embedder
from pretrain.models.encoder import make_encoder
from pretrain.models.formats.files import check_format, read_format, require_packages
from tests.pretrain.models.formats.models import write_with_formats

pytestmark = pytest.mark.slow

CONFIG = ModelConfig(architecture="tiny", embedding_size=8, height=64, width=32)


def encoder(seed=0):
    return make_encoder(CONFIG, seed=seed).eval().requires_grad_(False)


def images(count):
    generator = torch.Generator().manual_seed(9)
    return torch.randint(0, 256, (count, 3, 64, 32), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("name", ["onnx", "torch-export"])
@pytest.mark.parametrize("count", [1, 3, 7])
def test_any_batch_gives_the_encoder_s_embeddings(tiny_model: Path, name, count):
    got = read_format(name, str(tiny_model), encoder(), CONFIG)(images(count))
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, encoder()(images(count)), rtol=0, atol=1e-5)


def test_onnx_takes_pixels_and_names_what_it_gives(tiny_model: Path):
    session = onnxruntime.InferenceSession(tiny_model / "model.onnx", providers=["CPUExecutionProvider"])
    (given,), (result,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.type, given.shape) == ("images", "tensor(uint8)", ["batch", 3, 64, 32])
    assert (result.name, result.type, result.shape) == ("embedding", "tensor(float)", ["batch", 8])


@pytest.mark.parametrize("name", ["onnx", "torch-export"])
def test_another_encoder_s_file_is_refused(tiny_model: Path, name):
    assert 0 <= check_format(name, str(tiny_model), encoder(), CONFIG) < 1e-5
    broken = encoder()
    broken.get_parameter("embedding.bias")[0] = torch.nan
    for other in (encoder(seed=1), broken):
        with pytest.raises(ValueError, match=f"more than 0.0001; nothing was written: leave {name} out of --formats"):
            check_format(name, str(tiny_model), other, CONFIG)


def test_a_backbone_s_file_is_compared_by_embeddings(tmp_path: Path):
    description = write_with_formats(tmp_path / "model", ("backbone",), architecture="resnet18")
    assert description["checked"] == {"backbone": pytest.approx(0, abs=1e-6)}
    assert {"library": "torchvision", "name": "resnet18", "arguments": {}}.items() <= description["backbone"].items()
    config = ModelConfig(architecture="resnet18", embedding_size=8, height=64, width=32)
    with pytest.raises(ValueError, match=r"backbone\.safetensors gives .* leave backbone out"):
        check_format("backbone", str(tmp_path / "model"), make_encoder(config, seed=1).eval(), config)


def test_the_folder_holds_whole_files_and_says_what_was_checked(tiny_model: Path, tmp_path: Path):
    plain = write_with_formats(tmp_path / "plain")
    assert sorted(path.name for path in tiny_model.iterdir()) == [
        "README.md",
        "config.json",
        "model.onnx",
        "model.pt2",
        "model.safetensors",
    ]
    description = json.loads((tiny_model / "config.json").read_text(encoding="utf-8"))
    assert description["checked"].keys() == {"onnx", "torch-export"}
    assert {name: value for name, value in description.items() if name != "checked"} == plain
    assert load_embedder(str(tiny_model)).fingerprint == plain["fingerprint"]


def test_files_do_not_tell_where_they_were_made(tiny_model: Path):
    here = str(Path(__file__).parents[4]).encode()
    for path in tiny_model.iterdir():
        assert here not in path.read_bytes(), path.name


def test_a_package_that_is_missing_is_named_with_the_remedy():
    require_packages("onnx", ("json",))
    with pytest.raises(ValueError, match="--formats onnx needs no_such: pip install json no_such"):
        require_packages("onnx", ("json", "no_such"))
