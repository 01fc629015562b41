"""A model that was loaded, as evaluation wants it: images of any size in, features and feature maps out."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evaluation.qaconv.head import QAConvHead
from pretrain.models.config import ModelConfig
from pretrain.models.encoder import Encoder
from pretrain.models.matching import MatchingBranch

BATCH = 128
"""Images that are embedded at once."""
RESIZING_THREADS = 4
"""Keep a GPU busy."""


@dataclass(frozen=True, slots=True)
class BackboneEmbedder:
    """An encoder as the evaluation's `Embedder`: resizes images, embeds them in batches."""

    encoder: Encoder
    """In evaluation mode."""
    config: ModelConfig
    """Gives the input size."""
    fingerprint: str
    """Of the weights."""
    matching: MatchingBranch | None = None
    """In evaluation mode; None if the model was not trained to match. Its maps then are the encoder's own."""

    @property
    def embedding_size(self) -> int:
        """Length of the embedding."""
        return self.config.length

    @property
    def map_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of a feature map."""
        pixels = torch.zeros(1, 3, self.config.height, self.config.width, dtype=torch.uint8)
        _, maps = self._run(pixels)
        return (maps.shape[2], maps.shape[3], maps.shape[1])

    @property
    def head(self) -> QAConvHead | None:
        """The trained matcher of the feature maps."""
        return None if self.matching is None else self.matching.head()

    def embed(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Embed RGB images uint8 [h, w, 3] of any size to float32 [N, D] with unit norm."""
        with torch.inference_mode():
            parts = [self.encoder(pixels.to(self._device, non_blocking=True)) for pixels in self._batches(images)]
            return torch.cat([torch.zeros(0, self.config.length), *(part.cpu() for part in parts)]).numpy()

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
        """Embed a batch: unit vectors, and maps float32 [B, channels, height, width] of unit vectors."""
        with torch.inference_mode():
            if self.matching is None:
                return self.encoder.with_map(pixels.to(self._device))
            embedding, found = self.encoder.with_raw_map(pixels.to(self._device))
            return embedding, self.matching(found)

    def _batches(self, images: Sequence[NDArray[np.uint8]]) -> Iterator[Tensor]:
        """Yield the images at the model's input size, uint8 [B, 3, H, W]; while a GPU embeds some, others are made."""
        parts = [images[start : start + BATCH] for start in range(0, len(images), BATCH)]
        if self._device.type == "cpu" or len(parts) < 2:
            yield from map(self._pixels, parts)
            return
        with ThreadPoolExecutor(min(len(parts), RESIZING_THREADS)) as pool:
            yield from pool.map(self._pixels, parts)

    def _pixels(self, images: Sequence[NDArray[np.uint8]]) -> Tensor:
        width, height = self.config.width, self.config.height
        pixels = np.empty((len(images), height, width, 3), np.uint8)
        for row, image in enumerate(images):
            interpolation = cv2.INTER_AREA if image.shape[0] > height else cv2.INTER_LINEAR
            cv2.resize(image, (width, height), dst=pixels[row], interpolation=interpolation)
        found = torch.from_numpy(pixels).permute(0, 3, 1, 2)
        return found if self._device.type == "cpu" else found.pin_memory()
