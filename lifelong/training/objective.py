"""The terms of a stage's loss, by name, over the whole batch of all processes.

Shapes: B images (new ones and replayed ones), M remembered features, D embedding size, C identities.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lifelong.losses.compatibility import cross_model_compatibility
from lifelong.losses.distillation import logit_distillation, relation_distillation
from lifelong.losses.episodes import dmml_loss, episode_logits, split_episode
from lifelong.losses.identity import identity_loss, influence_loss
from lifelong.losses.matching import hard_triplet, pairwise_matching_loss
from lifelong.losses.parts import PartHead, combine_masks, part_classification, part_consistency, part_prediction
from lifelong.losses.prototypes import prototype_distillation
from lifelong.losses.triplet import batch_hard_triplet, soft_batch_hard_triplet
from lifelong.models.network import LifelongModel, Outputs
from lifelong.stages.loss_config import EpisodeLossConfig, LossConfig, MatchingLossConfig


@dataclass(frozen=True, slots=True)
class Bank:
    """Frozen features of earlier stages."""

    feature_MD: Tensor
    label_M: Tensor
    """int64, row of the classifier."""
    stage_M: Tensor
    """int64, from 1."""


@dataclass(frozen=True, slots=True)
class Past:
    """What a stage knows of those before it; each is None where no term asks for it."""

    bank: Bank | None = None
    frozen_CD: Tensor | None = None
    """The classifier as it was when the stage began: the last model's rows and its means of the new identities."""
    part_head: PartHead | None = None
    """Of the last model."""


def stage_terms(
    outputs: Outputs,
    before: Outputs | None,
    label_B: Tensor,
    is_replay_B: Tensor,
    past: Past,
    model: LifelongModel,
    config: LossConfig,
) -> dict[str, Tensor]:
    """Compute every term that has a weight.

    Args:
        outputs: Of the learning network.
        before: Of the last model on the same images; None in the first stage, or where no term asks for it.
        label_B: int64, row of the classifier.
        is_replay_B: bool, which images come from the memory.
        past: What is known of earlier stages.
        model: The learning network, for its heads.
        config: Weights and constants.

    Returns:
        Scalars by name, not yet weighted.
    """
    embedding_BD = outputs.embedding_BD
    terms: dict[str, Tensor] = {}
    if config.identity:
        terms["identity"] = identity_loss(outputs.logit_BC, label_B, smoothing=config.smoothing)
    if config.triplet:
        new_B = ~is_replay_B
        terms["triplet"] = soft_batch_hard_triplet(embedding_BD[new_B], label_B[new_B]) + batch_hard_triplet(
            embedding_BD[is_replay_B], label_B[is_replay_B], margin=config.margin
        )
    if config.compatibility and past.bank is not None:
        terms["compatibility"] = cross_model_compatibility(
            embedding_BD[is_replay_B],
            label_B[is_replay_B],
            past.bank.feature_MD,
            past.bank.label_M,
            past.bank.stage_M,
            tau=config.tau,
            form=config.form,
            per_stage_mean=config.per_stage_mean,
            rivals=(embedding_BD, label_B) if config.rivals else None,
        )
    if config.influence and past.frozen_CD is not None:
        terms["influence"] = influence_loss(embedding_BD, past.frozen_CD, label_B, scale=config.scale)
    if outputs.part_logit_BPP is not None:
        terms["parts"] = part_classification(outputs.part_logit_BPP)
    if outputs.map_BKHW is not None:
        terms |= matching_terms(outputs.map_BKHW, label_B, model, config.matching)
    if config.episode.metric or config.episode.distillation:
        terms |= episode_terms(outputs, before, label_B, ~is_replay_B, config.episode)
    if before is not None:
        terms |= distillation_terms(outputs, before, model, past.part_head, config)
    return terms


def distillation_terms(
    outputs: Outputs, before: Outputs, model: LifelongModel, old_head: PartHead | None, config: LossConfig
) -> dict[str, Tensor]:
    """Compute the terms of agreeing with the last model on logits, relations and parts."""
    terms: dict[str, Tensor] = {}
    if config.logit_distillation:
        terms["logit_distillation"] = logit_distillation(
            outputs.logit_BC, before.logit_BC, temperature=config.distillation_temperature
        )
    if config.relation_distillation:
        terms["relation_distillation"] = relation_distillation(
            outputs.embedding_BD, before.embedding_BD, tau=config.relation_tau
        )
    if config.consolidation and old_head is not None:
        assert model.part_head is not None, "consolidation needs parts, as LossConfig checks"
        terms["consolidation"] = consolidate(outputs, before, model.part_head, old_head, config)
    return terms


def episode_terms(
    outputs: Outputs, before: Outputs | None, label_B: Tensor, is_new_B: Tensor, config: EpisodeLossConfig
) -> dict[str, Tensor]:
    """Compute the terms over the episode that the new images of a batch are (METHOD.md 4)."""
    split = partial(split_episode, label_B=label_B[is_new_B], queries=config.queries)
    support_NSD, query_NQD = split(outputs.raw_BD[is_new_B])
    geometry: dict[str, Any] = {"distance": config.distance, "scale": config.scale}
    terms: dict[str, Tensor] = {}
    if config.metric:
        terms["metric"] = dmml_loss(
            support_NSD,
            query_NQD,
            mode=config.mode,
            margin=config.margin,
            norm_penalty=config.norm_penalty,
            **geometry,
        )
    if config.distillation and before is not None:
        positive_R = torch.arange(len(query_NQD), device=query_NQD.device).repeat_interleave(query_NQD.shape[1])
        terms["prototype_distillation"] = prototype_distillation(
            episode_logits(support_NSD, query_NQD, **geometry),
            episode_logits(*split(before.raw_BD[is_new_B]), **geometry),
            positive_R,
            temperature=config.temperature,
            drop_positive=config.drop_positive,
            target_weight=config.target_weight,
            other_weight=config.other_weight,
        )
    return terms


def matching_terms(
    map_BKHW: Tensor, label_B: Tensor, model: LifelongModel, config: MatchingLossConfig
) -> dict[str, Tensor]:
    """Compute the terms on QAConv scores; the memory of classes takes the batch's maps afterwards."""
    assert model.matching is not None
    terms: dict[str, Tensor] = {}
    if config.pairwise or config.triplet:
        score_BB = model.matching.score(map_BKHW, map_BKHW)
        if config.pairwise:
            terms["matching"] = pairwise_matching_loss(score_BB, label_B)
        if config.triplet:
            terms["matching_triplet"] = hard_triplet(score_BB, label_B, margin=config.margin)
    if model.class_memory is not None:
        terms["class_memory"] = model.class_memory(model.matching, map_BKHW, label_B, gamma=config.gamma)
        model.class_memory.update(map_BKHW, label_B)
    return terms


def consolidate(
    outputs: Outputs, before: Outputs, part_head: PartHead, old_head: PartHead, config: LossConfig
) -> Tensor:
    """Agree with the last model on masked part features, and on which part they show (METHOD.md 3.5).

    A design of this project: the paper's own formula is not available to us.
    """
    new_BPK, new_mask_BPK, old_BPK, old_mask_BPK = (
        outputs.part_BPK,
        outputs.mask_BPK,
        before.part_BPK,
        before.mask_BPK,
    )
    assert new_BPK is not None
    assert new_mask_BPK is not None
    assert old_BPK is not None
    assert old_mask_BPK is not None
    for_new_BPK, for_old_BPK = combine_masks(new_mask_BPK, old_mask_BPK, config.combine)
    with torch.no_grad():
        old_logit_BPP = old_head.classify(old_BPK * for_old_BPK)
    return part_consistency(new_BPK, old_BPK, new_mask_BPK, old_mask_BPK, how=config.combine) + part_prediction(
        part_head.classify(new_BPK * for_new_BPK), old_logit_BPP
    )


def weighted_sum(terms: dict[str, Tensor], config: LossConfig) -> Tensor:
    """Add up the terms by their weights."""
    weights = config.weights()
    return torch.stack([weights[name] * value for name, value in terms.items()]).sum()
