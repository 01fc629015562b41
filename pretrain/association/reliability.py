"""How far a matched pair can be trusted, in (0, 1]; never with gradient.

Shape legend: N, M crops of the two frames of one pair, or of a batch where that is said; P matched pairs of the batch.

The paper says that reliable pairs dominate the learning process; which estimate it uses is not known to us. All are
this project's candidates: `mutual`, `margin` and `sim`, and from the loss's own probabilities `conf` and `mean`
(METHOD.md 4) trust who looks alike. `track`, our own addition, does not look at anybody.

The last functions are those of the table `pretrain.association.table.RELIABILITIES`, all of one value. One more is one
more function here, and a line there.
"""

from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from pretrain.association.assignment import LOST
from pretrain.association.pairs import MatchedPairs
from pretrain.models.precision import at_least_single


def mutual_reliability(similarity_NM: Tensor, row_P: Tensor, column_P: Tensor, *, temperature: float) -> Tensor:
    """Probability that both crops choose each other among all crops of the frame pair, unmatched ones included.

    The definition, as a loop::

        for p in range(P):
            i, j = row[p], column[p]
            reliability[p] = softmax(similarity[i, :] / temperature)[j] * softmax(similarity[:, j] / temperature)[i]

    It is 1 for a pair of frames with one crop each: it says nothing there.

    Args:
        similarity_NM: Cosine similarities of one frame pair.
        row_P: Matched rows.
        column_P: Matched columns.
        temperature: Unitless, > 0.
    """
    logit_NM = at_least_single(similarity_NM.detach()) / temperature
    log_probability_NM = logit_NM.log_softmax(dim=1) + logit_NM.log_softmax(dim=0)
    return log_probability_NM[row_P, column_P].exp()


def margin_reliability(similarity_NM: Tensor, row_P: Tensor, column_P: Tensor, *, temperature: float) -> Tensor:
    """Logistic function of the lead over the second-best candidate in the row or the column.

    The definition, as a loop::

        for p in range(P):
            i, j = row[p], column[p]
            others = [similarity[i, k] for k != j] + [similarity[k, j] for k != i]
            reliability[p] = sigmoid((similarity[i, j] - max(others)) / temperature)    # 1 without any others

    Args:
        similarity_NM: Cosine similarities of one frame pair.
        row_P: Matched rows.
        column_P: Matched columns.
        temperature: Unitless, > 0.
    """
    similarity_NM = at_least_single(similarity_NM.detach())
    own_P = similarity_NM[row_P, column_P]
    row_PM = similarity_NM[row_P].scatter(1, column_P[:, None], -torch.inf)
    column_PN = similarity_NM[:, column_P].T.scatter(1, row_P[:, None], -torch.inf)
    # One column more, so that the maximum exists for a pair without any crops too.
    other_PK = functional.pad(torch.cat([row_PM, column_PN], dim=1), (0, 1), value=-torch.inf)
    return torch.sigmoid((own_P - other_PK.amax(dim=1)) / temperature)


def similarity_reliability(similarity_P: Tensor) -> Tensor:
    """The cosine of the matched pair itself, clamped to [0, 1]."""
    return at_least_single(similarity_P.detach()).clamp(0.0, 1.0)


def track_reliability(followed_x_N: Tensor, followed_y_M: Tensor, x_index_P: Tensor, y_index_P: Tensor) -> Tensor:
    """Whether the chain of boxes between two frames leads from one crop of a matched pair to the other.

    The definition, as a loop::

        for p in range(P):
            x, y = x_index[p], y_index[p]
            if followed_x[x] == y:                                 reliability[p] = 1
            elif followed_x[x] == LOST and followed_y[y] == LOST:  reliability[p] = 1 / 2
            else:                                                  reliability[p] = 0

    Pairs that look alike are easy already: weights that favour them leave out the pairs that there is something to
    learn from. Where somebody stood says as much about who it is, and nothing about how hard the pair is.

    Args:
        followed_x_N: int64, for each crop of a batch's first frames the position, among the crops of all second frames,
            of the same person as far as boxes tell; `LOST` where they do not.
        followed_y_M: int64, likewise for the second frames' crops.
        x_index_P: int64, matched crops of the first frames.
        y_index_P: int64, their partners.

    Returns:
        float32 [P].
    """
    found_P, back_P = followed_x_N[x_index_P], followed_y_M[y_index_P]
    is_unknown_P = (found_P == LOST) & (back_P == LOST)
    return torch.where(is_unknown_P, 0.5, (found_P == y_index_P).float())


def confidence_reliability(forward_P: Tensor, backward_P: Tensor) -> Tensor:
    """The product of both directions' probabilities in the loss's own softmax, without gradient."""
    return (forward_P + backward_P).detach().exp()


def mean_reliability(forward_P: Tensor, backward_P: Tensor) -> Tensor:
    """The mean of both directions' probabilities in the loss's own softmax, without gradient.

    Milder than `confidence_reliability`: one sure direction is enough for a half.
    """
    return 0.5 * (forward_P.detach().exp() + backward_P.detach().exp())


def mutual(pairs: MatchedPairs) -> Tensor:
    """`mutual_reliability` of every frame pair."""
    return pairs.by_frames(partial(mutual_reliability, temperature=pairs.temperature))


def margin(pairs: MatchedPairs) -> Tensor:
    """`margin_reliability` of every frame pair."""
    return pairs.by_frames(partial(margin_reliability, temperature=pairs.temperature))


def sim(pairs: MatchedPairs) -> Tensor:
    """`similarity_reliability` of every pair."""
    return similarity_reliability(pairs.similarity)


def conf(pairs: MatchedPairs) -> Tensor:
    """`confidence_reliability` of every pair; needs the loss's probabilities."""
    assert pairs.log_probability_2P is not None, "the table says that these are needed"
    return confidence_reliability(*pairs.log_probability_2P)


def mean(pairs: MatchedPairs) -> Tensor:
    """`mean_reliability` of every pair; needs the loss's probabilities."""
    assert pairs.log_probability_2P is not None, "the table says that these are needed"
    return mean_reliability(*pairs.log_probability_2P)


def track(pairs: MatchedPairs) -> Tensor:
    """`track_reliability` of every pair; needs boxes."""
    assert pairs.followed is not None, "the table says that boxes are needed"
    local_2P = (torch.from_numpy(index_P) for index_P in (pairs.matches.x_index, pairs.matches.y_index))
    return track_reliability(*pairs.followed, *local_2P)


def oracle(pairs: MatchedPairs) -> Tensor:
    """1 for a pair that truly shows one person, else 0; needs the truth: what an estimate could reach, no method."""
    assert pairs.is_right_P is not None, "the table says that the truth is needed"
    return pairs.is_right_P.float()
