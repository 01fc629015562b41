"""The terms of a stage's loss: weights and constants. A weight of 0 switches a term off.

Defaults are this project's where a paper's are not available to us (LReID-BC, Oh and Sim, arXiv 2403.10022).
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from cluster.values import require
from lifelong.stages.terms import TERMS, weight_paths


@dataclass(frozen=True, kw_only=True, slots=True)
class EpisodeLossConfig:
    """Metric learning and distillation over episodes (DMML; DwPP, DwoPP); needs ``--sampler episodes``."""

    metric: float = 0.0
    """Weight of the DMML loss."""
    queries: int = 1
    """Of an identity's images in a step, how many ask; the others are its support."""
    mode: Literal["hard", "center"] = "hard"
    """Whether a query is compared with the hardest support of an identity or with the mean of all."""
    margin: float = 0.4
    """Taken off the distance to other identities, with mode hard."""
    distance: Literal["euclidean", "cosine"] = "euclidean"
    """Squared Euclidean of embeddings as the last layer gives them, or 1 - cosine."""
    scale: float = 1.0
    """Multiplies distances in the softmax; unitless. A cosine needs some 16; 1 for euclidean, as published."""
    norm_penalty: float = 5e-4
    """Weight of the mean squared norm of the embeddings."""
    distillation: float = 0.0
    """Weight of agreeing with the last model on which prototypes a query is near."""
    temperature: float = 1.0
    """Divides the logits of both models in that."""
    drop_positive: bool = True
    """Whether the query's own prototype is left out of the softmax (DwoPP) or not (DwPP)."""
    target_weight: float = 0.0
    """Of agreeing on how likely the own prototype is; DwPP has 1."""
    other_weight: float = 1.0
    """Of agreeing on the other prototypes."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        for name in ("metric", "margin", "norm_penalty", "distillation", "target_weight", "other_weight"):
            require(getattr(self, name) >= 0, f"loss.episode.{name.replace('_', '-')}", ">= 0", getattr(self, name))
        for name in ("queries", "scale", "temperature"):
            require(getattr(self, name) > 0, f"loss.episode.{name}", "> 0", getattr(self, name))


@dataclass(frozen=True, kw_only=True, slots=True)
class MatchingLossConfig:
    """Losses on QAConv scores; with any of them the model has a matching branch (Liao and Shao, 2020 and 2022)."""

    pairwise: float = 0.0
    """Weight of telling same from other identities among all pairs of a batch."""
    triplet: float = 0.0
    """Weight of the hinge between hardest positive and hardest negative score."""
    margin: float = 16.0
    """Of that hinge, in units of the score's logit."""
    class_memory: float = 0.0
    """Weight of matching every image with the latest map of each identity."""
    gamma: float = 2.0
    """Exponent of the focal loss in that."""
    channels: int = 128
    """Of the maps that are matched."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        for name in ("pairwise", "triplet", "margin", "class_memory", "gamma"):
            require(getattr(self, name) >= 0, f"loss.matching.{name.replace('_', '-')}", ">= 0", getattr(self, name))
        require(self.channels >= 1, "loss.matching.channels", ">= 1", self.channels)

    @property
    def is_used(self) -> bool:
        """Whether the model has a matching branch."""
        return self.pairwise > 0 or self.triplet > 0 or self.class_memory > 0


@dataclass(frozen=True, kw_only=True, slots=True)
class LossConfig:
    """All terms; those without a group of their own are on embeddings (METHOD.md 3)."""

    identity: float = 1.0
    """Weight of the classifier over identities."""
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
    temperature: float = 0.05
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
    relation_temperature: float = 0.1
    """Divides the cosines in that; unitless."""
    extra: tuple[str, ...] = ()
    """Terms from outside the tree with their weights: package.module:TERM=0.5, several apart by spaces."""
    episode: EpisodeLossConfig = field(default_factory=EpisodeLossConfig)
    matching: MatchingLossConfig = field(default_factory=MatchingLossConfig)

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        for name in ("identity", "triplet", "margin", "compatibility", "influence", "parts", "consolidation"):
            require(getattr(self, name) >= 0, f"loss.{name}", ">= 0", getattr(self, name))
        for name in ("logit_distillation", "relation_distillation"):
            require(getattr(self, name) >= 0, f"loss.{name.replace('_', '-')}", ">= 0", getattr(self, name))
        for name in ("scale", "temperature", "distillation_temperature", "relation_temperature"):
            require(getattr(self, name) > 0, f"loss.{name.replace('_', '-')}", "> 0", getattr(self, name))
        require(0 <= self.smoothing < 1, "loss.smoothing", "in [0, 1)", self.smoothing)
        require(self.num_parts >= 2, "loss.num-parts", ">= 2", self.num_parts)
        require(not self.consolidation or self.parts > 0, "loss.parts", "> 0 with loss.consolidation", self.parts)
        require(len(self._extra_weights()) == len(self.extra), "loss.extra", "different terms", " ".join(self.extra))
        for name in self._extra_weights():
            TERMS.require(name, "loss.extra")
        lacking = self.needs() & {"parts"} and not self.parts
        require(not lacking, "loss.parts", "> 0 with a term that needs parts", self.parts)
        lacking = self.needs() & {"matching"} and not self.matching.is_used
        require(not lacking, "loss.matching", "used with a term that needs matching", "no weight")
        require(any(self.weights().values()), "loss", "some term with a weight", "none")

    def _extra_weights(self) -> dict[str, float]:
        """Read `extra`.

        Raises:
            InputError: If one is not of its form.
        """
        found: dict[str, float] = {}
        for text in self.extra:
            name, _, weight = text.partition("=")
            try:
                found[name] = float(weight)
            except ValueError:
                found[name] = float("nan")
            rule = "package.module:TERM=WEIGHT with a weight > 0"
            require(":" in name and 0 < found[name] < float("inf"), "loss.extra", rule, text)
        return found

    def weights(self) -> dict[str, float]:
        """Return the weight of each term that has one."""
        weights: dict[str, float] = {}
        for name, path in weight_paths().items():
            value: Any = self
            for part in path.split("."):
                value = getattr(value, part)
            weights[name] = value
        weights |= self._extra_weights()
        return {name: weight for name, weight in weights.items() if weight}

    def needs(self) -> set[str]:
        """Return what the terms with a weight need, see `lifelong.stages.terms.NEEDED`."""
        return {what for name in self.weights() for what in TERMS.needs(name)}

    @property
    def uses_classifier(self) -> bool:
        """Whether a term learns the classifier."""
        return "classifier" in self.needs()

    @property
    def uses_embedding(self) -> bool:
        """Whether a term learns the embedding; where none does, its last layer stays as it is."""
        return any(not {"parts", "matching"} & set(TERMS.needs(name)) for name in self.weights())

    @property
    def uses_teacher(self) -> bool:
        """Whether the last model looks at every batch."""
        return "teacher" in self.needs()
