"""The audit: closed forms on clips made by hand."""

from collections.abc import Sequence

import numpy as np
import pytest

from evaluation.datasets.images import encode_jpeg
from pretrain.data.truth import TrueFrame
from pretrain.ingest.clips import make_clip
from pretrain.validation.auditor import EXTREMES, AuditedPair, Auditor, auroc, frame_pairs

ANN, BOB, CAT = 0, 1, 2
LOOKS = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0.8, 0.6, 0]], np.float32)


class Looks:
    """An embedder that knows how each shade of grey looks: 20 is the first row of `LOOKS`, 60 the next."""

    fingerprint, embedding_size = "looks", 3

    def embed(self, images: Sequence[np.ndarray]) -> np.ndarray:
        return np.array([LOOKS[round((image.mean() - 20) / 40)] for image in images], np.float32).reshape(-1, 3)


def crop(look: int, left: float) -> dict:
    jpeg = encode_jpeg(np.full((40, 20, 3), 20 + 40 * look, np.uint8), max_height=100)
    return {"jpeg": jpeg, "left": left, "top": 0.0, "width": 20.0, "height": 40.0, "score": 1.0}


def clip(*frames: Sequence[tuple[int, float]], video: str = "v.mp4") -> dict:
    """Frames one second apart; each is a list of (look, left)."""
    rows = [
        {"frame_index": 1 + 10 * number, "time_seconds": float(number), "crops": [crop(*person) for person in frame]}
        for number, frame in enumerate(frames)
    ]
    return make_clip(video, 10.0, rows)


def truth(*frames: dict[int, float]) -> dict[str, dict[int, TrueFrame]]:
    """Frames one second apart; each maps an identity to where it stands."""
    return {
        "v.mp4": {
            1 + 10 * number: TrueFrame(
                np.array(list(frame), dtype=np.int64), np.array([[left, 0, 20, 40] for left in frame.values()], float)
            )
            for number, frame in enumerate(frames)
        }
    }


def audit(real: dict, *clips: dict, interval: float = 1.0, reliability: str = "margin") -> Auditor:
    auditor = Auditor(Looks(), real, interval=interval, reliability=reliability, reliability_temperature=0.1)
    for one in clips:
        auditor.add(one)
    return auditor


def test_all_right():
    real = truth({ANN: 0, BOB: 50}, {ANN: 10, BOB: 40})
    result = audit(real, clip([(0, 0), (1, 50)], [(1, 40), (0, 10)])).result()
    assert (result.pairs, result.precision, result.recall, result.recall_of_crops) == (2, 1, 1, 1)
    assert result.reliability_auroc is None, "nothing is wrong, so nothing can be ranked"
    assert (result.crops_without_truth, result.frame_pairs, result.interval_seconds) == (0, 1, 1.0)


def test_swapped_clothes_are_wrong_pairs():
    real = truth({ANN: 0, BOB: 50, CAT: 90}, {ANN: 0, BOB: 50, CAT: 90})
    result = audit(real, clip([(0, 0), (1, 50), (2, 90)], [(1, 0), (0, 50), (2, 90)])).result()
    assert (result.precision, result.recall, result.recall_of_crops) == (pytest.approx(1 / 3),) * 3


def test_recall_counts_people_without_a_crop_and_recall_of_crops_does_not():
    real = truth({ANN: 0, BOB: 50, CAT: 90}, {ANN: 0, BOB: 50, CAT: 90})
    result = audit(real, clip([(0, 0), (1, 50)], [(0, 0), (2, 90)])).result()
    assert result.pairs == 2, "with two crops on both sides two pairs are made, whoever they are"
    assert result.precision == 1 / 2
    assert result.recall == pytest.approx(1 / 3)
    assert result.recall_of_crops == 1


def test_a_crop_without_a_true_box_is_wrong_and_counted():
    real = truth({ANN: 0}, {ANN: 0})
    result = audit(real, clip([(0, 0), (1, 50)], [(0, 0), (1, 50)])).result()
    assert (result.precision, result.recall, result.crops_without_truth) == (1 / 2, 1, 1 / 2)


def test_a_frame_without_truth_makes_wrong_pairs():
    real = truth({ANN: 0, BOB: 50})
    result = audit(real, clip([(0, 0), (1, 50)], [(0, 0), (1, 50)])).result()
    assert (result.precision, result.recall, result.crops_without_truth) == (0, 0, 1 / 2)


def test_boxes_rank_pairs_too():
    # They swap clothes where they stand: looks match the wrong ones, and only the boxes know. The third stays.
    real = truth({ANN: 0, BOB: 50, CAT: 90}, {ANN: 0, BOB: 50, CAT: 90})
    auditor = audit(real, clip([(0, 0), (1, 50), (2, 90)], [(1, 0), (0, 50), (2, 90)]), reliability="track")
    assert auditor.result().reliability_auroc == 1.0
    assert [pair.reliability for pair in auditor.extremes(3)[0]] == [1, 0, 0]


@pytest.mark.parametrize("reliability", ["mutual", "sim", "margin"])
def test_reliability_is_ranked_against_right_and_wrong(reliability: str):
    # Ann looks exactly like herself; the one who looks partly like Bob is somebody else.
    real = truth({ANN: 0, BOB: 50}, {ANN: 0, CAT: 50})
    auditor = audit(real, clip([(2, 0), (0, 50)], [(2, 0), (3, 50)]), reliability=reliability)
    result = auditor.result()
    assert (result.precision, result.reliability_auroc) == (1 / 2, 1.0)
    best, worst = auditor.extremes(1)
    assert (best[0].is_right, worst[0].is_right) == (True, False)
    assert 0 < worst[0].reliability < best[0].reliability <= 1


def test_of_many_pairs_the_pictures_of_the_extremes_alone_are_kept():
    auditor = audit(truth({ANN: 0}, {ANN: 0}), clip([(0, 0)], [(0, 0)]))
    auditor = Auditor(auditor.embedder, auditor.truth, interval=1.0, reliability="sim", reliability_temperature=0.1)
    values = np.random.default_rng(0).integers(0, 50, 1000) / 50  # with many ties
    pairs = [AuditedPair(np.full((2, 2, 3), i % 256, np.uint8), np.zeros((2, 2, 3), np.uint8), value, i % 3 == 0)
             for i, value in enumerate(values.tolist())]  # fmt: skip
    for pair in pairs:
        auditor._note(pair)
    ordered = sorted(pairs, key=lambda pair: -pair.reliability)
    best, worst = auditor.extremes(EXTREMES)
    assert [id(pair) for pair in best] == [id(pair) for pair in ordered[:EXTREMES]]
    assert [id(pair) for pair in worst] == [id(pair) for pair in ordered[::-1][:EXTREMES]]
    assert len(auditor._best) + len(auditor._worst) <= 8 * EXTREMES
    assert len(auditor._reliability) == 1000


def test_auroc_is_the_share_of_ordered_couples():
    rng = np.random.default_rng(3)
    for _ in range(20):
        score = rng.integers(0, 6, 30).astype(float)
        positive = rng.random(30) < 0.4
        total, count = 0.0, 0
        for one in score[positive]:
            for other in score[~positive]:
                total += 1.0 if one > other else 0.5 if one == other else 0.0
                count += 1
        assert auroc(score, positive) == pytest.approx(total / count)
    assert auroc(np.array([1.0, 2]), np.array([True, True])) is None
    assert auroc(np.array([1.0, 2]), np.array([False, False])) is None


def test_each_frame_is_paired_with_the_nearest_later_one_at_about_the_interval():
    times = np.array([0.0, 0.5, 1.0, 1.5, 4.0])
    assert list(frame_pairs(times, 1.0)) == [(0, 2), (1, 3)]
    assert list(frame_pairs(times, 0.5)) == [(0, 1), (1, 2), (2, 3)]
    assert list(frame_pairs(times, 0.4)) == [(0, 1), (1, 2), (2, 3)], "a quarter of the interval away is still near"
    assert list(frame_pairs(times, 0.3)) == []
    assert list(frame_pairs(np.zeros(0), 1.0)) == []


def test_an_interval_that_no_clip_holds_is_an_error():
    auditor = audit(truth({ANN: 0}), clip([(0, 0)], [(0, 0)]), interval=30)
    with pytest.raises(ValueError, match=r"no two frames of any clip are 30 s apart .* choose another --interval"):
        auditor.result()
    with pytest.raises(ValueError, match="--interval must be > 0 seconds, got 0"):
        audit({}, interval=0)


def test_a_video_without_truth_is_refused():
    with pytest.raises(ValueError, match="the truth has no video"):
        audit(truth({ANN: 0}), clip([(0, 0)], [(0, 0)], video="w.mp4"))
