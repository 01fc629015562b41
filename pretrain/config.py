"""What a run is: frozen values, made by a recipe, printed once, saved with every checkpoint.

Defaults are this project's, not the paper's: the paper's values are not published in what we could read.
"""

from dataclasses import dataclass, field
from typing import Literal

from cluster.values import require
from pretrain.models.architectures import FEATURES, Architecture, require_input_size
from pretrain.models.precision import Precision

Reliability = Literal["mutual", "conf", "mean", "sim", "margin", "track", "oracle"]


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
class ModelConfig:
    """The encoder."""

    architecture: Architecture = "resnet50"
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
        require_input_size(self.architecture, self.height, self.width)
        require(self.embedding_size >= 0, "model.embedding-size", ">= 0", self.embedding_size)
        rule = f"average with --model.architecture {self.architecture}, which has its own way"
        is_resnet = self.architecture.startswith("resnet")
        require(is_resnet or self.pooling == "average", "--model.pooling", rule, self.pooling)

    @property
    def num_features(self) -> int:
        """Features that the backbone pools."""
        return FEATURES[self.architecture]

    @property
    def length(self) -> int:
        """Length of the embedding."""
        return self.embedding_size or self.num_features


@dataclass(frozen=True, kw_only=True, slots=True)
class LossConfig:
    """The reliability-guided contrastive loss (specification ISR 1.7.3; the formula is this project's design)."""

    kind: Literal["contrastive", "cycle"] = "contrastive"
    """contrastive: matched pairs against negatives. cycle: CycAs's association loss, which matches nothing; a baseline.
    All other settings of the loss are of the first."""
    tau: float = 0.1
    """Divides the cosine in the loss; unitless."""
    reliability: Reliability = "track"
    """How a matched pair's reliability in [0, 1] is estimated. `track` asks whether a chain of overlapping boxes joins
    the two crops, the others how alike they look. `oracle` reads `truth`: 1 for the same person, else 0; it is what an
    estimate could reach, and no training method."""
    beta: float = 1.0
    """Exponent of the reliability; 0 gives plain InfoNCE on matched pairs."""
    beta_warmup_steps: int = 0
    """Steps with beta 0 at the start. Needed by all but `track`: a weighting from random features locks on to the few
    easiest pairs."""
    tau_r: float = 0.1
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
        require(self.tau > 0, "loss.tau", "> 0", self.tau)
        require(self.tau_r > 0, "loss.tau-r", "> 0", self.tau_r)
        require(self.beta >= 0, "loss.beta", ">= 0", self.beta)
        require(self.beta_warmup_steps >= 0, "loss.beta-warmup-steps", ">= 0", self.beta_warmup_steps)
        if self.same_video_gap_seconds is not None:
            require(self.same_video_gap_seconds > 0, "loss.same-video-gap-seconds", "> 0", self.same_video_gap_seconds)
        if self.mask_same_pair_cross is not None:
            require(self.mask_same_pair_cross >= 0, "loss.mask-same-pair-cross", ">= 0", self.mask_same_pair_cross)

    @property
    def weighs(self) -> bool:
        """Whether reliabilities make a difference."""
        return self.kind == "contrastive" and self.beta > 0


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizerConfig:
    """AdamW, or SGD with Nesterov's momentum; linear warm-up and cosine decay to zero."""

    kind: Literal["adamw", "sgd"] = "adamw"
    """sgd has momentum 0.9, and its weight decay goes through the gradient."""
    learning_rate: float = 5e-4
    """Peak learning rate, for the whole batch as configured; it is not rescaled."""
    weight_decay: float = 0.05
    """Weight decay, decoupled with adamw; not applied to biases and normalisation layers."""
    warmup_fraction: float = 0.05
    """Share of all steps with a rising learning rate, in [0, 1)."""
    max_gradient_norm: float = 1.0
    """Gradients are scaled down to this norm."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        require(self.learning_rate > 0, "optimizer.learning-rate", "> 0", self.learning_rate)
        require(self.weight_decay >= 0, "optimizer.weight-decay", ">= 0", self.weight_decay)
        require(0 <= self.warmup_fraction < 1, "optimizer.warmup-fraction", "in [0, 1)", self.warmup_fraction)
        require(self.max_gradient_norm > 0, "optimizer.max-gradient-norm", "> 0", self.max_gradient_norm)


@dataclass(frozen=True, kw_only=True, slots=True)
class PretrainConfig:
    """A whole pretraining run."""

    recipe: str
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
    workers: int = 1
    """Training processes, one GPU each where there are GPUs."""
    min_workers: int = 0
    """If set: the run is elastic. It goes on with as few processes when machines are lost, and grows to `workers`
    again when there are more; every step still has the same samples. 0: exactly `workers`."""
    cpus_per_worker: int = 1
    """Logical CPUs of a training worker, and its threads where there is no GPU."""
    data_workers: int = 1
    """Processes that read and decode crops, for each training worker and on its machine; each takes a CPU."""
    use_gpu: bool = False
    """One GPU and bf16 for every training worker."""
    precision: Precision = "auto"
    """auto: bf16 in the matrix products of a GPU, float32 elsewhere. float64: slow; sums in another order, as of
    another number of workers, agree in all digits that are printed."""
    compile: bool = False
    """Whether the encoder is compiled by torch.compile: a minute at the start, and faster steps on a GPU."""
    checkpoint_every: int = 200
    """Steps between checkpoints; the last step always writes one."""
    keep_checkpoints: int = 2
    """How many of the newest checkpoints stay."""
    log_every: int = 10
    """Steps between lines of metrics."""
    max_failures: int = 3
    """Restarts of the training workers before the run gives up."""
    model: ModelConfig = field(default_factory=ModelConfig)
    pairs: PairConfig = field(default_factory=PairConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        for name in (
            "epochs",
            "pairs_per_clip",
            "batch_pairs",
            "workers",
            "cpus_per_worker",
            "data_workers",
            "checkpoint_every",
            "keep_checkpoints",
            "log_every",
        ):
            require(getattr(self, name) >= 1, name.replace("_", "-"), ">= 1", getattr(self, name))
        oracle = self.loss.reliability == "oracle"
        require(bool(self.truth) or not oracle, "truth", "given with loss.reliability oracle", self.truth)
        require(self.max_failures >= 0, "max-failures", ">= 0", self.max_failures)
        require(self.batch_pairs >= self.workers, "batch-pairs", f">= workers={self.workers}", self.batch_pairs)
        require(0 <= self.min_workers <= self.workers, "min-workers", f"in [0, {self.workers}]", self.min_workers)
