"""The evaluation of a sequence of models: limits in which it is the ordinary one, and what tells models apart."""

import numpy as np
import pytest

from evaluation.compatibility.joint import score_together
from evaluation.compatibility.measures import average_compatibility
from evaluation.compatibility.protocol import evaluate_stages, evaluate_unseen
from evaluation.features.table import concatenate
from evaluation.metrics.protocols import PROTOCOLS
from evaluation.scoring.scores import score
from tests.evaluation.compatibility.stages import drifting, make_dataset, rotated, same_model, source_of

NAMES = ("one", "two", "three")
DATASETS = [make_dataset(seed, num_identities=size) for seed, size in enumerate((5, 8, 3))]
KINDS = ("stored", "re_extracted", "no_update", "first_model")


def test_a_single_stage_is_ordinary_evaluation():
    found = evaluate_stages(NAMES[:1], source_of(DATASETS))
    expected = score(DATASETS[0])
    (stage,) = found.stages
    for kind in KINDS:
        scores = getattr(stage, kind)
        assert (scores.mAP, scores.rank1) == pytest.approx((expected.mAP, expected.rank(1)))
    assert found.table.mAP.tolist() == found.own.mAP.tolist() == [[pytest.approx(expected.mAP)]]
    assert found.table.rank1.tolist() == [[pytest.approx(expected.rank(1))]]


def test_one_model_at_every_stage_scores_alike_whoever_extracted_the_gallery():
    found = evaluate_stages(NAMES, source_of(DATASETS, same_model))
    for stage in found.stages:
        assert stage.stored == stage.re_extracted == stage.no_update == stage.first_model
    assert average_compatibility(found.table.mAP, ties="strict") == 0
    assert average_compatibility(found.table.mAP, ties="non-strict") == 1
    assert [stage.name for stage in found.stages] == list(NAMES)
    assert [stage.number for stage in found.stages] == [0, 1, 2]


def test_a_model_rotated_against_the_stored_gallery_is_ruined_there_and_nowhere_else():
    found, same = (evaluate_stages(NAMES, source_of(DATASETS, embed)) for embed in (rotated, same_model))
    last, expected = found.stages[-1], same.stages[-1]
    assert last.re_extracted == expected.re_extracted
    assert last.first_model == expected.first_model
    np.testing.assert_array_equal(found.own.mAP, same.own.mAP)
    assert last.stored.mAP < 0.6 * expected.stored.mAP
    assert last.stored.datasets[2].mAP > last.stored.datasets[0].mAP, "the newest gallery is of the newest model"
    assert average_compatibility(found.table.mAP, ties="non-strict") == 0


def test_every_score_is_of_the_queries_and_galleries_that_it_names():
    features = source_of(DATASETS, drifting)

    def expected(seen, query, gallery):
        return score_together(
            {NAMES[k]: concatenate([features(query(k), k, "query"), features(gallery(k), k, "gallery")]) for k in seen},
            is_mixed=True,
        )

    found = evaluate_stages(NAMES, features)
    for t, stage in enumerate(found.stages):
        models = {"newest": lambda _, t=t: t, "own": lambda k: k, "first": lambda _: 0}
        for kind, query, gallery in (
            ("stored", "newest", "own"),
            ("re_extracted", "newest", "newest"),
            ("no_update", "own", "own"),
            ("first_model", "first", "first"),
        ):
            assert getattr(stage, kind) == expected(range(t + 1), models[query], models[gallery])
        for k in range(3):
            alone = expected([k], models["newest"], models["own"])
            assert (found.table.mAP[t, k], found.table.rank1[t, k]) == (alone.mAP, alone.rank1)
            able = expected([k], models["newest"], models["newest"]).mAP if k <= t else np.nan
            assert found.own.mAP[t, k] == pytest.approx(able, nan_ok=True)
    assert len({getattr(found.stages[-1], kind).mAP for kind in KINDS}) == 4, "or the test could not tell them apart"


def test_what_was_not_extracted_is_unknown_above_the_diagonal_and_refused_elsewhere():
    features = source_of(DATASETS, drifting)

    def without(*absent):
        return lambda *asked: None if asked in absent else features(*asked)

    found = evaluate_stages(NAMES, without((1, 2, "query"), (1, 2, "gallery")))
    assert np.isnan(found.table.mAP[1, 2])
    assert np.isnan(found.table.mAP).sum() == 1
    message = "the gallery images of one were not embedded by the model of stage two; embed them first"
    with pytest.raises(ValueError, match=message):
        evaluate_stages(NAMES, without((1, 0, "gallery")))


def test_a_file_is_read_once_while_it_is_needed():
    features = source_of(DATASETS[:2], drifting)
    asked = []

    def watched(*which):
        asked.append(which)
        return features(*which)

    evaluate_stages(NAMES[:2], watched)
    assert len(asked) <= 2 * len(set(asked))
    assert max(map(asked.count, asked)) <= 2


def test_unseen_datasets_are_scored_each_on_its_own():
    unseen = [make_dataset(seed) for seed in (20, 21)]
    found = evaluate_unseen(("x", "y"), source_of(unseen, drifting), models=NAMES)
    assert [model.model for model in found] == list(NAMES)
    expected = [score(table) for table in unseen]
    assert [dataset.mAP for dataset in found[0].datasets] == [pytest.approx(one.mAP) for one in expected]
    assert found[0].mAP == pytest.approx(np.mean([one.mAP for one in expected]))
    assert found[0].rank1 == pytest.approx(np.mean([one.rank(1) for one in expected]))
    assert found[2].mAP < found[0].mAP


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match="the stages need names, all different, got a, a"):
        evaluate_stages(["a", "a"], source_of(DATASETS))
    with pytest.raises(ValueError, match="the unseen datasets need names, all different, got none"):
        evaluate_unseen([], source_of(DATASETS), models=NAMES)
    with pytest.raises(ValueError, match="vehicleid draws its gallery from the queries"):
        evaluate_stages(NAMES, source_of(DATASETS), protocol=PROTOCOLS["vehicleid"])

    def cut(model, feature):
        return feature[:, : 12 - model].copy()

    with pytest.raises(ValueError, match="features of 11 and 12 components cannot be in one gallery"):
        evaluate_stages(NAMES, source_of(DATASETS, cut))
