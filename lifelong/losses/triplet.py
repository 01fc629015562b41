"""Triplet losses over the hardest pairs of a batch, on Euclidean distances.

Shapes: B images, D embedding size, A anchors: images with somebody else's and another image of their own beside them.
"""

import torch
from torch import Tensor
from torch.nn import functional


def batch_hard_triplet(embedding_BD: Tensor, identity_B: Tensor, *, margin: float) -> Tensor:
    """Hinge between the farthest positive and the nearest negative (Hermans, Beyer and Leibe, 2017, eq. 5).

    >>> import torch, lifelong
    >>> embedding = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 6.0]])
    >>> lifelong.batch_hard_triplet(embedding, torch.tensor([0, 0, 1]), margin=0.3)
    tensor(0.8472)

    The definition, as a loop::

        for b in range(B):
            positive = [distance(b, j) for j in range(B) if j != b and identity[j] == identity[b]]
            negative = [distance(b, j) for j in range(B) if identity[j] != identity[b]]
            if positive and negative:
                loss.append(max(0, margin + max(positive) - min(negative)))
        return mean(loss)  # 0 if there is none

    Args:
        embedding_BD: Any norm.
        identity_B: int64, who is in each image.
        margin: In units of the distance, >= 0.

    Returns:
        Scalar; 0 with a gradient of 0 if no image has both.

    Raises:
        ValueError: If shapes differ, or the margin is negative.
    """
    if margin < 0:
        raise ValueError(f"margin must be >= 0, got {margin}")
    positive_A, negative_A = _hardest(embedding_BD, identity_B)
    if not len(positive_A):
        return (embedding_BD * 0).sum()
    return functional.relu(margin + positive_A - negative_A).mean()


def soft_batch_hard_triplet(embedding_BD: Tensor, identity_B: Tensor, *, target: float = 0.7) -> Tensor:
    """Cross-entropy of the two hardest distances with a soft target, as in PTKP's code (Ge et al., AAAI 2022).

    The definition, as a loop, with the distances of `batch_hard_triplet`::

        for b in images with both:
            log_p = log_softmax([max(positive), min(negative)])
            loss.append(-(1 - target) * log_p[0] - target * log_p[1])
        return mean(loss)  # 0 if there is none

    Its minimum is at ``min(negative) - max(positive) = log(target / (1 - target))``: beyond that, pairs are not pushed.

    Args:
        embedding_BD: Any norm.
        identity_B: int64, who is in each image.
        target: The negative's share, in (0.5, 1).

    Returns:
        Scalar, in nats; 0 with a gradient of 0 if no image has both.

    Raises:
        ValueError: If shapes differ, or the target is out of range.
    """
    if not 0.5 < target < 1:
        raise ValueError(f"target must be in (0.5, 1), got {target}")
    positive_A, negative_A = _hardest(embedding_BD, identity_B)
    if not len(positive_A):
        return (embedding_BD * 0).sum()
    log_p_A2 = torch.stack([positive_A, negative_A], dim=1).log_softmax(dim=1)
    return -((1 - target) * log_p_A2[:, 0] + target * log_p_A2[:, 1]).mean()


def _hardest(embedding_BD: Tensor, identity_B: Tensor) -> tuple[Tensor, Tensor]:
    """Return the farthest positive's and the nearest negative's distance of each anchor."""
    if identity_B.shape != embedding_BD.shape[:1]:
        raise ValueError(f"{len(embedding_BD)} embeddings need as many identities, got {list(identity_B.shape)}")
    # Its gradient is 0 between equal images. Of differences, not of a product, which is inexact between near ones.
    distance_BB = torch.cdist(embedding_BD, embedding_BD, compute_mode="donot_use_mm_for_euclid_dist")
    is_same_BB = identity_B[:, None] == identity_B
    is_positive_BB = is_same_BB & ~torch.eye(len(identity_B), dtype=torch.bool, device=identity_B.device)
    has_both_B = is_positive_BB.any(dim=1) & (~is_same_BB).any(dim=1)
    if not has_both_B.any():
        return distance_BB.new_zeros(0), distance_BB.new_zeros(0)
    positive_B = distance_BB.masked_fill(~is_positive_BB, -torch.inf).amax(dim=1)
    negative_B = distance_BB.masked_fill(is_same_BB, torch.inf).amin(dim=1)
    return positive_B[has_both_B], negative_B[has_both_B]
