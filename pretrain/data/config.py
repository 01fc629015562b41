"""Which two frames of a clip make a pair, what their crops go through, and all that a sample depends on."""

from dataclasses import dataclass
from typing import Literal

from cluster.values import require


@dataclass(frozen=True, kw_only=True, slots=True)
class AugmentConfig:
    """What a training crop goes through."""

    jitter: float = 0.4
    """Strength of brightness, contrast and saturation jitter; hue gets a quarter of it. 0 switches it off."""
    jitter_probability: float = 0.8
    """How often colours are jittered."""
    grayscale_probability: float = 0.1
    """How often a crop loses its colour."""
    blur_probability: float = 0.2
    """How often a crop is blurred."""
    erasing_probability: float = 0.5
    """How often a rectangle of the crop is erased."""
    flip_probability: float = 0.5
    """How often a crop is mirrored."""
    padding_pixels: int = 10
    """Padding before the random crop back to the input size, at a height of 256; scaled with the height."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        group = "pairs" if isinstance(self, PairConfig) else "augment"
        require(0 <= self.jitter <= 2, f"{group}.jitter", "in [0, 2]", self.jitter)
        require(self.padding_pixels >= 0, f"{group}.padding-pixels", ">= 0", self.padding_pixels)
        for name in ("jitter", "grayscale", "blur", "erasing", "flip"):
            value = getattr(self, f"{name}_probability")
            require(0 <= value <= 1, f"{group}.{name}-probability", "in [0, 1]", value)


@dataclass(frozen=True, kw_only=True, slots=True)
class PairConfig(AugmentConfig):
    """Which two frames of a clip make a pair, and what the crops go through."""

    partner: Literal["frame", "itself"] = "frame"
    """frame: the same people at another time of the clip. itself: the same crops, only augmented otherwise; that is
    instance discrimination, a baseline."""
    min_interval_seconds: float = 0.2
    """Shortest time between the two frames."""
    max_interval_seconds: float = 2.0
    """Longest time between the two frames."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        AugmentConfig.__post_init__(self)
        require(
            0 < self.min_interval_seconds <= self.max_interval_seconds,
            "pairs.min-interval-seconds",
            "in (0, pairs.max-interval-seconds]",
            self.min_interval_seconds,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleConfig:
    """All of a run that its samples depend on."""

    seed: int
    """Of the run."""
    height: int
    """Of the crops, in pixels."""
    width: int
    """Of the crops, in pixels."""
    pairs: PairConfig
    """Frames and augmentation."""
    pairs_per_clip: int
    """Frame pairs drawn from a clip in one epoch."""
    follow: Literal["never", "if boxes are known", "always"]
    """Whether people are followed from frame to frame by their boxes."""
    truth: str = ""
    """CSV with true boxes; empty if who is who is not known."""
