"""Losses on QAConv scores: against a memory of classes, and within a batch.

Liao & Shao, "Interpretable and Generalizable Person Re-Identification with Query-Adaptive Convolution and Temporal
Lifting", ECCV 2020 (class memory); Liao & Shao, "Graph Sampling Based Deep Metric Learning for Generalizable Person
Re-Identification", CVPR 2022 (hard triplet). Scores come from `evaluation.qaconv`'s matcher in training form.

Shapes: B images of a batch, C classes.
"""

import torch
from torch import Tensor
from torch.nn import functional


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
    if gamma < 0 or not ((target_B >= 0) & (target_B < num_classes)).all():
        raise ValueError(f"gamma must be >= 0 and targets 0 to {num_classes - 1}, got {gamma} and {target_B.tolist()}")
    is_own_BC = functional.one_hot(target_B, num_classes).to(score_BC.dtype)
    entropy_BC = functional.binary_cross_entropy_with_logits(score_BC, is_own_BC, reduction="none")
    miss_BC = torch.sigmoid(torch.where(is_own_BC > 0, -score_BC, score_BC))
    return (entropy_BC * miss_BC**gamma * valid_C).sum() / num_images


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
