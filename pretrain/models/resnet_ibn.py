"""ResNet-50 with instance norm beside batch norm, which forgets the look of a camera and keeps who is seen.

IBN-a of Pan, Luo, Shi & Tang, "Two at Once: Enhancing Learning and Generalization Capacities via IBN-Net", ECCV 2018.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    import torchvision


class SplitNorm(nn.Module):
    """Instance norm of the first half of the channels, batch norm of the others.

    The definition, as a loop, with the statistics of one image or of all images::

        for c in range(C):
            for b in range(B):
                over = map[b, c] if c < C // 2 else map[:, c]
                out[b, c] = (map[b, c] - mean(over)) / sqrt(variance(over) + 1e-5) * weight[c] + bias[c]

    Batch norm takes its running statistics in evaluation mode; instance norm has none. The names of the parts are those
    of the authors' weights.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.num_instance = channels // 2
        self.IN = nn.InstanceNorm2d(self.num_instance, affine=True)
        self.BN = nn.BatchNorm2d(channels - self.num_instance)

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Normalise float [B, C, H, W]."""
        instance, batch = map_BCHW[:, : self.num_instance], map_BCHW[:, self.num_instance :]
        return torch.cat([self.IN(instance), self.BN(batch)], dim=1)


def resnet50_ibn_a() -> "torchvision.models.ResNet":
    """Make torchvision's ResNet-50 with a `SplitNorm` as the first norm of each block, but for the last stage."""
    import torchvision  # seconds of import: for the runs that use it

    network = torchvision.models.resnet50(weights=None)
    for stage in (network.layer1, network.layer2, network.layer3):
        for block in stage:
            assert isinstance(block, torchvision.models.resnet.Bottleneck)
            block.bn1 = SplitNorm(block.conv1.out_channels)
    return network
