"""The branch of a model that matches images location by location: QAConv in its training form.

Liao & Shao, "Interpretable and Generalizable Person Re-Identification with Query-Adaptive Convolution and Temporal
Lifting", ECCV 2020; with the neck and the shared head of version 2.1 (Liao & Shao, "Graph Sampling Based Deep Metric
Learning for Generalizable Person Re-Identification", CVPR 2022). `evaluation.qaconv.scores` is its form for searches.

Shapes: B images, Q queries, G gallery images, C channels of the trunk, K channels of a map, H W of a map, L = H W
locations, E = 2 L best matches of a pair: of the query's locations, then of the gallery image's.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from evaluation.qaconv.head import QAConvHead
from pretrain.models.config import ModelConfig
from pretrain.models.encoder import Encoder
from pretrain.models.precision import at_least_single


class MatchingBranch(nn.Module):
    """A neck, which turns what the trunk found into maps, and a matcher, which scores pairs of them.

    The names of the matcher's parameters are those that `QAConvHead.fold` reads.
    """

    def __init__(self, in_channels: int, *, channels: int = 128, height: int, width: int) -> None:
        """Make the layers: a random neck, and a matcher that begins as the mean of the best matches.

        Args:
            in_channels: C.
            channels: K.
            height: H.
            width: W; nothing assumes that a map is higher than wide.
        """
        super().__init__()
        self.height, self.width = height, width
        self.neck = nn.Conv2d(in_channels, channels, 3, padding=1)
        self.bn = nn.BatchNorm1d(1)
        self.fc = nn.Linear(height * width, 1)
        self.logit_bn = nn.BatchNorm1d(1)
        nn.init.constant_(self.fc.weight, 1 / (height * width))
        nn.init.zeros_(self.fc.bias)

    def forward(self, trunk_BCHW: Tensor) -> Tensor:
        """Make maps [B, K, H, W] with unit norm over K, float32 also where the convolution runs in half precision."""
        return functional.normalize(at_least_single(self.neck(trunk_BCHW)), dim=1)

    def score(self, query_QKHW: Tensor, gallery_GKHW: Tensor, *, chunk: int | None = None) -> Tensor:
        """Match all queries with all gallery images.

        The definition, as a loop, with m and n the best matches of `evaluation.qaconv.scores.raw_scores`::

            for q in range(Q):
                for g in range(G):
                    logit[q, g] = (fc.weight . bn(m[q, g]) + fc.bias) + (fc.weight . bn(n[q, g]) + fc.bias)
            score = logit_bn(logit)

        Each batch norm has one channel: one mean and one variance of all best matches of the call, or of all logits of
        it, in training; its running ones otherwise. Both directions share ``fc``, so score(a, b) is score(b, a)
        transposed.

        Args:
            query_QKHW: Maps of unit vectors.
            gallery_GKHW: Likewise.
            chunk: Queries that are matched at a time, >= 1; None takes all. It changes memory alone, which is
                ``chunk * G * L ** 2`` similarities; where there are gradients they are computed anew on the way back.

        Returns:
            Logits [Q, G], unbounded, larger is nearer; float32, unless the maps are float64. Under autocast, the
            similarities alone have the lower precision.

        Raises:
            ValueError: If maps have another size than the branch, a side is empty, a single pair is to be scored in
                training, or the chunk is < 1.
        """
        self._check(query_QKHW, gallery_GKHW, chunk)
        num_queries, num_gallery = len(query_QKHW), len(gallery_GKHW)
        step = chunk or num_queries
        if step >= num_queries or not torch.is_grad_enabled():
            parts = [best_matches(part, gallery_GKHW) for part in query_QKHW.split(step)]
        else:
            parts = [
                checkpoint(best_matches, part, gallery_GKHW, use_reentrant=False) for part in query_QKHW.split(step)
            ]
        best_QGE = torch.cat(parts)
        normal_QGE = self.bn(best_QGE.view(num_queries * num_gallery, 1, -1)).view_as(best_QGE)
        weight_E = self.fc.weight[0].repeat(2)  # multiplied and summed: autocast would round a matrix product
        logit_QG = (normal_QGE * weight_E).sum(dim=2) + 2 * self.fc.bias
        return self.logit_bn(logit_QG.view(-1, 1)).view(num_queries, num_gallery)

    def head(self) -> QAConvHead:
        """Fold the matcher, with its running statistics, for `evaluation.qaconv.scores`.

        Raises:
            ValueError: If a batch norm's factor became zero: all scores would be equal.
        """
        parameters = {name: tensor.detach().cpu().numpy() for name, tensor in self.state_dict().items()}
        return QAConvHead.fold(parameters, num_locations=self.height * self.width)

    def _check(self, query_QKHW: Tensor, gallery_GKHW: Tensor, chunk: int | None) -> None:
        expected = (self.neck.out_channels, self.height, self.width)
        for name, maps in (("query", query_QKHW), ("gallery", gallery_GKHW)):
            if maps.ndim != 4 or not len(maps) or maps.shape[1:] != expected:
                raise ValueError(f"{name} maps must be [>= 1, {', '.join(map(str, expected))}], got {list(maps.shape)}")
        if self.training and len(query_QKHW) * len(gallery_GKHW) < 2:
            raise ValueError("the score of 1 pair has no variance to be normalised by; train with 2 images or more")
        if chunk is not None and chunk < 1:
            raise ValueError(f"chunk must be >= 1, got {chunk}")


def best_matches(query_QKHW: Tensor, gallery_GKHW: Tensor) -> Tensor:
    """Return [Q, G, 2 L]: the largest similarity of each query location, then of each gallery location, of each pair.

    Where several matches are best, they share the gradient.
    """
    similarity_QLGM = torch.einsum("qkl,gkm->qlgm", query_QKHW.flatten(2), gallery_GKHW.flatten(2))
    best_of_query_QGL, best_of_gallery_QGM = similarity_QLGM.amax(dim=3).transpose(1, 2), similarity_QLGM.amax(dim=1)
    return at_least_single(torch.cat([best_of_query_QGL, best_of_gallery_QGM], dim=2))


def matching_branch(config: ModelConfig, *, channels: int = 128, seed: int) -> MatchingBranch:
    """Make a branch for an encoder, with random weights that depend on the seed alone; see `make_encoder`.

    Args:
        config: Of the encoder, whose `with_raw_map` says what the branch takes.
        channels: K, components of a map's vectors.
        seed: Of the neck's weights; the global generator is left as it was.
    """
    with torch.device("meta"), torch.no_grad():  # shapes alone: nothing is computed there
        images = torch.zeros(1, 3, config.height, config.width, dtype=torch.uint8)
        _, map_1CHW = Encoder(config).eval().with_raw_map(images)
    _, in_channels, height, width = map_1CHW.shape
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MatchingBranch(in_channels, channels=channels, height=height, width=width)
