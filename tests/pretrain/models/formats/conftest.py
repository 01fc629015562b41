from pathlib import Path

import pytest

from tests.pretrain.models.formats.models import write_with_formats


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of the tiny backbone, for ONNX and torch.export; only to be read."""
    folder = tmp_path_factory.mktemp("formats") / "model"
    write_with_formats(folder, ("onnx", "torch-export"))
    return folder
