"""How far a matched pair can be trusted, in (0, 1]; never with gradient.

Shape legend: N, M crops of the two frames of one pair; P matched pairs of the batch.

The paper says that reliable pairs dominate the learning process; which estimate it uses is not known to us. These
four are this project's candidates (specification ISR 1.7.3). The fifth, `conf`, is made of the loss's own
probabilities and so lives in `pretrain.losses`.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from pretrain.pairs import Matches


def mutual_reliability(similarity_NM: Tensor, row_P: Tensor, column_P: Tensor, *, tau_r: float) -> Tensor:
    """Probability that both crops choose each other among all crops of the frame pair, unmatched ones included.

    The definition, as a loop::

        for p in range(P):
            i, j = row[p], column[p]
            reliability[p] = softmax(similarity[i, :] / tau_r)[j] * softmax(similarity[:, j] / tau_r)[i]

    It is 1 for a pair of frames with one crop each: it says nothing there.

    Args:
        similarity_NM: Cosine similarities of one frame pair.
        row_P: Matched rows.
        column_P: Matched columns.
        tau_r: Temperature; unitless, > 0.
    """
    logit_NM = similarity_NM.detach().float() / tau_r
    log_probability_NM = logit_NM.log_softmax(dim=1) + logit_NM.log_softmax(dim=0)
    return log_probability_NM[row_P, column_P].exp()


def margin_reliability(similarity_NM: Tensor, row_P: Tensor, column_P: Tensor, *, tau_r: float) -> Tensor:
    """Logistic function of the lead over the second-best candidate in the row or the column.

    The definition, as a loop::

        for p in range(P):
            i, j = row[p], column[p]
            others = [similarity[i, k] for k != j] + [similarity[k, j] for k != i]
            reliability[p] = sigmoid((similarity[i, j] - max(others)) / tau_r)    # 1 without any others

    Args:
        similarity_NM: Cosine similarities of one frame pair.
        row_P: Matched rows.
        column_P: Matched columns.
        tau_r: Temperature; unitless, > 0.
    """
    similarity_NM = similarity_NM.detach().float()
    own_P = similarity_NM[row_P, column_P]
    row_PM = similarity_NM[row_P].scatter(1, column_P[:, None], -torch.inf)
    column_PN = similarity_NM[:, column_P].T.scatter(1, row_P[:, None], -torch.inf)
    # One column more, so that the maximum exists for a pair without any crops too.
    other_PK = functional.pad(torch.cat([row_PM, column_PN], dim=1), (0, 1), value=-torch.inf)
    return torch.sigmoid((own_P - other_PK.amax(dim=1)) / tau_r)


def similarity_reliability(similarity_P: Tensor) -> Tensor:
    """The cosine of the matched pair itself, clamped to [0, 1]."""
    return similarity_P.detach().float().clamp(0.0, 1.0)


def estimate_reliability(
    x_ND: Tensor,
    y_MD: Tensor,
    x_counts: Sequence[int],
    y_counts: Sequence[int],
    matches: Matches,
    *,
    kind: Literal["mutual", "sim", "margin"],
    tau_r: float,
) -> Tensor:
    """Estimate the reliability of every matched pair from the similarities of its own frame pair, float32 [P]."""
    x_index, y_index = (
        torch.from_numpy(part).to(x_ND.device, non_blocking=True) for part in (matches.x_index, matches.y_index)
    )
    if kind == "sim":
        return similarity_reliability((x_ND[x_index] * y_MD[y_index]).sum(dim=1))
    estimate = mutual_reliability if kind == "mutual" else margin_reliability
    parts: list[Tensor] = []
    x_start = y_start = 0
    for pair, (x_count, y_count) in enumerate(zip(x_counts, y_counts, strict=True)):
        members = torch.from_numpy(matches.pair == pair)
        similarity_NM = x_ND[x_start : x_start + x_count] @ y_MD[y_start : y_start + y_count].T
        parts.append(estimate(similarity_NM, x_index[members] - x_start, y_index[members] - y_start, tau_r=tau_r))
        x_start, y_start = x_start + x_count, y_start + y_count
    return torch.cat(parts) if parts else x_ND.new_zeros(0)
