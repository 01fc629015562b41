"""Parts of a person: pooled stripes, a head that masks and names them, and losses that hold them to the last model's.

"LReID-BC: Lifelong Person Re-Identification with Backward-Compatibility" consolidates knowledge through body parts,
because identities never come back in another dataset and body parts do. The paper's formulas are not available: this is
this project's reading of its summary (METHOD.md 3.5). The part logits in our training are of masked features,
``classify(part * mask(part))``, so that the mask network learns at every stage, also at the first, where there is no
older model.

Shapes: B images, P parts, C channels, H W of the map, K part classes.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from pretrain.models.precision import at_least_single

MaskCombination = Literal["cross", "product", "average"]
"""How the masks of two models meet (see `combine_masks`)."""
FLOOR = 1e-6
"""Values below are raised to it before the power: the root has no slope at 0."""


def pool_parts(map_BCHW: Tensor, num_parts: int, *, power: float = 3.0) -> Tensor:
    """Pool horizontal stripes of feature maps by the generalised mean (GeM; Radenovic et al., TPAMI 2019).

    The definition, as a loop::

        for b, p, c in product(range(B), range(P), range(C)):
            rows = range(floor(p * H / P), ceil((p + 1) * H / P))
            values = [max(map[b, c, h, w], 1e-6) for h in rows for w in range(W)]
            part[b, p, c] = mean(value ** power for value in values) ** (1 / power)

    Stripes are those of adaptive pooling: where P does not divide H, neighbours share a row. Half precision is raised
    to float32 first, whose range the cube of 1e-6 needs.

    Args:
        map_BCHW: Feature maps after a ReLU.
        num_parts: P, 1 to H.
        power: 1 is the mean, large is the maximum; > 0.

    Returns:
        [B, P, C], the uppermost part first, values >= 1e-6.

    Raises:
        ValueError: If the maps are not 4-dimensional, or P or the power is out of range.
    """
    if map_BCHW.ndim != 4 or not map_BCHW.numel():
        raise ValueError(f"maps must be [B, C, H, W] with no empty dimension, got {list(map_BCHW.shape)}")
    height = map_BCHW.shape[2]
    if not 1 <= num_parts <= height:
        raise ValueError(f"num_parts must be 1 to the map's {height} rows, got {num_parts}")
    if power <= 0:
        raise ValueError(f"power must be > 0, got {power}")
    precise = at_least_single(map_BCHW)
    raised_BCH = precise.clamp(min=FLOOR).pow(power).mean(dim=3)
    means = [
        raised_BCH[:, :, part * height // num_parts : -(-(part + 1) * height // num_parts)].mean(dim=2)
        for part in range(num_parts)
    ]
    return torch.stack(means, dim=1).pow(1 / power)


class PartHead(nn.Module):
    """Channel masks and part names; one head goes through all stages, and a frozen copy of it stays with each model.

    The definition, as a loop::

        for b, p in product(range(B), range(P)):
            mask[b, p] = sigmoid(expand(relu(reduce(part[b, p]))))
            logit[b, p] = classifier(part[b, p])  # training gives it part * mask
    """

    def __init__(self, channels: int, num_parts: int, hidden: int) -> None:
        """Make the layers with PyTorch's initialisation.

        Args:
            channels: C.
            num_parts: P, which is also K: a part's class is its place.
            hidden: Width of the mask network.
        """
        super().__init__()
        self.mask_network = nn.Sequential(
            nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels), nn.Sigmoid()
        )
        self.classifier = nn.Linear(channels, num_parts)

    def mask(self, part_BPC: Tensor) -> Tensor:
        """Return how much each channel of each part counts, [B, P, C] in 0 to 1."""
        return self.mask_network(part_BPC)

    def classify(self, part_BPC: Tensor) -> Tensor:
        """Return the logits of which part each feature is, [B, P, K]."""
        return self.classifier(part_BPC)


def part_classification(logit_BPK: Tensor) -> Tensor:
    """Cross-entropy of naming each stripe by its place, which means the same in every dataset.

    The definition, as a loop::

        loss = 0
        for b, p in product(range(B), range(P)):
            loss += -log_softmax(logit[b, p])[p]
        return loss / (B * P)

    Args:
        logit_BPK: See `PartHead.classify`; K = P.

    Returns:
        Scalar, in nats; log P where the head knows nothing.

    Raises:
        ValueError: If the logits are not one per part of each part, or there are none.
    """
    _check_shapes("logits", logit_BPK)
    num_images, num_parts, num_classes = logit_BPK.shape
    if num_classes != num_parts:
        raise ValueError(f"{num_parts} parts need a head of as many classes, got {num_classes}")
    return functional.cross_entropy(
        logit_BPK.flatten(0, 1), torch.arange(num_parts, device=logit_BPK.device).repeat(num_images)
    )


def combine_masks(new_mask_BPC: Tensor, old_mask_BPC: Tensor, how: MaskCombination) -> tuple[Tensor, Tensor]:
    """Return the mask for the new model's features and that for the old model's.

    The definition::

        cross:    old for new, new for old
        product:  new * old for both
        average:  (new + old) / 2 for both

    Raises:
        ValueError: If shapes differ or the combination is unknown.
    """
    _check_shapes("masks", new_mask_BPC, old_mask_BPC)
    if how == "cross":
        return old_mask_BPC, new_mask_BPC
    if how == "product":
        both_BPC = new_mask_BPC * old_mask_BPC
        return both_BPC, both_BPC
    if how == "average":
        mean_BPC = (new_mask_BPC + old_mask_BPC) / 2
        return mean_BPC, mean_BPC
    raise ValueError(f"masks combine by cross, product or average, got {how!r}")


def part_consistency(
    new_BPC: Tensor, old_BPC: Tensor, new_mask_BPC: Tensor, old_mask_BPC: Tensor, *, how: MaskCombination
) -> Tensor:
    """Squared distance between the directions of the two models' masked parts.

    The definition, as a loop::

        for_new, for_old = combine_masks(new_mask, old_mask, how)
        loss = 0
        for b, p in product(range(B), range(P)):
            loss += sum((unit(new[b, p] * for_new[b, p]) - unit(old[b, p] * for_old[b, p])) ** 2)
        return loss / (B * P)

    Gradients reach the new features alone. The masks are constants here: a mask that closes all channels but one would
    make the loss small and teach nothing.

    Args:
        new_BPC: Parts of the model in training.
        old_BPC: Parts of the last model, of the same images.
        new_mask_BPC: The new head's masks of the new parts.
        old_mask_BPC: The old head's masks of the old parts.
        how: See `combine_masks`.

    Returns:
        Scalar in 0 to 4, in 0 to 2 for features that are not negative.

    Raises:
        ValueError: If shapes differ or the combination is unknown.
    """
    _check_shapes("parts and masks", new_BPC, old_BPC, new_mask_BPC, old_mask_BPC)
    for_new, for_old = combine_masks(new_mask_BPC.detach(), old_mask_BPC.detach(), how)
    new_unit = functional.normalize(new_BPC * for_new, dim=2)
    old_unit = functional.normalize(old_BPC.detach() * for_old, dim=2)
    return (new_unit - old_unit).square().sum(dim=2).mean()


def part_prediction(new_logit_BPK: Tensor, old_logit_BPK: Tensor) -> Tensor:
    """Kullback-Leibler divergence of the new part predictions from the old.

    The definition, as a loop::

        loss = 0
        for b, p, k in product(range(B), range(P), range(K)):
            old, new = softmax(old_logit[b, p])[k], softmax(new_logit[b, p])[k]
            loss += old * (log(old) - log(new))
        return loss / (B * P)

    Args:
        new_logit_BPK: Logits of the head in training.
        old_logit_BPK: Logits of the last model's head; a constant.

    Returns:
        Scalar >= 0, in nats.

    Raises:
        ValueError: If shapes differ.
    """
    _check_shapes("logits", new_logit_BPK, old_logit_BPK)
    new, old = (functional.log_softmax(logit, dim=2).flatten(0, 1) for logit in (new_logit_BPK, old_logit_BPK.detach()))
    return functional.kl_div(new, old, reduction="batchmean", log_target=True)


def _check_shapes(what: str, *tensors: Tensor) -> None:
    """Refuse tensors that are empty, or not three-dimensional and of one shape."""
    shapes = [list(tensor.shape) for tensor in tensors]
    if any(shape != shapes[0] for shape in shapes) or len(shapes[0]) != 3 or not tensors[0].numel():
        raise ValueError(f"{what} must be of one shape with images, parts and a last dimension, got {shapes}")
