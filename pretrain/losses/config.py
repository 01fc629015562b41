"""What pretraining minimises, as values. Defaults are this project's: the paper's are not public."""

from dataclasses import dataclass
from typing import Annotated, Literal

from cluster.values import require
from pretrain.association.table import RELIABILITIES
from pretrain.losses.table import LOSSES


@dataclass(frozen=True, kw_only=True, slots=True)
class LossConfig:
    """The reliability-guided contrastive loss (METHOD.md 5.3; the formula is this project's design)."""

    kind: Annotated[str, LOSSES] = "contrastive"
    """contrastive: matched pairs against negatives. cycle: CycAs's association loss, which matches nothing; a baseline.
    All other settings of the loss are of the first."""
    temperature: float = 0.1
    """Divides the cosine in the loss; unitless."""
    reliability: Annotated[str, RELIABILITIES] = "track"
    """How a matched pair's reliability in [0, 1] is estimated. `track` asks whether a chain of overlapping boxes joins
    the two crops, the others how alike they look. `oracle` reads `truth`: 1 for the same person, else 0; it is what an
    estimate could reach, and no training method."""
    beta: float = 1.0
    """Exponent of the reliability; 0 gives plain InfoNCE on matched pairs."""
    beta_warmup_steps: int = 0
    """Steps with beta 0 at the start. Needed by all but `track`: a weighting from random features locks on to the few
    easiest pairs."""
    reliability_temperature: float = 0.1
    """Temperature inside the `mutual` and `margin` reliabilities; unitless."""
    normalisation: Literal["self", "mean"] = "self"
    """self: divide by the sum of weights. mean: divide by the number of pairs."""
    match_on: Literal["clean", "augmented"] = "clean"
    """Which view of the crops is matched and judged for reliability. clean: not augmented, encoder in evaluation
    mode, one more forward pass. augmented: the view that is trained on; cheaper and noisier."""
    other_video_negatives: bool = True
    """Whether people of other videos are negatives. With few fixed cameras they teach the camera's look: see next."""
    same_video_gap_seconds: float | None = None
    """If set: people of the same video at least this far apart in time are negatives: they have walked on by then."""
    mask_same_pair_cross: float | None = None
    """If set: in-pair negatives whose similarity is above the positive's minus this margin are left out."""
    min_similarity: float | None = None
    """If set: matched pairs below this cosine are dropped."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        LOSSES.require(self.kind, "loss.kind")
        RELIABILITIES.require(self.reliability, "loss.reliability")
        require(self.temperature > 0, "loss.temperature", "> 0", self.temperature)
        require(self.reliability_temperature > 0, "loss.reliability-temperature", "> 0", self.reliability_temperature)
        require(self.beta >= 0, "loss.beta", ">= 0", self.beta)
        require(self.beta_warmup_steps >= 0, "loss.beta-warmup-steps", ">= 0", self.beta_warmup_steps)
        if self.same_video_gap_seconds is not None:
            require(self.same_video_gap_seconds > 0, "loss.same-video-gap-seconds", "> 0", self.same_video_gap_seconds)
        if self.mask_same_pair_cross is not None:
            require(self.mask_same_pair_cross >= 0, "loss.mask-same-pair-cross", ">= 0", self.mask_same_pair_cross)

    @property
    def weighs(self) -> bool:
        """Whether reliabilities make a difference."""
        return "reliability" in LOSSES.needs(self.kind) and self.beta > 0
