"""The terms of the table `lifelong.stages.terms.TERMS`: each picks out of a batch what its formula takes.

The formulas are in `lifelong.losses`. Shapes as in `lifelong.training.batch_view`; P parts, K channels.
"""

from typing import Any

import torch
from torch import Tensor

from lifelong.losses import distillation, prototypes
from lifelong.losses.compatibility import cross_model_compatibility
from lifelong.losses.episodes import dmml_loss, episode_logits
from lifelong.losses.identity import identity_loss, influence_loss
from lifelong.losses.matching import hard_triplet, pairwise_matching_loss
from lifelong.losses.parts import combine_masks, part_classification, part_consistency, part_prediction
from lifelong.losses.triplet import batch_hard_triplet, soft_batch_hard_triplet
from lifelong.models.network import Outputs
from lifelong.training.batch_view import BatchView


def identity(batch: BatchView) -> Tensor:
    """Classify over all identities so far."""
    return identity_loss(batch.outputs.logit_BC, batch.label_B, smoothing=batch.config.smoothing)


def triplet(batch: BatchView) -> Tensor:
    """Soft batch-hard on new images, batch-hard with a margin on replayed ones."""
    embedding_BD, is_replay_B = batch.outputs.embedding_BD, batch.is_replay_B
    return soft_batch_hard_triplet(embedding_BD[~is_replay_B], batch.label_B[~is_replay_B]) + batch_hard_triplet(
        embedding_BD[is_replay_B], batch.label_B[is_replay_B], margin=batch.config.margin
    )


def compatibility(batch: BatchView) -> Tensor:
    """Draw features of replayed images to the frozen features of everybody remembered."""
    config, bank, embedding_BD = batch.config, batch.past.bank, batch.outputs.embedding_BD
    assert bank is not None
    return cross_model_compatibility(
        embedding_BD[batch.is_replay_B],
        batch.label_B[batch.is_replay_B],
        bank.feature_MD,
        bank.label_M,
        bank.stage_M,
        temperature=config.temperature,
        form=config.form,
        per_stage_mean=config.per_stage_mean,
        rivals=(embedding_BD, batch.label_B) if config.rivals else None,
    )


def influence(batch: BatchView) -> Tensor:
    """Judge new features by the frozen classifier."""
    assert batch.past.frozen_CD is not None
    return influence_loss(batch.outputs.embedding_BD, batch.past.frozen_CD, batch.label_B, scale=batch.config.scale)


def parts(batch: BatchView) -> Tensor:
    """Name each stripe of the body by its place."""
    assert batch.outputs.part_logit_BPP is not None
    return part_classification(batch.outputs.part_logit_BPP)


def matching(batch: BatchView) -> Tensor:
    """Tell same from other identities among all pairs."""
    return pairwise_matching_loss(batch.score_BB, batch.label_B)


def matching_triplet(batch: BatchView) -> Tensor:
    """Part the hardest positive score from the hardest negative one."""
    return hard_triplet(batch.score_BB, batch.label_B, margin=batch.config.matching.margin)


def class_memory(batch: BatchView) -> Tensor:
    """Match every image with the latest map of each identity; the memory takes the batch's maps afterwards."""
    model, map_BKHW = batch.model, batch.outputs.map_BKHW
    assert model.class_memory is not None
    assert model.matching is not None
    assert map_BKHW is not None
    found = model.class_memory(model.matching, map_BKHW, batch.label_B, gamma=batch.config.matching.gamma)
    model.class_memory.update(map_BKHW, batch.label_B)
    return found


def _geometry(batch: BatchView) -> dict[str, Any]:
    return {"distance": batch.config.episode.distance, "scale": batch.config.episode.scale}


def metric(batch: BatchView) -> Tensor:
    """Bring the queries of an episode near to their identity's supports."""
    config = batch.config.episode
    return dmml_loss(
        *batch.episode(batch.outputs.raw_BD),
        mode=config.mode,
        margin=config.margin,
        norm_penalty=config.norm_penalty,
        **_geometry(batch),
    )


def prototype_distillation(batch: BatchView) -> Tensor:
    """Agree with the last model on which prototypes a query is near."""
    assert batch.before is not None
    config, geometry = batch.config.episode, _geometry(batch)
    support_NSD, query_NQD = batch.episode(batch.outputs.raw_BD)
    positive_R = torch.arange(len(query_NQD), device=query_NQD.device).repeat_interleave(query_NQD.shape[1])
    return prototypes.prototype_distillation(
        episode_logits(support_NSD, query_NQD, **geometry),
        episode_logits(*batch.episode(batch.before.raw_BD), **geometry),
        positive_R,
        temperature=config.temperature,
        drop_positive=config.drop_positive,
        target_weight=config.target_weight,
        other_weight=config.other_weight,
    )


def logit_distillation(batch: BatchView) -> Tensor:
    """Agree with the last model on the identities that it knows."""
    assert batch.before is not None
    return distillation.logit_distillation(
        batch.outputs.logit_BC, batch.before.logit_BC, temperature=batch.config.distillation_temperature
    )


def relation_distillation(batch: BatchView) -> Tensor:
    """Agree with the last model on which images resemble each other."""
    assert batch.before is not None
    return distillation.relation_distillation(
        batch.outputs.embedding_BD, batch.before.embedding_BD, temperature=batch.config.relation_temperature
    )


def consolidation(batch: BatchView) -> Tensor:
    """Agree with the last model on masked part features, and on which part they show (METHOD.md 3.5).

    A design of this project: the paper's own formula is not available to us.
    """
    assert batch.before is not None
    assert batch.model.part_head is not None
    assert batch.past.part_head is not None, "a teacher has a part head, as this stage's model has"
    new_BPK, new_mask_BPK = _parts_of(batch.outputs)
    old_BPK, old_mask_BPK = _parts_of(batch.before)
    how = batch.config.combine
    for_new_BPK, for_old_BPK = combine_masks(new_mask_BPK, old_mask_BPK, how)
    with torch.no_grad():
        old_logit_BPP = batch.past.part_head.classify(old_BPK * for_old_BPK)
    return part_consistency(new_BPK, old_BPK, new_mask_BPK, old_mask_BPK, how=how) + part_prediction(
        batch.model.part_head.classify(new_BPK * for_new_BPK), old_logit_BPP
    )


def _parts_of(outputs: Outputs) -> tuple[Tensor, Tensor]:
    assert outputs.part_BPK is not None
    assert outputs.mask_BPK is not None
    return outputs.part_BPK, outputs.mask_BPK
