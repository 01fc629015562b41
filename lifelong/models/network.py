"""The network of a stage: an encoder, a classifier over all identities so far, and heads where they are asked for.

The encoder alone is what searches use afterwards; the heads travel from stage to stage beside it.
Shapes: B images, D embedding size, C identities of all stages so far, P parts, K channels of the trunk or of a map.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from cluster.errors import InputError
from lifelong.losses.matching import ClassMemory
from lifelong.losses.parts import PartHead, pool_parts
from lifelong.stages.config import StageConfig
from pretrain.models.config import ModelConfig
from pretrain.models.encoder import Encoder, make_encoder
from pretrain.models.matching import MatchingBranch, matching_branch
from pretrain.models.precision import at_least_single, dtype_of

MASK_HIDDEN = 128
"""Width of the network that makes channel masks (METHOD.md 3.5)."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """What the network says of a batch."""

    raw_BD: Tensor
    """The embedding as the last layer gives it."""
    embedding_BD: Tensor
    """Of unit norm."""
    logit_BC: Tensor
    """Scaled cosine with each identity's weight."""
    part_BPK: Tensor | None = None
    """Pooled features of the parts, before the mask."""
    mask_BPK: Tensor | None = None
    """Channel masks, in (0, 1)."""
    part_logit_BPP: Tensor | None = None
    """Which part the masked features show."""
    map_BKHW: Tensor | None = None
    """What QAConv matches; unit norm at each location."""

    @classmethod
    def of(cls, found: Mapping[str, Tensor]) -> "Outputs":
        """Name what `LifelongModel.forward` found, and add the embedding that is searched."""
        return cls(**found, embedding_BD=functional.normalize(found["raw_BD"], dim=1))


class LifelongModel(nn.Module):
    """Encoder and heads. `forward` returns a plain dictionary, which any wrapper passes on; `Outputs` has its names."""

    def __init__(self, config: StageConfig, num_identities: int, *, with_parts: bool, with_matching: bool) -> None:
        super().__init__()
        self.config = config
        self.encoder = make_encoder(config.model, seed=config.seed)
        self.classifier = nn.Parameter(torch.zeros(num_identities, config.model.length))
        self.part_head: PartHead | None = None
        if with_parts:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(config.seed)
                self.part_head = PartHead(_trunk_channels(config.model), config.loss.num_parts, MASK_HIDDEN)
        self.matching: MatchingBranch | None = None
        self.class_memory: ClassMemory | None = None
        if with_matching:
            self.matching = matching_branch(config.model, channels=config.loss.matching.channels, seed=config.seed)
            if config.loss.matching.class_memory:
                # One of an image's scores is a positive; where all begin at even odds, the negatives drown it. So the
                # focal loss's authors begin with the prior (Lin et al., 2017); QAConv's do not.
                nn.init.constant_(self.matching.logit_bn.bias, -math.log(max(1, num_identities - 1)))
                size = {"height": self.matching.height, "width": self.matching.width}
                self.class_memory = ClassMemory(num_identities, channels=config.loss.matching.channels, **size)
        # What no term of the loss reaches does not learn, and does not decay.
        self.classifier.requires_grad_(config.loss.uses_classifier)
        for layer in (self.encoder.embedding, self.encoder.neck):
            layer.requires_grad_(config.loss.uses_embedding)
        self.to(dtype_of(config.precision))

    @property
    def num_identities(self) -> int:
        """Identities that the classifier knows."""
        return len(self.classifier)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Look at images, uint8 [B, 3, H, W]."""
        spec = self.encoder.spec
        wanted = [spec.trunk_layer] * (self.part_head is not None) + [spec.map_layer] * (self.matching is not None)
        raw_BD, layers = self.encoder.with_layers(images, wanted)
        cosine_BC = functional.normalize(raw_BD, dim=1) @ functional.normalize(self.classifier, dim=1).T
        found = {"raw_BD": raw_BD, "logit_BC": self.config.loss.scale * cosine_BC}
        if self.part_head is not None:
            part_BPK = pool_parts(at_least_single(layers[0]), self.config.loss.num_parts)
            mask_BPK = self.part_head.mask(part_BPK)
            logit_BPP = self.part_head.classify(part_BPK * mask_BPK)
            found |= {"part_BPK": part_BPK, "mask_BPK": mask_BPK, "part_logit_BPP": logit_BPP}
        if self.matching is not None:
            found["map_BKHW"] = self.matching(layers[-1])
        return found

    def outputs(self, images: Tensor) -> Outputs:
        """Look at images, with names."""
        return Outputs.of(self(images))


def _trunk_channels(config: ModelConfig) -> int:
    with torch.device("meta"), torch.no_grad():  # shapes alone: nothing is computed there
        encoder = Encoder(config).eval()
        return encoder.with_trunk(torch.zeros(1, 3, config.height, config.width, dtype=torch.uint8))[1].shape[1]


def model_of(tensors: dict[str, Tensor], config: StageConfig) -> LifelongModel:
    """Rebuild a network from its tensors.

    Raises:
        InputError: If they are not those of the configured architecture.
    """
    with_parts = any(name.startswith("part_head.") for name in tensors)
    with_matching = any(name.startswith("matching.") for name in tensors)
    model = LifelongModel(config, len(tensors["classifier"]), with_parts=with_parts, with_matching=with_matching)
    try:
        model.load_state_dict(_with_empty_memory(model, tensors))
    except RuntimeError as error:
        raise InputError(f"the last stage's network does not fit this stage's configuration: {error}") from error
    return model


def next_model(config: StageConfig, before: dict[str, Tensor], class_mean_CD: Tensor) -> LifelongModel:
    """Make the network with which a stage begins: the last one, and a classifier row for each new identity.

    Args:
        config: Of the new stage.
        before: Tensors of the last stage's network; without a classifier for the first stage.
        class_mean_CD: Mean embedding of each new identity by the last encoder; a row is its direction (PTKP).

    Returns:
        The network. Rows of known identities and all shared tensors are those of `before`, bit by bit. A part head that
        `before` lacks begins at random.
    """
    known_CD = before.get("classifier", class_mean_CD[:0])
    model = LifelongModel(
        config,
        len(known_CD) + len(class_mean_CD),
        with_parts=config.loss.parts > 0,
        with_matching=config.loss.matching.is_used,
    )
    tensors = model.state_dict()
    kept = {name: value for name, value in lasting(before).items() if name in tensors and name != "classifier"}
    missing = [name for name in tensors if name.startswith("encoder.") and name not in kept]
    if missing:
        raise InputError(f"the last network has no {missing[0]}; is it of another architecture?")
    unequal = [name for name, value in kept.items() if value.shape != tensors[name].shape]
    if unequal:
        name = unequal[0]
        raise InputError(
            f"{name} is {list(kept[name].shape)} in the last network and {list(tensors[name].shape)} in this one; "
            "all stages need the same --model, --loss.num-parts and --loss.matching.channels"
        )
    mean_CD = class_mean_CD.to(model.classifier.dtype)
    rows_CD = torch.cat([known_CD.to(mean_CD.dtype), functional.normalize(mean_CD, dim=1)])
    model.load_state_dict({**tensors, **kept, "classifier": rows_CD})
    return model


def lasting(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Leave out what serves one stage only: the memory of maps, which begins empty in each."""
    return {name: value for name, value in tensors.items() if not name.startswith("class_memory.")}


def _with_empty_memory(model: LifelongModel, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    own = model.state_dict()
    return {name: own[name] for name in own if name.startswith("class_memory.")} | tensors
