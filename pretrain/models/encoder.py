"""The encoder: pixels in, embedding out; one network for both frames."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Literal

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional

from pretrain.config import ModelConfig

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


MAP_LAYERS = {"TinyBackbone": "blocks", "ResNet": "layer3"}
"""Where the feature map of a kind of backbone is taken for matching."""
TRUNK_LAYERS = {"TinyBackbone": "blocks", "ResNet": "layer4"}
"""What a kind of backbone pools in the end."""


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a 1x1 shortcut (He et al., 2016, basic block)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, image: Tensor) -> Tensor:
        """Map float [B, inputs, H, W] to [B, outputs, H / stride, W / stride]."""
        inner = functional.relu(self.bn1(self.conv1(image)))
        return functional.relu(self.bn2(self.conv2(inner)) + self.shortcut(image))


class TinyBackbone(nn.Module):
    """A residual CNN for 64x32 crops that trains on two CPU cores.

    It pools four horizontal stripes apart: with so few layers, what is above and what is below would be lost otherwise.
    """

    num_features = 4 * 128

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.blocks = nn.Sequential(ResidualBlock(16, 32, 2), ResidualBlock(32, 64, 2), ResidualBlock(64, 128, 2))
        self.pool = nn.AdaptiveAvgPool2d((4, 1))

    def forward(self, image: Tensor) -> Tensor:
        """Map float [B, 3, H, W] to [B, 512]."""
        return self.pool(self.blocks(functional.relu(self.bn1(self.conv1(image))))).flatten(1)


def make_backbone(architecture: Literal["tiny", "resnet18", "resnet50"]) -> tuple[nn.Module, int]:
    """Make a backbone with random weights and say how many features it gives.

    The ResNets are torchvision's, with the same parameter names, without the classifier and with the last stride 1
    (Luo et al., 2019), which doubles the resolution of the last stage.
    """
    if architecture == "tiny":
        return TinyBackbone(), TinyBackbone.num_features
    network: Any = torchvision.models.get_model(architecture, weights=None)
    features = int(network.fc.in_features)
    network.fc = nn.Identity()
    first = network.layer4[0]
    strided = first.conv1 if architecture == "resnet18" else first.conv2
    strided.stride = (1, 1)
    first.downsample[0].stride = (1, 1)
    return network, features


class Encoder(nn.Module):
    """A backbone and one linear layer; the embedding is that layer's output, also at test time.

    Takes uint8 pixels and normalises them itself, so that crops stay small until they reach the device.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.backbone, features = make_backbone(config.architecture)
        self.embedding = nn.Linear(features, config.embedding_size)
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
        """Return the linear layer's output, float32 [B, D]: the embedding before it is scaled to norm 1."""
        pixels = ((images - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        return self.embedding(self.backbone(pixels)).float()

    def with_layers(self, images: Tensor, layers: Sequence[str]) -> tuple[Tensor, list[Tensor]]:
        """Return `raw` and what some layers of the backbone give, all in one pass.

        Args:
            images: uint8 RGB [B, 3, H, W].
            layers: Names of the backbone's submodules, such as ``layer3``.

        Returns:
            float32 [B, D], any norm; and the outputs in the order of the names, in the precision that they have.
        """
        captured: dict[str, Tensor] = {}
        with ExitStack() as hooks:
            for layer in layers:

                def capture(_module: nn.Module, _inputs: object, output: Tensor, layer: str = layer) -> None:
                    captured[layer] = output

                hooks.enter_context(self.backbone.get_submodule(layer).register_forward_hook(capture))
            raw = self.raw(images)
        return raw, [captured[layer] for layer in layers]

    def with_raw_map(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Embed crops, and return their feature map as it is: the whole trunk's, or a ResNet's third stage's.

        QAConv matches maps of that stage (Liao and Shao, 2020): fine enough for details, deep enough to mean something.

        Returns:
            float32 [B, D] with unit norm, and float32 [B, C, H, W], not negative.
        """
        embedding, found = self._with_layer(images, MAP_LAYERS)
        return embedding, found.float()

    def with_map(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Embed crops, and return `with_raw_map`'s map with unit norm over C at each location."""
        embedding, found = self.with_raw_map(images)
        return embedding, functional.normalize(found, dim=1)

    def with_trunk(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Embed crops, and return what the backbone pools: float32 [B, D] and float [B, C, H, W], not negative."""
        return self._with_layer(images, TRUNK_LAYERS)

    def _with_layer(self, images: Tensor, layer_of: Mapping[str, str]) -> tuple[Tensor, Tensor]:
        raw, (found,) = self.with_layers(images, [layer_of[type(self.backbone).__name__]])
        return functional.normalize(raw, dim=1), found


def make_encoder(config: ModelConfig, *, seed: int) -> Encoder:
    """Make an encoder whose random weights depend on the seed alone, leaving the global generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Encoder(config).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
