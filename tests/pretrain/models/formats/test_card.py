"""What a reader copies runs: the Python of a model's card, and that of the package's README."""

import re
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from evaluation.datasets.images import read_image
from pretrain.models.directory import load_embedder
from pretrain.models.formats.card import TITLE
from tests.pretrain.models.formats.models import write_with_formats

pytestmark = pytest.mark.slow

README = Path(__file__).parents[4] / "pretrain" / "README.md"
SECTION = "## Take the backbone to timm, torchvision, ONNX Runtime"
BACKBONES: dict[str, dict[str, Any]] = {
    "resnet18": {"architecture": "resnet18"},
    "resnet18 gem": {"architecture": "resnet18", "pooling": "gem", "bn_neck": True},
    "vit_s": {"architecture": "vit_s", "embedding_size": 0},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """A folder per model, with the model in ``model``, and with pictures of another size beside it and in it."""
    folder = tmp_path_factory.mktemp("card")
    shutil.copytree(tiny_model, folder / "tiny" / "model")
    for name, options in BACKBONES.items():
        write_with_formats(folder / name / "model", ("backbone",), **options)
    drawn = np.random.default_rng(0).integers(0, 256, (12, 5, 3), dtype=np.uint8)
    for place in folder.glob("*/model"):
        for picture in (place / "crop.jpg", place.parent / "crop.jpg"):
            cv2.imwrite(str(picture), cv2.resize(drawn, (50, 120)))
    return folder


def blocks_of(text: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def check(blocks: list[str], folder: Path) -> None:
    """Run blocks in one name space: they leave the model's embedding, or the features before its last layers."""
    names: dict = {}
    for block in blocks:
        exec(block, names)
    embedder = load_embedder(str(folder / "model"))
    embedding = names.get("embedding")
    if embedding is None:
        encoder = embedder.encoder.cpu()
        with torch.inference_mode():
            embedding = torch.nn.functional.normalize(encoder.neck(encoder.embedding(names["features"]))).numpy()
    expected = embedder.embed([read_image(str(folder / "crop.jpg"))])
    np.testing.assert_allclose(embedding, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["tiny", *BACKBONES])
def test_the_card_s_code_gives_what_the_model_gives(folder: Path, monkeypatch: pytest.MonkeyPatch, name):
    monkeypatch.chdir(folder / name / "model")
    card = Path("README.md").read_text(encoding="utf-8")
    assert ("The last stage was trained with stride 1" in card) == ("resnet" in name)
    images, *blocks = blocks_of(card.split(TITLE)[1])
    assert len(blocks) == (2 if name == "tiny" else 1)
    for block in blocks:
        check([images, block], folder / name)


@pytest.mark.parametrize("name", ["tiny", "resnet18", "vit_s"])
def test_the_readme_s_code_gives_what_the_model_gives(folder: Path, monkeypatch: pytest.MonkeyPatch, name):
    text = README.read_text(encoding="utf-8")
    assert SECTION in text, "the README has lost its section"
    images, *blocks = blocks_of(text.split(f"{SECTION}\n")[1].split("\n## ")[0])
    monkeypatch.chdir(folder / name)
    mine = [block for block in blocks if all(Path(file).exists() for file in re.findall(r'"(model/[^"]+)"', block))]
    assert len(mine) == (2 if name == "tiny" else 1)
    for block in mine:
        check([images, block], folder / name)
