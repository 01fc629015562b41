"""What an encoder is."""

from dataclasses import dataclass
from typing import Annotated, Literal

from cluster.values import require
from pretrain.models.architectures import BACKBONES, BackboneSpec, require_input_size


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """The encoder."""

    architecture: Annotated[str, BACKBONES] = "resnet50"
    """tiny: a residual CNN for small inputs. resnet18, resnet50: torchvision's, last stride 1. resnet50_ibn_a: with
    instance norm in half of some channels. swin_t, swin_s, swin_b, vit_s, vit_b: timm's, windows of 7, patches 16."""
    pooling: Literal["average", "gem"] = "average"
    """How a ResNet's last map becomes features. gem: generalised mean with a learned exponent, 3 at first."""
    embedding_size: int = 512
    """Length of the embedding; 512 as in the authors' released model. 0: no linear layer, the features themselves."""
    bn_neck: bool = False
    """Whether a batch norm without bias is the last layer (BN-neck; classic with embedding-size 0)."""
    height: int = 256
    """Input height in pixels; a multiple of 32 for swin, of 16 for vit."""
    width: int = 128
    """Input width in pixels; likewise."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        BACKBONES.require(self.architecture, "model.architecture")
        require_input_size(self.architecture, self.height, self.width)
        require(self.embedding_size >= 0, "model.embedding-size", ">= 0", self.embedding_size)
        rule = f"average with --model.architecture {self.architecture}, which has its own way"
        require(self.spec.has_poolings or self.pooling == "average", "--model.pooling", rule, self.pooling)

    @property
    def spec(self) -> BackboneSpec:
        """What is known of the backbone."""
        return BACKBONES.load(self.architecture)

    @property
    def num_features(self) -> int:
        """Features that the backbone pools."""
        return self.spec.num_features

    @property
    def length(self) -> int:
        """Length of the embedding."""
        return self.embedding_size or self.num_features
