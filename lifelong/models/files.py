"""Networks on disk, heads included."""

from safetensors.torch import load, save
from torch import Tensor

from cluster import storage
from pretrain.training.checkpoint import plain


def write_network(location: str, tensors: dict[str, Tensor]) -> None:
    """Write a network's tensors, whole or not at all."""
    storage.write_bytes(location, save(plain(tensors)))


def read_network(location: str) -> dict[str, Tensor]:
    """Read a network's tensors."""
    return load(storage.read_bytes(location))
