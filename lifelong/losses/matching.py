"""Losses on QAConv scores: against a memory of classes, and within a batch.

Liao & Shao, "Interpretable and Generalizable Person Re-Identification with Query-Adaptive Convolution and Temporal
Lifting", ECCV 2020 (class memory); Liao & Shao, "Graph Sampling Based Deep Metric Learning for Generalizable Person
Re-Identification", CVPR 2022 (hard triplet, all pairs). Scores come from `pretrain.models.matching.MatchingBranch`.
Sources, and what is ours: METHOD.md 5.

Shapes: B images of a batch, C classes, V classes that have been seen, K channels of a map, H W of a map.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from pretrain.models.matching import MatchingBranch


class ClassMemory(nn.Module):
    """The latest map of each class, and the loss of matching a batch with all of them (ECCV 2020).

    Processes that train together must pass the same maps of all of them to `update`: its buffers are no gradients, and
    nobody sums them up.
    """

    map_CKHW: Tensor
    valid_C: Tensor

    def __init__(self, num_classes: int, channels: int, height: int, width: int) -> None:
        """Make an empty memory: no class has been seen."""
        super().__init__()
        self.register_buffer("map_CKHW", torch.zeros(num_classes, channels, height, width))
        self.register_buffer("valid_C", torch.zeros(num_classes, dtype=torch.bool))

    def forward(
        self, branch: MatchingBranch, map_BKHW: Tensor, target_B: Tensor, *, gamma: float = 2.0, chunk: int = 16
    ) -> Tensor:
        """Return `class_memory_loss` of the batch's scores with the classes seen so far; `update` comes after it.

        Args:
            branch: Scores, in its own mode. Classes never seen are not scored: they would count in its batch norms.
            map_BKHW: The batch's maps; gradients reach these and the branch, not the memory.
            target_B: int64, the class of each image.
            gamma: See `class_memory_loss`.
            chunk: Classes at a time, see `MatchingBranch.score`.

        Returns:
            Scalar, in nats; 0 with a gradient of 0 where no class has been seen.

        Raises:
            ValueError: As `class_memory_loss` and `MatchingBranch.score`.
        """
        valid_C = self.valid_C.clone()  # `update` may come before the gradient does
        score_BC = map_BKHW.new_zeros(len(map_BKHW), len(valid_C))
        if valid_C.any():
            score_BC[:, valid_C] = branch.score(self.map_CKHW[valid_C], map_BKHW, chunk=chunk).T  # it is symmetric
        else:
            score_BC = score_BC + sum(tensor.sum() for tensor in (map_BKHW, *branch.parameters())) * 0
        return class_memory_loss(score_BC, target_B, valid_C, gamma=gamma)

    @torch.no_grad()
    def update(self, map_BKHW: Tensor, target_B: Tensor) -> None:
        """Overwrite the maps of the classes of a batch.

        The definition, as a loop::

            for b in range(B):
                map[target[b]], valid[target[b]] = detach(map_B[b]), True

        Raises:
            ValueError: If shapes differ, or a target is no class.
        """
        num_classes, *shape = self.map_CKHW.shape
        if list(map_BKHW.shape) != [len(target_B), *shape]:
            raise ValueError(f"{len(target_B)} targets need maps {[len(target_B), *shape]}, got {list(map_BKHW.shape)}")
        _check_targets(target_B, num_classes)
        # Which of several writes to one row is the last is not defined, so each row is written once.
        order_B = torch.arange(len(target_B), device=target_B.device)
        last_C = order_B.new_full((num_classes,), -1).scatter_reduce(0, target_B, order_B, "amax")
        seen_C = last_C >= 0
        self.map_CKHW[seen_C] = map_BKHW[last_C[seen_C]].to(self.map_CKHW.dtype)
        self.valid_C = self.valid_C | seen_C  # not in place: the loss may still need the old one for its gradient


def class_memory_loss(score_BC: Tensor, target_B: Tensor, valid_C: Tensor, *, gamma: float = 2.0) -> Tensor:
    """Focal binary cross-entropy of each image's score with every class (ECCV 2020, with the mask of version 1.1).

    The definition, as a loop::

        for b in range(B):
            for c in range(C) if valid[c]:
                p = sigmoid(score[b, c])
                if c == target[b]:
                    loss[b] += -log(p) * (1 - p) ** gamma
                else:
                    loss[b] += -log(1 - p) * p ** gamma
        return mean(loss)

    Args:
        score_BC: Logits of each image with the remembered map of each class.
        target_B: int64, the class of each image.
        valid_C: bool, which classes have been seen; the others' memory is empty and counts nothing.
        gamma: How much less an easy pair counts, >= 0.

    Returns:
        Scalar, in nats; 0 with a gradient of 0 where no class is valid.

    Raises:
        ValueError: If shapes differ, a target is no class, or gamma is negative.
    """
    num_images, num_classes = score_BC.shape
    if target_B.shape != (num_images,) or valid_C.shape != (num_classes,):
        raise ValueError(
            f"scores {list(score_BC.shape)} need as many targets and classes, "
            f"got {list(target_B.shape)} and {list(valid_C.shape)}"
        )
    if gamma < 0:
        raise ValueError(f"gamma must be >= 0, got {gamma}")
    _check_targets(target_B, num_classes)
    is_own_BC = functional.one_hot(target_B, num_classes).to(score_BC.dtype)
    entropy_BC = functional.binary_cross_entropy_with_logits(score_BC, is_own_BC, reduction="none")
    miss_BC = torch.sigmoid(torch.where(is_own_BC > 0, -score_BC, score_BC))
    return (entropy_BC * miss_BC**gamma * valid_C).sum() / num_images


def pairwise_matching_loss(score_BB: Tensor, identity_B: Tensor) -> Tensor:
    """Binary cross-entropy of all pairs of a batch: is it the same identity? (version 2.0, CVPR 2022).

    >>> import torch, lifelong
    >>> scores = torch.tensor([[9.0, 5.0, -5.0], [5.0, 9.0, -5.0], [-5.0, -5.0, 9.0]])
    >>> lifelong.pairwise_matching_loss(scores, torch.tensor([0, 0, 1])) < 0.1
    tensor(True)

    The definition, as a loop::

        for b in range(B):
            for j in range(B):  # an image's pair with itself included
                p = sigmoid(score[b, j])
                loss[b] += -log(p) if identity[j] == identity[b] else -log(1 - p)
        return mean(loss)

    Args:
        score_BB: Logits of each image of a batch with each.
        identity_B: int64, who is in each image.

    Returns:
        Scalar, in nats; it grows with B.

    Raises:
        ValueError: If shapes differ, or the batch is empty.
    """
    size = len(identity_B)
    if score_BB.shape != (size, size) or identity_B.ndim != 1 or not size:
        raise ValueError(f"{size} identities need scores [{size}, {size}] and at least one, got {list(score_BB.shape)}")
    is_same_BB = (identity_B[:, None] == identity_B).to(score_BB.dtype)
    return functional.binary_cross_entropy_with_logits(score_BB, is_same_BB, reduction="sum") / size


def hard_triplet(score_BB: Tensor, identity_B: Tensor, *, margin: float = 16.0) -> Tensor:
    """Hinge between the hardest positive and the hardest negative score of each image (CVPR 2022).

    The definition, as a loop::

        for b in range(B):
            positive = [score[b, j] for j in range(B) if j != b and identity[j] == identity[b]]
            negative = [score[b, j] for j in range(B) if identity[j] != identity[b]]
            if positive and negative:
                loss.append(max(0, margin - (min(positive) - max(negative))))
        return mean(loss)  # 0 if there is none

    Args:
        score_BB: Logits of each image of a batch with each; the diagonal is not used.
        identity_B: int64, who is in each image.
        margin: In units of the logit, >= 0.

    Returns:
        Scalar; 0 with a gradient of 0 if no image has both a positive and a negative.

    Raises:
        ValueError: If shapes differ, or the margin is negative.
    """
    size = len(identity_B)
    if score_BB.shape != (size, size) or identity_B.ndim != 1 or margin < 0:
        raise ValueError(
            f"{size} identities need scores [{size}, {size}] and a margin >= 0, got {list(score_BB.shape)} and {margin}"
        )
    is_same_BB = identity_B[:, None] == identity_B
    is_positive_BB = is_same_BB & ~torch.eye(size, dtype=torch.bool, device=score_BB.device)
    has_both_B = is_positive_BB.any(dim=1) & (~is_same_BB).any(dim=1)
    if not has_both_B.any():
        return (score_BB * 0).sum()
    positive_B = score_BB.masked_fill(~is_positive_BB, float("inf")).amin(dim=1)[has_both_B]
    negative_B = score_BB.masked_fill(is_same_BB, float("-inf")).amax(dim=1)[has_both_B]
    return functional.relu(margin - (positive_B - negative_B)).mean()


def _check_targets(target_B: Tensor, num_classes: int) -> None:
    if not ((target_B >= 0) & (target_B < num_classes)).all():
        raise ValueError(f"targets must be 0 to {num_classes - 1}, got {target_B.tolist()}")
