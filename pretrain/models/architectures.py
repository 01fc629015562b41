"""The backbones by name: how each is made, what it gives, which inputs it takes, and who else has it. No torch.

A new backbone is one `BackboneSpec`; one from outside the tree is named ``package.module:SPEC``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from cluster.extensions import Table, imported
from cluster.values import require

_HERE = "pretrain.models.backbones"


@dataclass(frozen=True, kw_only=True, slots=True)
class BackboneSpec:
    """All that the rest of the code knows of a backbone."""

    make: str | Callable[[Any], Any]
    """A function of a `pretrain.models.config.ModelConfig` that returns a module with random weights, which maps float
    [B, 3, height, width] to [B, num_features]; or where it is, ``package.module:function``."""
    num_features: int
    """Features that it pools."""
    map_layer: str
    """Its submodule whose output is the feature map for matching: a third stage's, or the trunk's."""
    trunk_layer: str
    """Its submodule whose output it pools in the end."""
    layout: Literal["maps", "maps, channels last", "tokens"] = "maps"
    """Of those outputs: [B, C, H, W]; [B, H, W, C]; or [B, tokens, C] as timm's ViT has them, class token first."""
    multiple: int = 1
    """By what the input's height and width must be divisible, in pixels."""
    min_longer_side: int = 16
    """What the larger of them must be at least, in pixels."""
    has_poolings: bool = False
    """Whether it pools as ``--model.pooling`` says; others have their own way."""
    library: Literal["", "torchvision", "timm", "IBN-Net"] = ""
    """Whose network it is, tensor by tensor; empty if nobody's. IBN-Net is a repository, and no package."""
    library_name: str = ""
    """What that library calls it."""
    timm_name: str = ""
    """What timm calls it, whose weights ``--start timm:TAG`` takes; empty if timm has none."""

    def build(self, config: Any) -> Any:
        """Make the backbone for a `pretrain.models.config.ModelConfig`."""
        make = imported(self.make, "the maker of a backbone") if isinstance(self.make, str) else self.make
        return make(config)


def _resnet(name: str, num_features: int) -> BackboneSpec:
    return BackboneSpec(
        make=f"{_HERE}:make_resnet",
        num_features=num_features,
        map_layer="layer3",
        trunk_layer="layer4",
        has_poolings=True,
        library="torchvision",
        library_name=name,
        timm_name=name,
    )


def _swin(timm_name: str, num_features: int) -> BackboneSpec:
    return BackboneSpec(
        make=f"{_HERE}:make_transformer",
        num_features=num_features,
        map_layer="layers.2",
        trunk_layer="norm",
        layout="maps, channels last",
        multiple=32,  # patches of 4, and their grid is halved three times
        library="timm",
        library_name=timm_name,
        timm_name=timm_name,
    )


def _vit(timm_name: str, num_features: int) -> BackboneSpec:
    return BackboneSpec(
        make=f"{_HERE}:make_transformer",
        num_features=num_features,
        map_layer="norm",
        trunk_layer="norm",
        layout="tokens",
        multiple=16,
        library="timm",
        library_name=timm_name,
        timm_name=timm_name,
    )


BACKBONES: Table[BackboneSpec] = Table(
    "architecture",
    {
        "tiny": BackboneSpec(make=f"{_HERE}:make_tiny", num_features=512, map_layer="blocks", trunk_layer="blocks"),
        "resnet18": _resnet("resnet18", 512),
        "resnet50": _resnet("resnet50", 2048),
        "resnet50_ibn_a": BackboneSpec(
            make=f"{_HERE}:make_resnet_ibn",
            num_features=2048,
            map_layer="layer3",
            trunk_layer="layer4",
            min_longer_side=17,  # an instance norm of a single value has no variance
            has_poolings=True,
            library="IBN-Net",
            library_name="resnet50_ibn_a",
        ),
        "swin_t": _swin("swin_tiny_patch4_window7_224", 768),
        "swin_s": _swin("swin_small_patch4_window7_224", 768),
        "swin_b": _swin("swin_base_patch4_window7_224", 1024),
        "vit_s": _vit("vit_small_patch16_224", 384),
        "vit_b": _vit("vit_base_patch16_224", 768),
    },
    wanted="a pretrain.models.architectures.BackboneSpec",
    fits=lambda found: isinstance(found, BackboneSpec),
)
"""ISR's released weights are of timm's Swin-B; torchvision has no ViT-S."""


def require_input_size(architecture: str, height: int, width: int) -> None:
    """Refuse an input size in pixels that a backbone cannot take.

    Raises:
        InputError: If a side is below 16, or no multiple of what the architecture divides it by; or both are too small.
    """
    spec, size = BACKBONES.load(architecture), (height, width)
    require(min(size) >= 16, "model.height/width", ">= 16", size)
    rule = f"multiples of {spec.multiple} with --model.architecture {architecture}"
    require(height % spec.multiple == width % spec.multiple == 0, "--model.height/--model.width", rule, size)
    rule = f">= {spec.min_longer_side} in one of both with --model.architecture {architecture}"
    require(max(size) >= spec.min_longer_side, "--model.height/--model.width", rule, size)
