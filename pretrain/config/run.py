"""A whole pretraining run.

Defaults are this project's, not the paper's: the paper's values are not published in what we could read.
"""

from dataclasses import dataclass, field
from typing import Annotated

from cluster.errors import InputError
from cluster.values import FIXED, FLAT, require
from pretrain.association.table import RELIABILITIES
from pretrain.config.optimizer import OptimizerConfig
from pretrain.config.scale import ScaleConfig
from pretrain.data.config import PairConfig, SampleConfig
from pretrain.losses.config import LossConfig
from pretrain.models.config import ModelConfig
from pretrain.models.precision import Precision


@dataclass(frozen=True, kw_only=True, slots=True)
class PretrainConfig:
    """A whole pretraining run.

    >>> import dataclasses, pretrain
    >>> dataclasses.replace(pretrain.find_recipe("isr-tiny")(), epochs=3).epochs
    3
    """

    recipe: Annotated[str, FIXED]
    """Name of the recipe that made this configuration."""
    seed: int = 0
    """Seeds the initial weights, the order of clips, the pairs and the augmentation."""
    start: str = ""
    """Weights to begin with: a model directory, which says its own architecture; a file (.safetensors, .pth);
    torchvision:NAME or timm:TAG, the library's own download. Empty: random weights."""
    truth: str = ""
    """CSV with true boxes, as for `audit`, to watch how many matches are right. Nothing is learned from it, except with
    the reliability `oracle`."""
    epochs: int = 20
    """Passes over the clips; every pass draws new pairs."""
    pairs_per_clip: int = 1
    """Frame pairs drawn from a clip in one epoch."""
    batch_pairs: int = 64
    """Frame pairs per step over all workers."""
    precision: Precision = "auto"
    """auto: bf16 in the matrix products of a GPU, float32 elsewhere. float64: slow; sums in another order, as of
    another number of workers, agree in all digits that are printed."""
    scale: Annotated[ScaleConfig, FLAT] = field(default_factory=ScaleConfig)
    """Who computes, and how often it is told; may change when the run goes on."""
    model: ModelConfig = field(default_factory=ModelConfig)
    pairs: PairConfig = field(default_factory=PairConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        for name in ("epochs", "pairs_per_clip", "batch_pairs"):
            require(getattr(self, name) >= 1, name.replace("_", "-"), ">= 1", getattr(self, name))
        wants_truth = "truth" in RELIABILITIES.needs(self.loss.reliability)
        rule = f"given with loss.reliability {self.loss.reliability}"
        require(bool(self.truth) or not wants_truth, "truth", rule, self.truth)
        workers = self.scale.workers
        require(self.batch_pairs >= workers, "batch-pairs", f">= workers={workers}", self.batch_pairs)

    @property
    def samples(self) -> SampleConfig:
        """All that samples depend on."""
        watches = "always" if self.loss.weighs else "if boxes are known"
        return SampleConfig(
            seed=self.seed,
            height=self.model.height,
            width=self.model.width,
            pairs=self.pairs,
            pairs_per_clip=self.pairs_per_clip,
            follow=watches if "boxes" in RELIABILITIES.needs(self.loss.reliability) else "never",
            truth=self.truth,
        )

    def total_steps(self, num_clips: int) -> int:
        """Return how many steps a run on so many clips takes.

        Raises:
            InputError: If it has less than one batch.
        """
        draws = self.epochs * num_clips * self.pairs_per_clip
        if draws < self.batch_pairs:
            raise InputError(
                f"{num_clips} clips give {draws} frame pairs in {self.epochs} epochs, less than a batch of "
                f"{self.batch_pairs}; lower --batch-pairs, or raise --epochs or --pairs-per-clip"
            )
        return draws // self.batch_pairs
