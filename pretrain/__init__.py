"""Pretraining on raw video: ingestion into clips, instance association, the reliability-guided loss, training.

From a notebook: `isr_loss` is the loss of embeddings, `match` the assignment inside it; `train` runs a recipe of
`find_recipe`, and `load_model` opens what was exported.
"""

import os
import sys
from typing import TYPE_CHECKING

import cluster
import evaluation

if TYPE_CHECKING:
    from pretrain.association.assignment import match as match
    from pretrain.config.run import PretrainConfig as PretrainConfig
    from pretrain.losses.cycle import cycle_loss as cycle_loss
    from pretrain.losses.embeddings import isr_loss as isr_loss
    from pretrain.models.directory import load_embedder as load_model
    from pretrain.recipes import find_recipe as find_recipe
    from pretrain.runs import train as train

if getattr(evaluation, "PROJECT", None) != "perennial-reid":
    is_command = sys.argv[:1] == ["-m"] or [os.path.basename(name) for name in sys.argv[:1]] == ["perennial"]
    raise (SystemExit if is_command else ImportError)(  # a person at a terminal needs no traceback
        f"error: the package evaluation at {evaluation.__path__[0]} is another project's, and pretrain needs that of "
        "perennial-reid: uninstall the other one, or start where ours is found first"
    )

PUBLIC = {
    "isr_loss": "pretrain.losses.embeddings",
    "cycle_loss": "pretrain.losses.cycle",
    "match": "pretrain.association.assignment",
    "load_model": "pretrain.models.directory:load_embedder",
    "find_recipe": "pretrain.recipes",
    "train": "pretrain.runs",
    "PretrainConfig": "pretrain.config.run",
}
"""Where each public name is; it is loaded when it is used, so that to import this package takes no time."""
__all__ = ["PretrainConfig", "cycle_loss", "find_recipe", "isr_loss", "load_model", "match", "train"]


__getattr__, __dir__ = cluster.lazily(__name__, PUBLIC)
