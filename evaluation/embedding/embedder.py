"""What evaluation asks of a model: images in, features out. Nothing here knows how a model is built or trained."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from evaluation.qaconv.head import QAConvHead


class Embedder(Protocol):
    """A frozen model that turns images of people into points of the unit sphere."""

    @property
    def fingerprint(self) -> str:
        """Names the weights: equal fingerprints mean comparable features. Stored beside every feature."""
        ...

    @property
    def embedding_size(self) -> int:
        """Number of components D of a feature."""
        ...

    def embed(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Embed images; the embedder resizes and normalises them itself.

        Args:
            images: RGB, uint8 [H, W, 3], each of any size.

        Returns:
            float32 [N, D], rows of norm 1, in the order of the images.
        """
        ...


@runtime_checkable
class MapEmbedder(Embedder, Protocol):
    """A model that also gives feature maps, for matching location by location (see `evaluation.qaconv.scores`)."""

    @property
    def map_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of a map."""
        ...

    @property
    def head(self) -> QAConvHead | None:
        """The matcher that belongs to the model; None if it has none, and maps are matched with uniform weights."""
        ...

    def embed_with_maps(self, images: Sequence[NDArray[np.uint8]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Embed images (see `Embedder.embed`).

        Returns:
            The features, float32 [N, D], and the maps, float32 [N, height * width, channels], row by row of a map,
            each location of norm 1.
        """
        ...
