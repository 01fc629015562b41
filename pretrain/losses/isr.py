"""From the embeddings of a batch to its loss: match, gather over processes, weigh."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cluster.errors import InputError
from pretrain.association.assignment import Matches, match_batch
from pretrain.association.pairs import MatchedPairs
from pretrain.association.table import RELIABILITIES, require_given
from pretrain.data.batch import Batch
from pretrain.distributed import collectives
from pretrain.losses.batch import LossInput, divided
from pretrain.losses.config import LossConfig
from pretrain.losses.contrastive import effective_share, far_apart, pair_log_probabilities, pair_weights
from pretrain.losses.table import LOSSES


@dataclass(frozen=True, slots=True)
class LossTerms:
    """The loss of a batch and what is worth knowing about it; all but `loss` without gradient."""

    loss: Tensor
    """This process's share; the shares of all processes add up to the batch's loss."""
    total: Tensor
    """The batch's loss, nats."""
    count: Tensor
    """Matched pairs in the batch."""
    reliability_mean: Tensor
    """Mean reliability of matched pairs, in [0, 1]."""
    similarity_mean: Tensor
    """Mean cosine of matched pairs."""
    accuracy: Tensor
    """Share of pairs whose own partner has more than half of the probability in both directions."""
    effective_share: Tensor
    """``(sum w)^2 / (N sum w^2)``, in (0, 1]."""
    precision: Tensor
    """Share of pairs that truly show one person, among those of which both are known; NaN if there are none."""
    reliability: Tensor
    """float32 [P], reliability of this process's pairs."""
    matched: tuple[Tensor, Tensor]
    """[P, D] each: embeddings of this process's pairs."""


def _on(device: torch.device, values: NDArray[Any]) -> Tensor:
    """Bring values to a device without waiting for what it does."""
    return torch.from_numpy(values).to(device, non_blocking=True)


def batch_loss(
    embedding: Tensor,
    judged: Tensor,
    batch: Batch,
    config: LossConfig,
    *,
    beta: float,
    on_host: NDArray[np.floating] | None = None,
) -> LossTerms:
    """Match the crops of every frame pair and compute the reliability-guided loss over all processes.

    Args:
        embedding: Unit-norm embeddings of the augmented crops, float32 [N + M, D], with gradient.
        judged: Unit-norm embeddings that decide who is matched and how reliable that is, [N + M, D]; may be the same.
        batch: Counts and videos of this process's frame pairs.
        config: The loss.
        beta: Exponent of the reliability in this step.
        on_host: `judged` on the CPU, finite; if it is not given, it is fetched, and the device is waited for.

    Raises:
        InputError: If the reliability needs what the batch lacks.
    """
    sizes = [sum(batch.x_counts), sum(batch.y_counts)]
    x_ND, y_MD = embedding.split(sizes)
    judged_x_ND, judged_y_MD = judged.detach().split(sizes)
    on_host = judged.detach().cpu().numpy() if on_host is None else on_host
    matches = match_batch(
        on_host[: sizes[0]],
        on_host[sizes[0] :],
        batch.x_counts,
        batch.y_counts,
        min_similarity=config.min_similarity,
    )
    device = x_ND.device
    x_index, y_index, local_pair = (_on(device, part) for part in (matches.x_index, matches.y_index, matches.pair))
    x_PD, y_PD = x_ND[x_index], y_MD[y_index]
    # Few messages: between busy processes each costs its wait, however small it is.
    counts, frame_pairs = collectives.counts_over_ranks(device, len(matches.pair), len(batch.video))
    offset, pairs_before = (sum(numbers[: collectives.rank()]) for numbers in (counts, frame_pairs))
    both_GE = collectives.gather_with_gradient(torch.cat([x_PD, y_PD], dim=1), counts)
    x_GD, y_GD = both_GE.chunk(2, dim=1)
    pair_P, video_P = local_pair + pairs_before, batch.video.to(device, non_blocking=True)[local_pair]
    seconds = torch.zeros(len(batch.video)) if batch.seconds is None else batch.seconds
    seconds_P = seconds.to(device, torch.float64, non_blocking=True)[local_pair]
    known_P3 = torch.stack([pair_P.double(), video_P.double(), seconds_P], dim=1)
    pair_G, video_G, seconds_G = collectives.gather_with_gradient(known_P3, counts).unbind(dim=1)
    pair_G, video_G = pair_G.long(), video_G.long()
    far_PG = None
    if config.same_video_gap_seconds is not None:
        if batch.seconds is None:
            raise InputError("same-video-gap-seconds needs the times of the frame pairs: give Batch.seconds")
        far_PG = far_apart(video_P, video_G, seconds_P, seconds_G, gap_seconds=config.same_video_gap_seconds)
    forward_P, backward_P = pair_log_probabilities(
        x_PD,
        y_PD,
        x_GD,
        y_GD,
        pair_P,
        pair_G,
        video_P,
        video_G,
        offset=offset,
        temperature=config.temperature,
        mask_same_pair_cross=config.mask_same_pair_cross,
        other_videos=config.other_video_negatives,
        far_PG=far_PG,
    )
    is_known_P, is_right_P = _truth(batch, matches, device)
    known = MatchedPairs(
        x_ND=judged_x_ND,
        y_MD=judged_y_MD,
        x_counts=batch.x_counts,
        y_counts=batch.y_counts,
        matches=matches,
        temperature=config.reliability_temperature,
        followed=batch.followed,
        is_right_P=is_right_P,
        log_probability_2P=(forward_P.detach(), backward_P.detach()),
    )
    found = LossInput(
        x_ND=x_ND,
        y_MD=y_MD,
        x_counts=batch.x_counts,
        y_counts=batch.y_counts,
        matches=matches,
        forward_P=forward_P,
        backward_P=backward_P,
        reliability_P=_reliability(known, config.reliability).to(device, non_blocking=True),
        config=config,
        beta=beta,
    )
    return _reduce(found, x_PD, y_PD, is_known_P, is_right_P)


def _reliability(pairs: MatchedPairs, name: str) -> Tensor:
    """Estimate the reliability of every pair, [P].

    Raises:
        InputError: If the batch lacks the boxes that it needs.
    """
    given = {"probabilities", "truth"} | ({"boxes"} if pairs.followed is not None else set())
    require_given(name, given, "loss.reliability")
    reliability_P = RELIABILITIES.load(name)(pairs).detach()
    if reliability_P.shape != (len(pairs.matches.pair),):
        raise InputError(
            f"loss.reliability {name} must give a number for each of {len(pairs.matches.pair)} pairs, "
            f"got shape {list(reliability_P.shape)}"
        )
    return reliability_P


def _truth(batch: Batch, matches: Matches, device: torch.device) -> tuple[Tensor, Tensor]:
    """Say of which pairs both people are known, and which are right, bool [P] each."""
    if batch.identities is None:
        nowhere = torch.zeros(len(matches.pair), dtype=torch.bool, device=device)
        return nowhere, nowhere
    x_identity, y_identity = batch.identities.cpu().split([sum(batch.x_counts), sum(batch.y_counts)])
    x_identity_P, y_identity_P = (
        x_identity[torch.from_numpy(matches.x_index)],
        y_identity[torch.from_numpy(matches.y_index)],
    )
    is_known_P = (x_identity_P >= 0) & (y_identity_P >= 0)
    is_right_P = is_known_P & (x_identity_P == y_identity_P)
    return is_known_P.to(device, non_blocking=True), is_right_P.to(device, non_blocking=True)


def _reduce(found: LossInput, x_PD: Tensor, y_PD: Tensor, is_known_P: Tensor, is_right_P: Tensor) -> LossTerms:
    """Compute the loss of this process's pairs, and add up over processes."""
    total, divisor = LOSSES.load(found.config.kind)(found)
    weight_P = pair_weights(found.reliability_P, beta=found.beta)
    sure_P = torch.minimum(found.forward_P, found.backward_P).exp() > 0.5
    amounts = [
        divisor.detach(),
        found.forward_P.new_full((), float(len(weight_P))),
        weight_P.sum(),
        weight_P.square().sum(),
        found.reliability_P.sum(),
        (x_PD * y_PD).sum(),
        sure_P.float().sum(),
        is_known_P.float().sum(),
        is_right_P.float().sum(),
    ]
    divisor, count, weight_sum, weight_square_sum, reliability, similarity, sure, known, right = (
        collectives.sum_over_ranks(torch.stack(amounts)).unbind()
    )
    loss = divided(total, divisor)
    number = count.clamp_min(1)
    return LossTerms(
        loss=loss,
        total=collectives.sum_over_ranks(loss),
        count=count,
        reliability_mean=reliability / number,
        similarity_mean=similarity / number,
        accuracy=sure / number,
        effective_share=effective_share(weight_sum, weight_square_sum, count),
        precision=right / known,
        reliability=found.reliability_P,
        matched=(x_PD.detach(), y_PD.detach()),
    )
