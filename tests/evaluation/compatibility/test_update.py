"""One update: new queries against the stored gallery."""

from dataclasses import replace

import numpy as np
import pytest

from evaluation.compatibility.update import explain_update, score_update, summarise_update
from evaluation.metrics.protocols import MARKET, PROTOCOLS
from evaluation.scoring.scores import BootstrapConfig, score
from tests.evaluation.compatibility.stages import make_dataset, rotation

FEW = BootstrapConfig(resamples=100)
OLD = make_dataset(0, num_identities=20, noise=1.2)


def by(model, feature, table=OLD):
    fingerprint = np.array([model] * len(table), object)
    return replace(table, feature=feature.astype(np.float32), model_fingerprint=fingerprint)


def better():
    """A model that moves each person halfway to the mean of the person's old features."""
    feature = OLD.feature.copy()
    for person in range(1, 21):
        rows = OLD.identity == person
        feature[rows] += 0.5 * (feature[rows].mean(axis=0) - feature[rows])
    return by("new", feature)


def test_a_better_model_is_compatible_whatever_the_order_of_its_rows():
    shuffled = better().take(np.random.default_rng(0).permutation(len(OLD)))
    found, again = (score_update(OLD, new, MARKET, FEW) for new in (better(), shuffled))
    assert found.is_compatible
    assert found.differences["mAP"].interval.low > 0
    assert found.old_old.mAP == score(OLD).mAP
    assert found.new_new is not None
    assert found.new_new.mAP == score(better()).mAP
    assert 0 < found.gain < 1
    assert summarise_update(again) == summarise_update(found)
    assert explain_update(found).startswith("compatible: yes; against the stored gallery the new queries reach +")
    assert "points that extracting the gallery anew gives" in explain_update(found)


def test_a_rotated_model_is_as_good_and_not_compatible():
    turned = by("new", OLD.feature @ rotation(0, 12))
    found = score_update(OLD, turned, MARKET, FEW)
    assert not found.is_compatible
    assert found.new_new is not None
    assert found.new_new.mAP == found.old_old.mAP
    assert found.new_old.mAP < 0.5 * found.old_old.mAP
    assert summarise_update(found)["update_gain"] is None
    assert "update gain: none to be had, extracting the gallery anew changes mAP by +0.00 points" in explain_update(
        found
    )


def test_new_queries_alone_are_enough():
    whole, queries = (score_update(OLD, new, MARKET, FEW) for new in (better(), better().select("query")))
    assert queries.new_new is None
    assert summarise_update(queries) == summarise_update(whole) | {"new_new": None, "update_gain": None}


def test_the_same_model_is_not_better():
    found = score_update(OLD, OLD, MARKET, FEW)
    assert not found.is_compatible
    assert found.differences["mAP"].difference == 0


def test_what_cannot_be_compared_is_refused():
    queries = better().select("query")
    with pytest.raises(ValueError, match="20 query images against 19; compare features of the same split"):
        score_update(OLD, queries.take(np.arange(19)), MARKET, FEW)
    with pytest.raises(ValueError, match="features of 8 and 12 components"):
        score_update(OLD, replace(queries, feature=queries.feature[:, :8].copy()), MARKET, FEW)
    mixed = replace(queries, model_fingerprint=np.array(["a", "b"] * 10, object))
    with pytest.raises(ValueError, match=r"the new queries come from 2 models \(a, b\); embed them with one"):
        score_update(OLD, mixed, MARKET, FEW)
    with pytest.raises(ValueError, match="vehicleid draws its gallery from the queries"):
        score_update(OLD, better(), PROTOCOLS["vehicleid"], FEW)
    with pytest.raises(ValueError, match="the interval needs --resamples >= 1"):
        score_update(OLD, better(), MARKET, BootstrapConfig(resamples=0))
