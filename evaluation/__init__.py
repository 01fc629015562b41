"""Judges a model by its features: datasets, embedding, retrieval scores, and the report that shows them.

From a notebook: `evaluate` scores distances under a named protocol, `distances` and `qaconv_scores` make them of
features and of feature maps, `rerank` and `tlift` improve them; `read_dataset`, `read_features` and `score` do it from
files.
"""

import os
import sys
from typing import TYPE_CHECKING

import cluster

if TYPE_CHECKING:
    from evaluation.arrays import distances as distances
    from evaluation.arrays import evaluate as evaluate
    from evaluation.arrays import qaconv_scores as qaconv_scores
    from evaluation.arrays import rerank as rerank
    from evaluation.datasets.registry import read_dataset as read_dataset
    from evaluation.features.files import read_features as read_features
    from evaluation.features.table import Features as Features
    from evaluation.metrics.protocols import PROTOCOLS as PROTOCOLS
    from evaluation.scoring.scores import score as score
    from evaluation.scoring.tlift import tlift as tlift

PROJECT = "perennial-reid"
"""Whose package this is: the package index has another `evaluation`."""
if getattr(cluster, "PROJECT", None) != "perennial-reid":
    is_command = sys.argv[:1] == ["-m"] or [os.path.basename(name) for name in sys.argv[:1]] == ["perennial"]
    raise (SystemExit if is_command else ImportError)(  # a person at a terminal needs no traceback
        f"error: the package cluster at {cluster.__path__[0]} is another project's, and evaluation needs that of "
        "perennial-reid: uninstall the other one, or start where ours is found first"
    )

PUBLIC = {
    "evaluate": "evaluation.arrays",
    "distances": "evaluation.arrays",
    "rerank": "evaluation.arrays",
    "qaconv_scores": "evaluation.arrays",
    "tlift": "evaluation.scoring.tlift",
    "score": "evaluation.scoring.scores",
    "read_dataset": "evaluation.datasets.registry",
    "read_features": "evaluation.features.files",
    "Features": "evaluation.features.table",
    "PROTOCOLS": "evaluation.metrics.protocols",
}
"""Where each public name is; it is loaded when it is used, so that to import this package takes no time."""
__all__ = [
    "PROTOCOLS",
    "Features",
    "distances",
    "evaluate",
    "qaconv_scores",
    "read_dataset",
    "read_features",
    "rerank",
    "score",
    "tlift",
]


__getattr__, __dir__ = cluster.lazily(__name__, PUBLIC)
