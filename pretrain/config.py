"""What a run is: frozen values, made by a recipe, printed once, saved with every checkpoint.

Defaults are this project's, not the paper's: the paper's values are not published in what we could read.
"""

import dataclasses
import hashlib
import json
import types
import typing
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

Reliability = Literal["mutual", "conf", "sim", "margin"]
Architecture = Literal["tiny", "resnet18", "resnet50"]

Config = TypeVar("Config")


@dataclass(frozen=True, kw_only=True, slots=True)
class IngestConfig:
    """How videos become clips. A clips directory holds clips of one such configuration only."""

    detector: Literal["motion", "hog", "yolox", "boxes"] = "motion"
    """motion: fixed cameras, no weights. hog: OpenCV's people detector. yolox: an ONNX file. boxes: NAME.gt.csv."""
    detector_weights: str = ""
    """The ONNX file of `yolox` (path or URL)."""
    decoder: Literal["pyav", "decord"] = "pyav"
    """PyAV measured better on memory and on broken files; decord is unmaintained."""
    stride: int = 5
    """Keep every stride-th frame."""
    clip_seconds: float = 4.0
    """Longest time from the first to the last frame of a clip; bounds the interval of training pairs."""
    segment_seconds: float = 60.0
    """A video is split into pieces of about this length, so that one file can keep many workers busy."""
    min_score: float = 0.6
    """Drop detections below this score in [0, 1]."""
    min_height: int = 64
    """Drop boxes lower than this, in pixels of the video."""
    min_aspect: float = 1.2
    """Drop boxes with a smaller height / width."""
    max_aspect: float = 4.5
    """Drop boxes with a larger height / width."""
    max_overlap: float = 0.5
    """Drop boxes whose IoU with another box of the frame is above this."""
    min_people: int = 2
    """Drop frames with fewer boxes left."""
    max_people: int = 12
    """Drop frames with more boxes left."""
    max_cut_distance: float = 0.6
    """Start a new clip where neighbouring frames' HSV histograms are farther apart (Bhattacharyya, in [0, 1])."""
    max_crop_height: int = 384
    """Crops higher than this many pixels are made smaller before they are stored."""
    jpeg_quality: int = 92
    """JPEG quality of stored crops, 1 to 100."""
    segment_timeout_seconds: float = 900.0
    """A segment that takes longer is given up: some corrupt files make decoders spin for ever."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        _require(self.stride >= 1, "stride", ">= 1 frame", self.stride)
        _require(self.clip_seconds > 0, "clip-seconds", "> 0", self.clip_seconds)
        _require(self.segment_seconds >= self.clip_seconds, "segment-seconds", ">= clip-seconds", self.segment_seconds)
        _require(0 <= self.min_score <= 1, "min-score", "in [0, 1]", self.min_score)
        _require(self.min_height >= 1, "min-height", ">= 1 pixel", self.min_height)
        _require(0 < self.min_aspect < self.max_aspect, "min-aspect", "in (0, max-aspect)", self.min_aspect)
        _require(0 <= self.max_overlap <= 1, "max-overlap", "in [0, 1]", self.max_overlap)
        _require(0 <= self.max_cut_distance <= 1, "max-cut-distance", "in [0, 1]", self.max_cut_distance)
        _require(1 <= self.min_people <= self.max_people, "min-people", "in [1, max-people]", self.min_people)
        _require(1 <= self.jpeg_quality <= 100, "jpeg-quality", "in [1, 100]", self.jpeg_quality)
        _require(self.max_crop_height >= 16, "max-crop-height", ">= 16 pixels", self.max_crop_height)
        _require(self.segment_timeout_seconds > 0, "segment-timeout-seconds", "> 0", self.segment_timeout_seconds)
        if self.detector == "yolox" and not self.detector_weights:
            raise ValueError("detector yolox needs its ONNX file: add --detector-weights FILE.onnx")


@dataclass(frozen=True, kw_only=True, slots=True)
class PairConfig:
    """Which two frames of a clip make a pair, and what the crops go through."""

    min_interval_seconds: float = 0.2
    """Shortest time between the two frames."""
    max_interval_seconds: float = 2.0
    """Longest time between the two frames."""
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
        _require(
            0 < self.min_interval_seconds <= self.max_interval_seconds,
            "pairs.min-interval-seconds",
            "in (0, pairs.max-interval-seconds]",
            self.min_interval_seconds,
        )
        _require(0 <= self.jitter <= 2, "pairs.jitter", "in [0, 2]", self.jitter)
        _require(self.padding_pixels >= 0, "pairs.padding-pixels", ">= 0", self.padding_pixels)
        for name in ("jitter", "grayscale", "blur", "erasing", "flip"):
            value = getattr(self, f"{name}_probability")
            _require(0 <= value <= 1, f"pairs.{name}-probability", "in [0, 1]", value)


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """The encoder."""

    architecture: Architecture = "resnet50"
    """tiny: a residual CNN for small inputs. resnet18, resnet50: torchvision's, last stride 1."""
    embedding_size: int = 512
    """Length of the embedding; 512 as in the authors' released model."""
    height: int = 256
    """Input height in pixels."""
    width: int = 128
    """Input width in pixels."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        _require(self.embedding_size >= 1, "model.embedding-size", ">= 1", self.embedding_size)
        _require(self.height >= 16 and self.width >= 16, "model.height/width", ">= 16", (self.height, self.width))


@dataclass(frozen=True, kw_only=True, slots=True)
class LossConfig:
    """The reliability-guided contrastive loss (specification ISR 1.7.3; the formula is this project's design)."""

    tau: float = 0.1
    """Divides the cosine in the loss; unitless."""
    reliability: Reliability = "sim"
    """How a matched pair's reliability in (0, 1] is estimated."""
    beta: float = 2.0
    """Exponent of the reliability; 0 gives plain InfoNCE on matched pairs."""
    beta_warmup_steps: int = 200
    """Steps with beta 0 at the start: a weighting from random features locks on to the few easiest pairs."""
    tau_r: float = 0.1
    """Temperature inside the `mutual` and `margin` reliabilities; unitless."""
    normalisation: Literal["self", "mean"] = "self"
    """self: divide by the sum of weights. mean: divide by the number of pairs."""
    mask_same_pair_cross: float | None = None
    """If set: in-pair negatives whose similarity is above the positive's minus this margin are left out."""
    min_similarity: float | None = None
    """If set: matched pairs below this cosine are dropped."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        _require(self.tau > 0, "loss.tau", "> 0", self.tau)
        _require(self.tau_r > 0, "loss.tau-r", "> 0", self.tau_r)
        _require(self.beta >= 0, "loss.beta", ">= 0", self.beta)
        _require(self.beta_warmup_steps >= 0, "loss.beta-warmup-steps", ">= 0", self.beta_warmup_steps)
        if self.mask_same_pair_cross is not None:
            _require(self.mask_same_pair_cross >= 0, "loss.mask-same-pair-cross", ">= 0", self.mask_same_pair_cross)


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizerConfig:
    """AdamW with linear warm-up and cosine decay to zero."""

    learning_rate: float = 5e-4
    """Peak learning rate, for the whole batch as configured; it is not rescaled."""
    weight_decay: float = 0.05
    """Decoupled weight decay; not applied to biases and normalisation layers."""
    warmup_fraction: float = 0.05
    """Share of all steps with a rising learning rate, in [0, 1)."""
    max_gradient_norm: float = 1.0
    """Gradients are scaled down to this norm."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        _require(self.learning_rate > 0, "optimizer.learning-rate", "> 0", self.learning_rate)
        _require(self.weight_decay >= 0, "optimizer.weight-decay", ">= 0", self.weight_decay)
        _require(0 <= self.warmup_fraction < 1, "optimizer.warmup-fraction", "in [0, 1)", self.warmup_fraction)
        _require(self.max_gradient_norm > 0, "optimizer.max-gradient-norm", "> 0", self.max_gradient_norm)


@dataclass(frozen=True, kw_only=True, slots=True)
class PretrainConfig:
    """A whole pretraining run."""

    recipe: str
    """Name of the recipe that made this configuration."""
    seed: int = 0
    """Seeds the initial weights, the order of clips, the pairs and the augmentation."""
    epochs: int = 20
    """Passes over the clips; every pass draws new pairs."""
    pairs_per_clip: int = 1
    """Frame pairs drawn from a clip in one epoch."""
    batch_pairs: int = 64
    """Frame pairs per step over all workers."""
    workers: int = 1
    """Training processes, one GPU each where there are GPUs."""
    cpus_per_worker: int = 1
    """Logical CPUs of a training worker, and its threads where there is no GPU."""
    data_workers: int = 1
    """Processes that read, decode and augment crops for the training workers."""
    use_gpu: bool = False
    """One GPU and bf16 for every training worker."""
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
            _require(getattr(self, name) >= 1, name.replace("_", "-"), ">= 1", getattr(self, name))
        _require(self.max_failures >= 0, "max-failures", ">= 0", self.max_failures)
        _require(
            self.batch_pairs % self.workers == 0,
            "batch-pairs",
            f"a multiple of workers={self.workers}",
            self.batch_pairs,
        )


def _require(condition: bool, name: str, rule: str, value: object) -> None:
    if not condition:
        raise ValueError(f"{name} must be {rule}, got {value}")


def to_json(config: Any) -> dict[str, Any]:
    """Return a configuration as plain JSON values."""
    return typing.cast("dict[str, Any]", json.loads(json.dumps(dataclasses.asdict(config))))


def from_json(kind: type[Config], values: Any) -> Config:
    """Rebuild a configuration that `to_json` wrote.

    Raises:
        ValueError: If a field is unknown or missing: the file was written by another version.
    """
    names = {item.name for item in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if not isinstance(values, dict) or set(values) != names:
        given = set(values) if isinstance(values, dict) else set()
        raise ValueError(
            f"saved {kind.__name__} does not fit this version: unknown fields {sorted(given - names)}, "
            f"missing fields {sorted(names - given)}; use the version that wrote it"
        )
    hints = typing.get_type_hints(kind)
    return kind(
        **{
            name: from_json(hints[name], value) if dataclasses.is_dataclass(_plain(hints[name])) else value
            for name, value in values.items()
        }
    )


def _plain(hint: Any) -> Any:
    return None if isinstance(hint, types.UnionType) else hint


def fingerprint(config: Any) -> str:
    """Return a short hash of a configuration, equal exactly for equal values (1 and 1.0 are equal)."""
    text = json.dumps(to_json(config), sort_keys=True)
    values = json.loads(
        text, parse_float=lambda digits: int(float(digits)) if float(digits).is_integer() else float(digits)
    )
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


def differences(old: Any, new: Any, prefix: str = "") -> list[str]:
    """List the fields in which two configurations differ, as ``name: old -> new``."""
    found: list[str] = []
    for item in dataclasses.fields(new):
        before, after = getattr(old, item.name), getattr(new, item.name)
        if dataclasses.is_dataclass(after):
            found += differences(before, after, f"{prefix}{item.name}.")
        elif before != after:
            found.append(f"{prefix}{item.name}: {before} -> {after}")
    return found
