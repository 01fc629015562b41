"""Backbones with random weights: pixels in, features out, under the names of the library that they are from."""

from typing import Any, Literal

import torchvision
from torch import Tensor, nn
from torch.nn import functional

from pretrain.models.config import ModelConfig
from pretrain.models.pooling import GeneralisedMean
from pretrain.models.resnet_ibn import resnet50_ibn_a

TIMM_NAMES = {
    "swin_t": "swin_tiny_patch4_window7_224",
    "swin_s": "swin_small_patch4_window7_224",
    "swin_b": "swin_base_patch4_window7_224",
    "vit_s": "vit_small_patch16_224",
    "vit_b": "vit_base_patch16_224",
}
"""What timm calls the transformers. ISR's released weights are its Swin-B; torchvision has no ViT-S."""

MAP_LAYERS = {"TinyBackbone": "blocks", "ResNet": "layer3", "SwinTransformer": "layers.2", "VisionTransformer": "norm"}
"""Where the feature map of a kind of backbone is taken for matching."""
TRUNK_LAYERS = {"TinyBackbone": "blocks", "ResNet": "layer4", "SwinTransformer": "norm", "VisionTransformer": "norm"}
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

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.blocks = nn.Sequential(ResidualBlock(16, 32, 2), ResidualBlock(32, 64, 2), ResidualBlock(64, 128, 2))
        self.pool = nn.AdaptiveAvgPool2d((4, 1))

    def forward(self, image: Tensor) -> Tensor:
        """Map float [B, 3, H, W] to [B, 512]."""
        return self.pool(self.blocks(functional.relu(self.bn1(self.conv1(image))))).flatten(1)


def make_backbone(config: ModelConfig) -> nn.Module:
    """Make a backbone with random weights: float [B, 3, height, width] in, `config.num_features` features out.

    The ResNets have torchvision's parameter names, the transformers timm's; both are without the classifier.
    """
    if config.architecture == "tiny":
        return TinyBackbone()
    if config.architecture in TIMM_NAMES:
        return _transformer(TIMM_NAMES[config.architecture], config.height, config.width)
    return _resnet(config.architecture, config.pooling)


def _resnet(architecture: str, pooling: Literal["average", "gem"]) -> nn.Module:
    """Make a ResNet whose last stage has stride 1 (Luo et al., 2019), which doubles the resolution there."""
    if architecture == "resnet50_ibn_a":
        network: Any = resnet50_ibn_a()
    else:
        network = torchvision.models.get_model(architecture, weights=None)
    network.fc = nn.Identity()
    first = network.layer4[0]
    strided = first.conv1 if architecture == "resnet18" else first.conv2
    strided.stride = (1, 1)
    first.downsample[0].stride = (1, 1)
    if pooling == "gem":
        network.avgpool = GeneralisedMean()
    return network


def _transformer(name: str, height: int, width: int) -> nn.Module:
    """Make a transformer as timm does: a Swin pools its last map's mean, a ViT its class token.

    Where the map of a stage is smaller than a Swin's windows, these shrink to it; where it is no multiple of them, it
    is padded. There is no stochastic depth, which timm's Swin has: its draws would follow from no seed of a run.
    """
    import timm  # seconds of import: for the runs that use it

    return timm.create_model(name, num_classes=0, img_size=(height, width), drop_path_rate=0.0)


def as_map(backbone: nn.Module, output: Tensor) -> Tensor:
    """Turn what a stage or a block of a backbone gives into a map [B, C, H, W]; a ViT's class token is left out."""
    network: Any = backbone
    kind = type(backbone).__name__
    if kind == "SwinTransformer":
        return output.permute(0, 3, 1, 2)
    if kind == "VisionTransformer":
        return output[:, network.num_prefix_tokens :].transpose(1, 2).unflatten(2, network.patch_embed.grid_size)
    return output
