"""Weights to begin with: a model directory, a file of a backbone's tensors, or a library's own download."""

from torch import Tensor

from cluster import storage
from pretrain.models.config import ModelConfig
from pretrain.models.directory import load_embedder
from pretrain.models.encoder import make_encoder
from pretrain.models.fitting import fitted
from pretrain.models.weight_files import is_download, is_weights, read_weights


def read_initial(location: str, config: ModelConfig, *, seed: int) -> tuple[dict[str, Tensor], ModelConfig]:
    """Read the encoder's tensors to begin with.

    Args:
        location: A model directory of `export`, which says its own architecture and input size; or what `read_weights`
            reads: tensors of the configured backbone under torchvision's or timm's names, with any prefix before them.
            They should be made for pixels normalised as for ImageNet, as all but some ViTs are.
            A classifier or other tensors beside them are left out. Empty: random weights.
        config: The model as configured.
        seed: Of what the file does not hold: all of it, or the embedding layer.

    Returns:
        Tensors of the encoder, and its configuration.

    Raises:
        ValueError: If there is no such file, it is damaged, or it lacks a tensor of the backbone or has another shape.
    """
    if location and not is_weights(location):
        embedder = load_embedder(location)
        return {name: tensor.cpu() for name, tensor in embedder.encoder.state_dict().items()}, embedder.config
    encoder = make_encoder(config, seed=seed)
    taken = fitted(location, read_weights(location, config), encoder, config.architecture) if location else {}
    return encoder.state_dict() | taken, config


def model_config_of(location: str, config: ModelConfig) -> ModelConfig:
    """Return the configuration of weights to begin with: a model directory's own, or the configured one."""
    return config if is_weights(location) else load_embedder(location).config


def resolve_initial(location: str) -> str:
    """Make the location of weights absolute; empty ones and a library's names stay as they are."""
    return location if not location or is_download(location) else storage.resolve(location)
