"""A model on disk: ``model.safetensors``, ``config.json``, ``README.md``. No pickle: loading never runs code."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor

from cluster import storage
from cluster.values import from_json, to_json
from pretrain.config import ModelConfig
from pretrain.models.encoder import IMAGENET_MEAN, IMAGENET_STD, Encoder, make_encoder

BATCH = 128
"""Images that are embedded at once."""


def model_fingerprint(tensors: Mapping[str, Tensor], config: ModelConfig) -> str:
    """Hash the weights and the architecture: equal exactly if two models give the same embeddings."""
    digest = hashlib.sha256(json.dumps(to_json(config), sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()[:16]


def write_model(
    tensors: Mapping[str, Tensor], config: ModelConfig, out: str, *, recipe: str, step: int, card: str
) -> dict[str, Any]:
    """Write a model directory.

    Args:
        tensors: State of the encoder, plain memory order.
        config: Its architecture.
        out: The directory; replaced as a whole if it is there.
        recipe: Name of the recipe that trained it.
        step: Optimiser steps it was trained for; 0 means random weights.
        card: Text of the model card.

    Returns:
        The content of its ``config.json``.
    """
    description = {
        "model": to_json(config),
        "mean": IMAGENET_MEAN,
        "std": IMAGENET_STD,
        "recipe": recipe,
        "step": step,
        "fingerprint": model_fingerprint(tensors, config),
    }
    with storage.folder_to_publish(out, replaces="model.safetensors") as folder:
        save_file(dict(tensors), os.path.join(folder, "model.safetensors"))
        for name, text in (("config.json", json.dumps(description, indent=2) + "\n"), ("README.md", card)):
            with open(os.path.join(folder, name), "w") as stream:
                stream.write(text)
    return description


TRAINED_BY_ISR = (
    "Trained without labels on matched crops of neighbouring video frames (ISR, Dou et al., ICCV 2023). The paper's "
    "training code and full formulas are not public; loss weighting and training settings are this project's own."
)


def model_card(
    *, title: str, config: ModelConfig, facts: Sequence[tuple[str, str]], trained: str = TRAINED_BY_ISR
) -> str:
    """Write the model card: what the model is, what was measured of it, and how it was trained."""
    rows = "\n".join(f"| {name} | {value} |" for name, value in facts)
    return (
        f"# {title}\n\n"
        f"A re-identification backbone of perennial-reid: {config.architecture}, input {config.height}x{config.width} "
        f"RGB, embedding {config.embedding_size}, compared by cosine.\n\n"
        f"| fact | value |\n|---|---|\n{rows}\n\n"
        f"{trained}\n"
    )


@dataclass(frozen=True, slots=True)
class BackboneEmbedder:
    """An encoder as the evaluation's `Embedder`: resizes images, embeds them in batches."""

    encoder: Encoder
    """In evaluation mode."""
    config: ModelConfig
    """Gives the input size."""
    fingerprint: str
    """Of the weights."""

    @property
    def embedding_size(self) -> int:
        """Length of the embedding."""
        return self.config.embedding_size

    @property
    def map_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of a feature map."""
        pixels = torch.zeros(1, 3, self.config.height, self.config.width, dtype=torch.uint8)
        _, maps = self._run(pixels)
        return (maps.shape[2], maps.shape[3], maps.shape[1])

    def embed(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Embed RGB images uint8 [h, w, 3] of any size to float32 [N, D] with unit norm."""
        parts = [np.zeros((0, self.config.embedding_size), dtype=np.float32)]
        for pixels in self._batches(images):
            with torch.inference_mode():
                parts.append(self.encoder(pixels.to(self._device)).cpu().numpy())
        return np.concatenate(parts)

    def embed_with_maps(self, images: Sequence[NDArray[np.uint8]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Embed images, and return their feature maps too, float32 [N, height * width, channels]."""
        parts = [self._run(pixels) for pixels in self._batches(images)]
        features = [embedding.cpu().numpy() for embedding, _ in parts]
        maps = [found.flatten(2).transpose(1, 2).cpu().numpy() for _, found in parts]
        return np.concatenate(features), np.concatenate(maps)

    @property
    def _device(self) -> torch.device:
        return next(self.encoder.parameters()).device

    def _run(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        with torch.inference_mode():
            return self.encoder.with_map(pixels.to(self._device))

    def _batches(self, images: Sequence[NDArray[np.uint8]]) -> Iterator[Tensor]:
        """Yield the images at the model's input size, uint8 [B, 3, H, W]."""
        size = (self.config.width, self.config.height)
        for start in range(0, len(images), BATCH):
            batch = [
                cv2.resize(image, size, interpolation=cv2.INTER_AREA if image.shape[0] > size[1] else cv2.INTER_LINEAR)
                for image in images[start : start + BATCH]
            ]
            yield torch.from_numpy(np.stack(batch).astype(np.uint8)).permute(0, 3, 1, 2)


def load_embedder(location: str) -> BackboneEmbedder:
    """Load a model directory, onto the GPU if there is one.

    Raises:
        ValueError: If it is no model directory, or its weights are not those of its config.
    """
    location = storage.resolve(location)
    if not storage.exists(storage.join(location, "config.json")):
        raise ValueError(
            f"{location} is no model directory (no config.json); make one with: python -m pretrain export RUN"
        )
    description = storage.read_json(storage.join(location, "config.json"))
    config = from_json(ModelConfig, description.get("model"))
    try:
        tensors = load(storage.read_bytes(storage.join(location, "model.safetensors")))
    except (FileNotFoundError, SafetensorError) as error:
        raise ValueError(
            f"{location}/model.safetensors is missing or damaged ({error}); export the model again"
        ) from error
    if model_fingerprint(tensors, config) != description.get("fingerprint"):
        raise ValueError(f"the weights in {location} are not those of its config.json; export the model again")
    encoder = make_encoder(config, seed=0)
    encoder.load_state_dict(tensors)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return BackboneEmbedder(encoder.to(device).eval(), config, description["fingerprint"])
