"""Model directories with further formats, for the tests of this folder."""

from pathlib import Path

from pretrain.models.config import ModelConfig
from pretrain.models.directory import model_card, write_model
from pretrain.models.encoder import make_encoder
from pretrain.models.formats.files import add_formats


def write_with_formats(folder: Path, formats=(), *, architecture: str = "tiny", **options):
    """Write a model of 64x32 pixels with random weights, with further formats; returns its description."""
    config = ModelConfig(**{"embedding_size": 8, "height": 64, "width": 32, **options}, architecture=architecture)
    state = {name: tensor.contiguous() for name, tensor in make_encoder(config, seed=0).state_dict().items()}
    card = model_card(title="Test", config=config, facts=[("steps", "0")])
    write_model(state, config, str(folder), recipe="test", step=0, card=card)
    return add_formats(str(folder), formats)
