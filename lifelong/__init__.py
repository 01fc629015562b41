"""Backward-compatible lifelong stages: each new model's queries work against galleries that older models extracted.

From a notebook: `Gallery` keeps features for years; the losses are functions of tensors.
"""

from typing import TYPE_CHECKING

import cluster
import pretrain as _pretrain  # noqa: F401 - it refuses other projects' packages of our names

if TYPE_CHECKING:
    from lifelong.gallery.gallery import Gallery as Gallery
    from lifelong.losses.compatibility import cross_model_compatibility as cross_model_compatibility
    from lifelong.losses.distillation import logit_distillation as logit_distillation
    from lifelong.losses.distillation import relation_distillation as relation_distillation
    from lifelong.losses.episodes import dmml_loss as dmml_loss
    from lifelong.losses.identity import influence_loss as influence_loss
    from lifelong.losses.matching import pairwise_matching_loss as pairwise_matching_loss
    from lifelong.losses.prototypes import prototype_distillation as prototype_distillation
    from lifelong.losses.triplet import batch_hard_triplet as batch_hard_triplet

PUBLIC = {
    "Gallery": "lifelong.gallery.gallery",
    "cross_model_compatibility": "lifelong.losses.compatibility",
    "influence_loss": "lifelong.losses.identity",
    "relation_distillation": "lifelong.losses.distillation",
    "logit_distillation": "lifelong.losses.distillation",
    "prototype_distillation": "lifelong.losses.prototypes",
    "batch_hard_triplet": "lifelong.losses.triplet",
    "dmml_loss": "lifelong.losses.episodes",
    "pairwise_matching_loss": "lifelong.losses.matching",
}
"""Where each public name is; it is loaded when it is used, so that to import this package takes no time."""
__all__ = [
    "Gallery",
    "batch_hard_triplet",
    "cross_model_compatibility",
    "dmml_loss",
    "influence_loss",
    "logit_distillation",
    "pairwise_matching_loss",
    "prototype_distillation",
    "relation_distillation",
]


__getattr__, __dir__ = cluster.lazily(__name__, PUBLIC)
