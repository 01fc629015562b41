"""What the encoders' architectures are called, how many features they give, and which inputs they take. No torch."""

from typing import Literal

from cluster.values import require

Architecture = Literal["tiny", "resnet18", "resnet50", "resnet50_ibn_a", "swin_t", "swin_s", "swin_b", "vit_s", "vit_b"]

FEATURES: dict[Architecture, int] = {
    "tiny": 512,
    "resnet18": 512,
    "resnet50": 2048,
    "resnet50_ibn_a": 2048,
    "swin_t": 768,
    "swin_s": 768,
    "swin_b": 1024,
    "vit_s": 384,
    "vit_b": 768,
}
"""Features that a backbone pools."""


def require_input_size(architecture: Architecture, height: int, width: int) -> None:
    """Refuse an input size in pixels that a backbone cannot take.

    Raises:
        ValueError: If a side is below 16, or no multiple of what the architecture divides it by; or an instance norm of
            resnet50_ibn_a would see a single value.
    """
    size = (height, width)
    require(min(size) >= 16, "model.height/width", ">= 16", size)
    # Patches of 16; or patches of 4, and their grid is halved three times.
    step = 16 if architecture.startswith("vit") else 32 if architecture.startswith("swin") else 1
    rule = f"multiples of {step} with --model.architecture {architecture}"
    require(height % step == width % step == 0, "--model.height/--model.width", rule, size)
    rule = f"> 16 in one of both with --model.architecture {architecture}: one value has no variance"
    require(architecture != "resnet50_ibn_a" or max(size) > 16, "--model.height/--model.width", rule, size)
