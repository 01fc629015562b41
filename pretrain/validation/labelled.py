"""What an encoder in training finds in a labelled dataset."""

import numpy as np

from evaluation.datasets.images import read_image
from evaluation.datasets.registry import read_dataset
from evaluation.embedding.label_rows import label_rows
from evaluation.scoring.scores import score, scores_of
from pretrain.config.run import PretrainConfig
from pretrain.models.embedder import BackboneEmbedder
from pretrain.models.encoder import Encoder


def labelled_scores(dataset: str, encoder: Encoder, config: PretrainConfig) -> dict[str, float]:
    """Return mAP and Rank-1 of an encoder on a labelled dataset, fractions of 1."""
    rows = [row for row in read_dataset(dataset, any_counts=True) if row.split != "train"]
    embedder = BackboneEmbedder(encoder, config.model, "trial")
    feature = [
        embedder.embed([read_image(row.path) for row in rows[start : start + 512]])
        for start in range(0, len(rows), 512)
    ]
    found = scores_of(score(label_rows(rows, np.concatenate(feature), "trial")))
    return {"mAP": found["mAP"], "rank1": found["rank1"]}
