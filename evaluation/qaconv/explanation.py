"""What a QAConv score is made of: what each location of both images adds to it.

Shapes: L locations of a query's map, M locations of a gallery map, N locations of either, C channels.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cluster.errors import InputError
from evaluation.qaconv.correspondences import correspondences
from evaluation.qaconv.head import QAConvHead


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Side:
    """What each location of one image found in the other."""

    match: NDArray[np.int64]
    """[N], the best location in the other image; the first one where several are as good."""
    cosine: NDArray[np.float64]
    """[N], how alike both are, -1 to 1."""
    weight: NDArray[np.float64]
    """[N], the head's; any sign."""
    contribution: NDArray[np.float64]
    """[N], ``weight * cosine``: what the location adds to raw, or takes away from it where negative."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Explanation:
    """A score taken apart."""

    query: Side
    """Of the L locations of the query."""
    gallery: Side
    """Of the M locations of the gallery image."""
    raw: float
    """The sum of all contributions."""
    score: float
    """``scale * raw + shift``, unbounded, larger is nearer."""

    @property
    def similarity(self) -> float:
        """The score squashed into 0 to 1, ``1 / (1 + exp(-score / 10))``."""
        return 0.5 + 0.5 * math.tanh(self.score / 20)  # the same, and never overflows

    @property
    def total(self) -> float:
        """What contributions are shares of: the sum of their sizes, which is raw unless some are negative."""
        return float(np.abs(self.query.contribution).sum() + np.abs(self.gallery.contribution).sum())


@dataclass(frozen=True, kw_only=True, slots=True)
class Match:
    """Two locations that are each other's best."""

    query_location: int
    """0 to L - 1."""
    gallery_location: int
    """0 to M - 1."""
    cosine: float
    """How alike both are."""
    weight: float
    """Of both locations together."""
    contribution: float
    """``weight * cosine``: what both add to raw together."""
    share: float
    """The contribution's part of `Explanation.total`, -1 to 1; 0 where nothing contributes."""


def explain(query_LC: NDArray[Any], gallery_MC: NDArray[Any], head: QAConvHead) -> Explanation:
    """Take the score of two images apart.

    The definition, as a loop::

        S = [[dot(query[l], gallery[m]) for m in range(M)] for l in range(L)]
        for l in range(L):
            query.match[l] = argmax(S[l][m] for m in range(M))
            query.contribution[l] = query_weight[l] * S[l][query.match[l]]
        for m in range(M):
            gallery.match[m] = argmax(S[l][m] for l in range(L))
            gallery.contribution[m] = gallery_weight[m] * S[gallery.match[m]][m]
        raw = sum(query.contribution) + sum(gallery.contribution)
        score = scale * raw + shift

    This is the score of `evaluation.qaconv.scores`. With a head that both directions share, swapping the images
    swaps the sides and leaves the score.

    Args:
        query_LC: Unit norm over C at each location.
        gallery_MC: Likewise.
        head: Its weights say L and M.

    Raises:
        InputError: If the maps do not fit each other or the head, or are not finite.
    """
    found = correspondences(query_LC, gallery_MC)
    matches = (found.gallery_location, found.query_location)
    cosines = (found.query_similarity, found.gallery_similarity)
    sides = []
    for name, match, cosine, weight in zip(("query", "gallery"), matches, cosines, head.weights, strict=True):
        if len(weight) != len(cosine):
            raise InputError(
                f"the {name} map has {len(cosine)} locations and the head weighs {len(weight)}; "
                "take the head that was trained with this model"
            )
        if not np.isfinite(cosine).all():
            raise InputError(f"similarities of the {name} map hold NaN or infinity; check the model that made the maps")
        cosine, weight = cosine.astype(np.float64), weight.astype(np.float64)
        sides.append(Side(match=match, cosine=cosine, weight=weight, contribution=weight * cosine))
    raw = float(sides[0].contribution.sum() + sides[1].contribution.sum())
    return Explanation(query=sides[0], gallery=sides[1], raw=raw, score=head.scale * raw + head.shift)


def mutual_matches(explanation: Explanation) -> list[Match]:
    """Return the pairs of locations that are each other's best, those that count most first.

    Order is by the size of the contribution: one that takes much away counts as much as one that adds much. Of equal
    ones the first query location comes first. Locations whose best has a better one are in no pair, though they
    contribute too.
    """
    query, gallery = explanation.query, explanation.gallery
    first_N = np.flatnonzero(gallery.match[query.match] == np.arange(len(query.match)))
    second_N = query.match[first_N]
    contribution_N = query.contribution[first_N] + gallery.contribution[second_N]
    weight_N = query.weight[first_N] + gallery.weight[second_N]
    total = explanation.total
    return [
        Match(
            query_location=int(first_N[n]),
            gallery_location=int(second_N[n]),
            cosine=float(query.cosine[first_N[n]]),
            weight=float(weight_N[n]),
            contribution=float(contribution_N[n]),
            share=float(contribution_N[n]) / total if total else 0.0,
        )
        for n in np.argsort(-np.abs(contribution_N), kind="stable")
    ]
