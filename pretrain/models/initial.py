"""Weights to begin with: a model directory, or any safetensors file whose names are the backbone's."""

from collections.abc import Mapping

from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from cluster import storage
from pretrain.config import ModelConfig
from pretrain.models.directory import load_embedder
from pretrain.models.encoder import make_encoder

PREFIXES = ("", "backbone.", "encoder.backbone.", "module.", "module.backbone.", "model.", "state_dict.")
"""What other code bases put before a backbone's names."""


def read_initial(location: str, config: ModelConfig, *, seed: int) -> tuple[dict[str, Tensor], ModelConfig]:
    """Read the encoder's tensors to begin with.

    Args:
        location: A model directory of `export`, which says its own architecture and input size; or a ``.safetensors``
            file with the tensors of the configured backbone, under torchvision's names, with or without one of
            `PREFIXES`; a classifier or other tensors beside them are left out. Empty: random weights.
        config: The model as configured.
        seed: Of what the file does not hold: all of it, or the embedding layer.

    Returns:
        Tensors of the encoder, and its configuration.

    Raises:
        ValueError: If there is no such file, it is damaged, or it lacks a tensor of the backbone or has another shape.
    """
    if not location:
        return make_encoder(config, seed=seed).state_dict(), config
    if not location.endswith(".safetensors"):
        embedder = load_embedder(location)
        return {name: tensor.cpu() for name, tensor in embedder.encoder.state_dict().items()}, embedder.config
    try:
        found = load(storage.read_bytes(storage.resolve(location)))
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{location}: no usable safetensors file ({error}); check the path") from error
    tensors = make_encoder(config, seed=seed).state_dict()
    return tensors | _taken(location, found, tensors, config), config


def model_config_of(location: str, config: ModelConfig) -> ModelConfig:
    """Return the configuration of weights to begin with: a model directory's own, or the configured one."""
    return config if location.endswith(".safetensors") else load_embedder(location).config


def _taken(
    location: str, found: Mapping[str, Tensor], tensors: Mapping[str, Tensor], config: ModelConfig
) -> dict[str, Tensor]:
    names = [name for name in tensors if name.startswith("backbone.")]
    best: dict[str, str] = {}
    for prefix in PREFIXES:
        here = {name: prefix + name.removeprefix("backbone.") for name in names}
        here = {name: source for name, source in here.items() if source in found}
        best = max(best, here, key=len)
    # Counters of batches are absent from files of older PyTorch versions; nothing reads them.
    missing = [name for name in names if name not in best and not name.endswith("num_batches_tracked")]
    if missing:
        raise ValueError(
            f"{location} holds {len(best)} of the {len(names)} tensors of {config.architecture}; the first that is "
            f"absent is {missing[0].removeprefix('backbone.')}: is it of another architecture (--model.architecture)?"
        )
    for name, source in best.items():
        if found[source].shape != tensors[name].shape:
            raise ValueError(
                f"{location}: {source} is {list(found[source].shape)} and {config.architecture} has "
                f"{list(tensors[name].shape)}; is it of another architecture?"
            )
    taken = {name: found[source].to(tensors[name].dtype) for name, source in best.items()}
    prefix = best[names[0]].removesuffix(names[0].removeprefix("backbone.")).removesuffix("backbone.")
    embedding = {name: found.get(prefix + name) for name in ("embedding.weight", "embedding.bias")}
    whole = {name: tensor for name, tensor in embedding.items() if tensor is not None}
    if len(whole) == 2 and all(tensor.shape == tensors[name].shape for name, tensor in whole.items()):
        taken |= whole
    return taken
