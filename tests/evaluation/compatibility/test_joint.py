"""Datasets pooled: their own identities, their own cameras, and means that add up."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.compatibility.joint import score_together
from evaluation.features.table import concatenate
from evaluation.metrics.protocols import PROTOCOLS
from evaluation.scoring.problem import keep_apart
from evaluation.scoring.scores import score
from tests.evaluation.compatibility.stages import make_dataset, rotation


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(2, 7))
def test_disjoint_gallery_images_never_raise_a_score(seed, num_more, num_identities):
    first = make_dataset(seed, num_identities=num_identities)
    others = [make_dataset(seed + more, num_identities=3) for more in range(1, num_more + 1)]
    for tables in ([first, *others], [*others, first]):  # equal distances: whichever comes first
        alone, apart = score(first), keep_apart(tables)
        is_first = np.repeat([table is first for table in tables], [len(table) for table in tables])
        joint = score(apart.take(np.flatnonzero(is_first | (apart.split == "gallery"))))
        assert (joint.average_precision <= alone.average_precision).all()
        assert (joint.first_match_rank >= alone.first_match_rank).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(2, 8), min_size=1, max_size=4))
def test_means_over_queries_are_weighted_means_of_datasets(seed, sizes):
    tables = {str(k): make_dataset(seed + k, num_identities=size) for k, size in enumerate(sizes)}
    found, pooled = score_together(tables), score(keep_apart(list(tables.values())))
    assert [dataset.num_queries for dataset in found.datasets] == sizes
    assert found.mAP == pytest.approx(pooled.mAP)
    assert found.rank1 == pytest.approx(pooled.rank(1))
    assert found.mAP == pytest.approx(
        sum(n * one.mAP for n, one in zip(sizes, found.datasets, strict=True)) / sum(sizes)
    )
    assert found.macro_mAP == pytest.approx(np.mean([one.mAP for one in found.datasets]))
    assert found.macro_rank1 == pytest.approx(np.mean([one.rank1 for one in found.datasets]))


def test_rotating_everything_together_changes_nothing():
    tables = {str(k): make_dataset(k) for k in range(3)}
    turned = {name: replace(table, feature=table.feature @ rotation(1, 12)) for name, table in tables.items()}
    assert score_together(turned) == score_together(tables)


def test_colliding_identities_and_cameras_are_kept_apart():
    """The same features under the same numbers are one person in one dataset, and two in two."""
    one = make_dataset(0, noise=0.01)
    other = make_dataset(1, noise=0.01)
    assert set(one.identity) == set(other.identity)
    apart = score_together({"one": one, "other": other})
    assert apart.mAP == 1
    assert score(concatenate([one, other])).mAP < 0.8, "without renumbering, matches lie in the other dataset"


def test_queries_that_count_nowhere_are_in_no_mean():
    table = make_dataset(0)
    lonely = replace(table, identity=np.where((table.split == "gallery") & (table.identity == 1), 0, table.identity))
    (found,) = score_together({"one": lonely}).datasets
    assert found.num_queries == 5
    (zero,) = score_together({"one": lonely}, protocol=PROTOCOLS["aka"]).datasets
    assert (zero.num_queries, zero.mAP) == (6, pytest.approx(found.mAP * 5 / 6))


def test_a_protocol_with_drawn_galleries_keeps_its_repeats():
    found = score_together({"one": make_dataset(0)}, protocol=PROTOCOLS["cuhk03-classic"])
    expected = score(make_dataset(0))
    assert found.mAP >= expected.mAP  # distractors of the same camera are left out too
    assert 0 <= found.rank1 <= 1


def test_what_cannot_be_scored_is_refused_with_the_dataset_named():
    table = make_dataset(0)
    mixed = replace(table, model_fingerprint=np.array(["a", "b"] * (len(table) // 2), object))
    with pytest.raises(ValueError, match=r"^one: the features come from 2 models \(a, b\)"):
        score_together({"one": mixed})
    assert score_together({"one": mixed}, is_mixed=True) == score_together({"one": table})
    strangers = replace(table, identity=np.where(table.split == "query", table.identity + 100, table.identity))
    with pytest.raises(ValueError, match="two: none of its queries has a match in the gallery"):
        score_together({"one": table, "two": strangers})
    with pytest.raises(ValueError, match="vehicleid draws its gallery from the queries"):
        score_together({"one": table}, protocol=PROTOCOLS["vehicleid"])
    with pytest.raises(ValueError, match="one, two: features of 8 and 12 components cannot be in one gallery"):
        score_together({"one": table, "two": make_dataset(1, size=8)})
