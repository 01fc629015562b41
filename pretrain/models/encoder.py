"""The encoder: pixels in, embedding out; one network for both frames."""

from collections.abc import Sequence
from contextlib import ExitStack

import torch
from torch import Tensor, nn
from torch.nn import functional

from pretrain.models.backbones import as_map, make_backbone
from pretrain.models.config import ModelConfig
from pretrain.models.pooling import EmbeddingNorm
from pretrain.models.precision import at_least_single

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Encoder(nn.Module):
    """A backbone and one linear layer; the embedding is that layer's output, also at test time.

    A configuration may leave the linear layer out, and may put a batch norm behind (BN-neck), which then gives the
    embedding. Takes uint8 pixels and normalises them itself, so that crops stay small until they reach the device.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.spec = config.spec
        self.backbone = make_backbone(config)
        self.embedding = nn.Linear(config.num_features, config.length) if config.embedding_size else nn.Identity()
        self.neck = EmbeddingNorm(config.length) if config.bn_neck else nn.Identity()
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(3, 1, 1) * 255, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Embed crops.

        Args:
            images: uint8 RGB [B, 3, H, W].

        Returns:
            float32 [B, D] with unit norm.
        """
        return functional.normalize(self.raw(images), dim=1)

    def raw(self, images: Tensor) -> Tensor:
        """Return the last layer's output, float32 [B, D]: the embedding before it is scaled to norm 1."""
        pixels = ((images - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        embedding = self.embedding(self.backbone(pixels))
        return self.neck(at_least_single(embedding))

    def with_layers(self, images: Tensor, layers: Sequence[str]) -> tuple[Tensor, list[Tensor]]:
        """Return `raw` and what some layers of the backbone give, all in one pass.

        Args:
            images: uint8 RGB [B, 3, H, W].
            layers: Names of the backbone's submodules, such as ``layer3``; of a transformer, those of stages, blocks or
                its last norm.

        Returns:
            float32 [B, D], any norm; and the outputs in the order of the names, in the precision that they have. What a
            transformer gives is turned into maps [B, C, H, W]; a class token is left out.
        """
        captured: dict[str, Tensor] = {}
        with ExitStack() as hooks:
            for layer in layers:

                def capture(_module: nn.Module, _inputs: object, output: Tensor, layer: str = layer) -> None:
                    captured[layer] = as_map(self.spec, self.backbone, output)

                hooks.enter_context(self.backbone.get_submodule(layer).register_forward_hook(capture))
            raw = self.raw(images)
        return raw, [captured[layer] for layer in layers]

    def with_raw_map(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Embed crops, and return their feature map as it is: a third stage's, or the trunk's if it has no stages.

        QAConv matches maps of that stage (Liao and Shao, 2020): fine enough for details, deep enough to mean something.

        Returns:
            float32 [B, D] with unit norm, and float32 [B, C, H, W]; not negative for the convolutional backbones.
        """
        embedding, found = self._with_layer(images, self.spec.map_layer)
        return embedding, at_least_single(found)

    def with_map(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Embed crops, and return `with_raw_map`'s map with unit norm over C at each location."""
        embedding, found = self.with_raw_map(images)
        return embedding, functional.normalize(found, dim=1)

    def with_trunk(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Embed crops, and return the last map: what the backbone pools, or a ViT's tokens beside the class token.

        Returns:
            float32 [B, D] with unit norm, and float [B, C, H, W]; not negative for the convolutional backbones.
        """
        return self._with_layer(images, self.spec.trunk_layer)

    def _with_layer(self, images: Tensor, layer: str) -> tuple[Tensor, Tensor]:
        raw, (found,) = self.with_layers(images, [layer])
        return functional.normalize(raw, dim=1), found


def make_encoder(config: ModelConfig, *, seed: int) -> Encoder:
    """Make an encoder whose random weights depend on the seed alone, leaving the global generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Encoder(config).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
