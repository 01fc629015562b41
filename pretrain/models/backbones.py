"""Backbones with random weights: pixels in, features out, under the names of the library that they are from."""

from typing import Any, Literal

from torch import Tensor, nn
from torch.nn import functional

from pretrain.models.architectures import BackboneSpec
from pretrain.models.config import ModelConfig
from pretrain.models.pooling import GeneralisedMean
from pretrain.models.resnet_ibn import resnet50_ibn_a


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
    return config.spec.build(config)


def make_tiny(config: ModelConfig) -> nn.Module:
    """Make the `TinyBackbone`, which is the same for every input size."""
    return TinyBackbone()


def make_resnet(config: ModelConfig) -> nn.Module:
    """Make a ResNet of torchvision's, see `_finer`."""
    import torchvision  # seconds of import: for the runs that use it

    return _finer(torchvision.models.get_model(config.spec.library_name, weights=None), config.pooling)


def make_resnet_ibn(config: ModelConfig) -> nn.Module:
    """Make a ResNet-50 with instance norm in half of some channels, see `_finer`."""
    return _finer(resnet50_ibn_a(), config.pooling)


def _finer(network: Any, pooling: Literal["average", "gem"]) -> nn.Module:
    """Give a ResNet's last stage stride 1 (Luo et al., 2019), which doubles the resolution there."""
    network.fc = nn.Identity()
    first = network.layer4[0]
    strided = first.conv2 if hasattr(first, "conv3") else first.conv1
    strided.stride = (1, 1)
    first.downsample[0].stride = (1, 1)
    if pooling == "gem":
        network.avgpool = GeneralisedMean()
    return network


def make_transformer(config: ModelConfig) -> nn.Module:
    """Make a transformer as timm does: a Swin pools its last map's mean, a ViT its class token.

    Where the map of a stage is smaller than a Swin's windows, these shrink to it; where it is no multiple of them, it
    is padded. There is no stochastic depth, which timm's Swin has: its draws would follow from no seed of a run.
    """
    import timm  # seconds of import: for the runs that use it

    size = (config.height, config.width)
    return timm.create_model(config.spec.library_name, num_classes=0, img_size=size, drop_path_rate=0.0)


def as_map(spec: BackboneSpec, backbone: nn.Module, output: Tensor) -> Tensor:
    """Turn what a stage or a block of a backbone gives into a map [B, C, H, W]; a ViT's class token is left out."""
    if spec.layout == "maps, channels last":
        return output.permute(0, 3, 1, 2)
    if spec.layout == "tokens":
        network: Any = backbone
        return output[:, network.num_prefix_tokens :].transpose(1, 2).unflatten(2, network.patch_embed.grid_size)
    return output
