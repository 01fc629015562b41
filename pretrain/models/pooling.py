"""From a feature map to one vector: pooling with a learned exponent, and the batch norm behind it."""

import math

import torch
from torch import Tensor, nn

from pretrain.models.precision import at_least_single

EPSILON = 1e-6
"""Activations below it count as it: a power of zero has no gradient."""


class GeneralisedMean(nn.Module):
    """Pooling between mean and maximum, with a learned exponent (GeM; Radenovic, Tolias & Chum, TPAMI 2018, eq. 4).

    The definition, as a loop::

        for b in range(B):
            for c in range(C):
                pooled[b, c] = mean(max(x, EPSILON) ** p for x in map[b, c].flatten()) ** (1 / p)

    With p = 1 it is the mean; the larger p, the nearer to the maximum.
    """

    def __init__(self, exponent: float = 3.0) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.full((1,), exponent))

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Pool float [B, C, H, W] to [B, C, 1, 1], computed in float32 at least."""
        precise_BCHW = at_least_single(map_BCHW)
        # In logarithms: the powers themselves leave float32 where the exponent has grown.
        log_BCHW = self.p * precise_BCHW.clamp(min=EPSILON).log()
        total_BC11 = torch.logsumexp(log_BCHW, dim=(2, 3), keepdim=True)
        return torch.exp((total_BC11 - math.log(map_BCHW.shape[2] * map_BCHW.shape[3])) / self.p)


class EmbeddingNorm(nn.BatchNorm1d):
    """Batch norm of an embedding, without a bias (BN-neck; Luo et al., "Bag of Tricks", CVPR workshops 2019).

    Without a bias the embeddings stay around the origin, from where a cosine looks at them. A kind of its own, so that
    `pretrain.distributed.batch_norm` tells it from norms that see the batch of all processes anyway.
    """

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1) -> None:
        super().__init__(num_features, eps=eps, momentum=momentum, bias=False)
