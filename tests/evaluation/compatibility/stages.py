"""Small sequences of datasets and models."""

from dataclasses import replace

import numpy as np

from tests.evaluation.features.people import make_features


def make_dataset(seed, *, num_identities=6, num_cameras=3, size=12, noise=0.6):
    """One query and the rest gallery per identity, plus distractors and junk; identities are numbered from 1."""
    rng = np.random.default_rng((7, seed))
    identity = np.repeat(np.arange(1, num_identities + 1), num_cameras)
    centre = rng.normal(size=(num_identities, size))
    feature = centre[identity - 1] + noise * rng.normal(size=(len(identity), size))
    camera = np.tile(np.arange(num_cameras), num_identities)
    extra = 4
    return make_features(
        len(identity) + extra,
        feature=np.concatenate([feature, rng.normal(size=(extra, size))]).astype(np.float32),
        identity=np.concatenate([identity, [0, 0, -1, -1]]),
        camera=np.concatenate([camera, [0, 1, 0, 1]]),
        split=np.array(["query" if one == 0 else "gallery" for one in camera] + ["gallery"] * extra, object),
        path=np.array([f"/{seed}/{row}.jpg" for row in range(len(identity) + extra)], object),
    )


def same_model(model, feature):
    """Leave features as they are, whatever the model."""
    return feature


def drifting(model, feature):
    """Features of a model that drifts: noise that grows with the stage."""
    rng = np.random.default_rng((11, model))
    return feature + 0.3 * model * rng.normal(size=feature.shape).astype(np.float32)


def rotated(model, feature):
    """Features of models that differ by a rotation alone: as good as one another, and incompatible."""
    return feature @ rotation(model, feature.shape[1]) if model else feature


def rotation(seed, size):
    return np.linalg.qr(np.random.default_rng((13, seed)).normal(size=(size, size)))[0].astype(np.float32)


def source_of(datasets, embed=same_model):
    """A feature source: what a model makes of a dataset is ``embed(model, feature)``."""

    def features(model, dataset, split):
        part = datasets[dataset].select(split)
        fingerprint = np.array([f"model{model}"] * len(part), object)
        return replace(part, feature=embed(model, part.feature), model_fingerprint=fingerprint)

    return features
