"""What the training of one stage is: a frozen value, made by a recipe, saved with every checkpoint.

Defaults are this project's where a paper's settings are not available to us (LReID-BC, Oh and Sim, arXiv 2403.10022).
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from cluster.values import FIXED, FLAT, require
from lifelong.memory.selection import Strategy
from lifelong.stages.loss_config import LossConfig
from lifelong.stages.samplers import SAMPLERS
from pretrain.config.optimizer import OptimizerConfig
from pretrain.config.scale import ScaleConfig
from pretrain.data.config import AugmentConfig
from pretrain.models.config import ModelConfig
from pretrain.models.precision import Precision


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryConfig:
    """What is kept of a stage for the stages after it. The features are frozen for ever."""

    identities: int = 250
    """People kept of every stage; 0 keeps none, and nothing is replayed."""
    images: int = 2
    """Images kept of each."""
    strategy: Strategy = "herding"
    """Which of a person's images: at random, nearest to their mean (herding), or least like it (farthest)."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        require(self.identities >= 0, "memory.identities", ">= 0", self.identities)
        require(self.images >= 1, "memory.images", ">= 1", self.images)


@dataclass(frozen=True, kw_only=True, slots=True)
class StageConfig:
    """The training of one stage."""

    recipe: Annotated[str, FIXED]
    """Name of the recipe that made this configuration."""
    seed: int = 0
    """Seeds initial weights, the order of identities, the replay and the augmentation."""
    epochs: int = 60
    """Passes of the sampler over the stage: over its images, or over its identities (see sampler)."""
    steps: int = 0
    """Optimiser steps of the stage; 0 takes what the epochs make."""
    sampler: Annotated[str, SAMPLERS] = "groups"
    """Who meets whom in a step. groups: identities at random, every image once in an epoch. episodes: identities at
    random, every identity once in an epoch. graph: every identity with those that look most like it (Liao and Shao)."""
    joint: bool = False
    """Whether the images of all earlier stages are trained on again: the upper bound, which keeps everything."""
    batch_identities: int = 32
    """Identities of the stage in a step over all workers."""
    images_per_identity: int = 4
    """Images of each in a step."""
    replay_identities: int = 2
    """Remembered identities that are replayed beside each new one, from the second stage on."""
    replay_images: int = 2
    """Images of each of those in a step."""
    later_rate: float = 0.1
    """From the second stage on, the learning rate is multiplied by this (PTKP: 0.1)."""
    encoder_rate: float = 1.0
    """The encoder's learning rate is multiplied by this; heads take the whole."""
    schedule: Literal["cosine", "late-decay", "adaptive"] = "cosine"
    """cosine: warm-up and half a cosine. late-decay: constant, and exponential from the middle on (DMML). adaptive: a
    tenth once the loss has fallen by 30 %, and soon the end (QAConv)."""
    freeze_batch_norm: Literal["never", "later", "always"] = "never"
    """From when batch norm of the encoder keeps its statistics: never, from the second stage on (their drift alone
    moves every feature), or always, for weights that were trained before."""
    clip: Literal["together", "apart"] = "together"
    """Whether optimizer.max-gradient-norm holds for all parameters together, or for encoder and heads apart."""
    teacher_statistics: Literal["running", "batch"] = "running"
    """Of the last model's batch norm when it is asked: its own, or those of the batch, as the learning model has."""
    precision: Precision = "auto"
    """auto: bf16 in the matrix products of a GPU, float32 elsewhere. float64: slow; sums in another order, as of
    another number of workers, agree in all digits that are printed."""
    scale: Annotated[ScaleConfig, FLAT] = field(
        default_factory=lambda: ScaleConfig(checkpoint_every=500, keep_checkpoints=1)
    )
    """Who computes, and how often it is told; may change when the stage goes on."""
    model: ModelConfig = field(default_factory=ModelConfig)
    augment: AugmentConfig = field(
        default_factory=lambda: AugmentConfig(
            jitter_probability=0.0, grayscale_probability=0.0, blur_probability=0.0, erasing_probability=0.5
        )
    )
    loss: LossConfig = field(default_factory=LossConfig)
    memory: MemoryConfig = field(default_factory=MemoryConfig)
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(learning_rate=3.5e-4, weight_decay=5e-4, max_gradient_norm=10.0)
    )

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        SAMPLERS.require(self.sampler, "sampler")
        for name in ("epochs", "images_per_identity", "replay_images"):
            require(getattr(self, name) >= 1, name.replace("_", "-"), ">= 1", getattr(self, name))
        require(self.replay_identities >= 0, "replay-identities", ">= 0", self.replay_identities)
        require(self.steps >= 0, "steps", ">= 0", self.steps)
        require(self.encoder_rate >= 0, "encoder-rate", ">= 0", self.encoder_rate)
        require(0 < self.later_rate <= 1, "later-rate", "in (0, 1]", self.later_rate)
        require(self.batch_identities >= 2, "batch-identities", ">= 2", self.batch_identities)
        workers = self.scale.workers
        require(self.batch_identities >= workers, "batch-identities", f">= workers={workers}", self.batch_identities)
        require(
            "bank" not in self.loss.needs() or (self.memory.identities > 0 and self.replay_identities > 0),
            "memory.identities and replay-identities",
            "> 0 with loss.compatibility, whose anchors are replayed images",
            (self.memory.identities, self.replay_identities),
        )
        episode = self.loss.episode
        if episode.metric or episode.distillation:
            is_own = ":" in self.sampler  # whoever writes a sampler knows what its loss needs
            require(is_own or self.sampler == "episodes", "sampler", "episodes with loss.episode", self.sampler)
            require(
                episode.queries < self.images_per_identity,
                "loss.episode.queries",
                f"< images-per-identity={self.images_per_identity}",
                episode.queries,
            )
