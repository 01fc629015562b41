"""What the training of one stage is: a frozen value, made by a recipe, saved with every checkpoint.

Defaults are this project's, not the paper's: the full formulas and settings of LReID-BC (Oh and Sim, arXiv 2403.10022)
are not available to us. A weight of 0 switches a term off.
"""

from dataclasses import dataclass, field
from typing import Literal

from cluster.values import require
from lifelong.memory.selection import Strategy
from pretrain.config import AugmentConfig, ModelConfig, OptimizerConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class LossConfig:
    """The terms of a stage's loss and their weights (specification LReID-BC 2.7)."""

    scale: float = 16.0
    """Multiplies the cosine in the classifier over identities; unitless."""
    smoothing: float = 0.1
    """Label smoothing of the classifier, in [0, 1)."""
    triplet: float = 1.0
    """Weight of the triplet terms: soft batch-hard on new images, batch-hard with a margin on replayed ones."""
    margin: float = 0.3
    """Of the batch-hard triplet, Euclidean distance of unit vectors."""
    compatibility: float = 0.0
    """Weight of the cross-model compatibility loss; needs a memory."""
    tau: float = 0.05
    """Divides the cosine in the compatibility loss; unitless."""
    form: Literal["sep", "joint"] = "sep"
    """Whether each positive stands alone in its softmax (sep) or beside the other positives (joint)."""
    bank: Literal["all", "previous"] = "all"
    """Whose frozen features are matched: of all earlier stages, or of the last one."""
    per_stage_mean: bool = False
    """Whether every earlier stage counts alike in the compatibility loss, however many images it keeps."""
    rivals: bool = False
    """Whether other people in the batch, as the new model sees them, are negatives of the compatibility loss too: a
    gallery of many models holds them beside stored features."""
    targets: Literal["stored", "teacher"] = "stored"
    """stored: features as each stage's own model gave them. teacher: recomputed by the last model."""
    influence: float = 0.0
    """Weight of BCT's influence loss: the frozen classifier of the last model judges new features."""
    parts: float = 0.0
    """Weight of telling horizontal parts of the body apart; above 0, the model has a part head."""
    num_parts: int = 3
    """Horizontal parts."""
    consolidation: float = 0.0
    """Weight of agreeing with the last model on masked part features; needs `parts`."""
    combine: Literal["product", "average", "cross"] = "product"
    """How the channel masks of the new and the last model are joined."""
    logit_distillation: float = 0.0
    """Weight of agreeing with the last model on the identities it knows."""
    distillation_temperature: float = 2.0
    """Divides the logits in that."""
    relation_distillation: float = 0.0
    """Weight of agreeing with the last model on which images of a batch resemble each other."""
    relation_tau: float = 0.1
    """Divides the cosines in that; unitless."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        for name in ("triplet", "margin", "compatibility", "influence", "parts", "consolidation"):
            require(getattr(self, name) >= 0, f"loss.{name}", ">= 0", getattr(self, name))
        for name in ("logit_distillation", "relation_distillation"):
            require(getattr(self, name) >= 0, f"loss.{name.replace('_', '-')}", ">= 0", getattr(self, name))
        for name in ("scale", "tau", "distillation_temperature", "relation_tau"):
            require(getattr(self, name) > 0, f"loss.{name.replace('_', '-')}", "> 0", getattr(self, name))
        require(0 <= self.smoothing < 1, "loss.smoothing", "in [0, 1)", self.smoothing)
        require(self.num_parts >= 2, "loss.num-parts", ">= 2", self.num_parts)
        require(not self.consolidation or self.parts > 0, "loss.parts", "> 0 with loss.consolidation", self.parts)

    def weights(self) -> dict[str, float]:
        """Return the weight of each term that has one; that of the identity term is 1."""
        names = ("triplet", "compatibility", "influence", "parts", "consolidation")
        names += ("logit_distillation", "relation_distillation")
        return {"identity": 1.0} | {name: getattr(self, name) for name in names if getattr(self, name)}

    @property
    def uses_teacher(self) -> bool:
        """Whether the last model looks at every batch."""
        return self.consolidation > 0 or self.logit_distillation > 0 or self.relation_distillation > 0


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

    recipe: str
    """Name of the recipe that made this configuration."""
    seed: int = 0
    """Seeds initial weights, the order of identities, the replay and the augmentation."""
    epochs: int = 60
    """Passes over the images of the stage."""
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
    freeze_batch_norm: bool = False
    """Whether batch norm keeps its statistics from the second stage on: their drift alone moves every feature."""
    workers: int = 1
    """Training processes, one GPU each where there are GPUs."""
    cpus_per_worker: int = 1
    """Logical CPUs of a training worker, and its threads where there is no GPU."""
    data_workers: int = 1
    """Processes that read and augment images for the training workers."""
    use_gpu: bool = False
    """One GPU and bf16 for every training worker, and for every embedding one."""
    checkpoint_every: int = 500
    """Steps between checkpoints; the last step always writes one."""
    keep_checkpoints: int = 1
    """How many of the newest checkpoints stay."""
    log_every: int = 10
    """Steps between lines of metrics."""
    max_failures: int = 3
    """Restarts of the training workers before a stage gives up."""
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
        for name in ("epochs", "images_per_identity", "replay_images", "workers", "cpus_per_worker", "data_workers"):
            require(getattr(self, name) >= 1, name.replace("_", "-"), ">= 1", getattr(self, name))
        for name in ("checkpoint_every", "keep_checkpoints", "log_every"):
            require(getattr(self, name) >= 1, name.replace("_", "-"), ">= 1", getattr(self, name))
        require(self.replay_identities >= 0, "replay-identities", ">= 0", self.replay_identities)
        require(self.max_failures >= 0, "max-failures", ">= 0", self.max_failures)
        require(0 < self.later_rate <= 1, "later-rate", "in (0, 1]", self.later_rate)
        require(self.batch_identities >= 2, "batch-identities", ">= 2", self.batch_identities)
        require(
            self.batch_identities % self.workers == 0,
            "batch-identities",
            f"a multiple of workers={self.workers}",
            self.batch_identities,
        )
        require(
            not self.loss.compatibility or (self.memory.identities > 0 and self.replay_identities > 0),
            "memory.identities and replay-identities",
            "> 0 with loss.compatibility, whose anchors are replayed images",
            (self.memory.identities, self.replay_identities),
        )
