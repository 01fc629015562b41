"""Matched-partner retrieval and the split into training and held-out clips, against loops and closed forms."""

import numpy as np
import pytest

from pretrain.association.assignment import match_batch
from pretrain.validation.partners import TIE, PartnerRetrieval, heldout_clips, partner_retrieval

X_COUNTS, Y_COUNTS = [3, 1, 0, 2, 4, 1, 2], [2, 3, 2, 2, 3, 0, 5]
VIDEO, SECONDS = np.array([0, 0, 1, 0, 1, 2, 1]), np.array([0.0, 3, 4, 10, 8, 3, 9.5])


def unit(seed, count, size=4):
    values = np.random.default_rng(seed).normal(size=(count, size))
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def retrieval(x, y, x_counts=X_COUNTS, y_counts=Y_COUNTS, video=VIDEO, seconds=SECONDS, *, gap_seconds=5.0, **options):
    return partner_retrieval(x, y, x_counts, y_counts, video, seconds, gap_seconds=gap_seconds, **options)


def direction_as_loop(query, gallery, matches, gallery_counts, video, seconds, gap_seconds):
    """The docstring's loop in one direction; ties in all their orders."""
    pair_of = np.repeat(np.arange(len(gallery_counts)), gallery_counts)
    rank1, reciprocal, chance = [], [], []
    for q, own, f in matches:
        distance = ((query[q].astype(float) - gallery.astype(float)) ** 2).sum(axis=1)
        shown = [
            c
            for c, g in enumerate(pair_of)
            if g == f or video[g] != video[f] or abs(seconds[g] - seconds[f]) >= gap_seconds
        ]
        nearer = sum(distance[c] < distance[own] - TIE for c in shown)
        tied = sum(abs(distance[c] - distance[own]) <= TIE for c in shown)
        rank1.append((nearer == 0) / tied)
        reciprocal.append(np.mean([1 / (nearer + k) for k in range(1, tied + 1)]))
        chance.append(1 / len(shown))
    return [np.mean(rank1), np.mean(reciprocal), np.mean(chance)]


def as_loop(x, y, gap_seconds):
    found = match_batch(x, y, X_COUNTS, Y_COUNTS)
    there = list(zip(found.x_index, found.y_index, found.pair, strict=True))
    back = [(j, i, f) for i, j, f in there]
    times = (VIDEO, SECONDS, gap_seconds)
    both = direction_as_loop(x, y, there, Y_COUNTS, *times), direction_as_loop(y, x, back, X_COUNTS, *times)
    return [*np.mean(both, axis=0), np.mean([x[i] @ y[j] for i, j, _ in there]), 2 * len(there)]


def numbers(result: PartnerRetrieval):
    return [result.rank1, result.mrr, result.chance_rank1, result.mean_similarity, result.num_queries]


def problem(seed, *, with_ties=False):
    x, y = unit(seed, sum(X_COUNTS)), unit(seed + 100, sum(Y_COUNTS))
    return (x[np.arange(len(x)) % 5], x[np.arange(len(y)) * 3 % 5]) if with_ties else (x, y)


@pytest.mark.parametrize("gap_seconds", [0.0, 2.0, 5.0, 1e9])
@pytest.mark.parametrize(("seed", "with_ties"), [(0, False), (1, False), (2, True)])
def test_equals_the_loop_of_the_docstring(seed, with_ties, gap_seconds):
    x, y = problem(seed, with_ties=with_ties)
    result = retrieval(x, y, gap_seconds=gap_seconds)
    assert numbers(result) == pytest.approx(as_loop(x, y, gap_seconds), abs=1e-6)


@pytest.mark.parametrize("chunk", [1, 4, 1000])
def test_chunk_changes_nothing(chunk):
    x, y = problem(3, with_ties=True)
    assert retrieval(x, y, chunk=chunk) == retrieval(x, y)


def test_perfect_embeddings_of_different_people_are_all_found():
    people = np.eye(12, dtype=np.float32)
    far = np.arange(4) * 100.0
    result = retrieval(people, people, [3] * 4, [3] * 4, np.zeros(4, np.int64), far)
    assert numbers(result) == pytest.approx([1, 1, 1 / 12, 1, 24])
    assert result.effective_rank == pytest.approx(11)


@pytest.mark.parametrize("seconds", [[0, 100, 200, 300], [0, 1, 200, 201]])
def test_equal_embeddings_score_exactly_chance_and_show_as_collapse(seconds):
    same = np.repeat(unit(0, 1, size=64), 12, axis=0)
    result = retrieval(same, same, [3] * 4, [3] * 4, np.zeros(4, np.int64), np.array(seconds, float))
    gallery = 12 if seconds[1] == 100 else 9
    assert result.rank1 == pytest.approx(1 / gallery, abs=1e-12)
    assert result.chance_rank1 == pytest.approx(1 / gallery, abs=1e-12)
    assert result.mrr == pytest.approx(sum(1 / k for k in range(1, gallery + 1)) / gallery, abs=1e-12)
    assert (result.effective_rank, result.uniformity) == (0, pytest.approx(0, abs=1e-5))


@pytest.mark.parametrize(("angle", "swapped", "expected"), [(5e-4, 0, 0.5), (5e-4, 1, 0.5), (2e-3, 0, 1), (2e-3, 1, 0)])
def test_a_lead_within_rounding_is_a_tie_to_either_side(angle, swapped, expected):
    two = np.array([[1, 0], [np.cos(angle), np.sin(angle)]], np.float32)
    result = retrieval(two, np.roll(two, swapped, axis=0), [1, 1], [1, 1], np.arange(2), np.zeros(2))
    assert result.rank1 == expected


def test_the_same_people_a_moment_later_are_no_distractors_but_those_of_a_late_hour_are():
    people = np.tile(np.eye(3, dtype=np.float32), (2, 1))
    options = ([3, 3], [3, 3], np.zeros(2, np.int64), np.array([0.0, 4.0]))
    assert retrieval(people, people, *options, gap_seconds=5.0).rank1 == 1
    assert retrieval(people, people, *options, gap_seconds=4.0).rank1 == pytest.approx(1 / 2)
    assert retrieval(people, people, *options[:2], np.array([0, 1]), options[3], gap_seconds=5.0).rank1 == 0.5


def test_wrong_matches_that_agree_with_themselves_count_as_right():
    """What the docstring warns of: no label is seen."""
    x = np.eye(4, dtype=np.float32)
    assert retrieval(x, x[::-1].copy(), [4], [4], np.zeros(1, np.int64), np.zeros(1)).rank1 == 1


def test_rotation_scale_and_exchange_of_frames_change_nothing():
    x, y = problem(5)
    expected = numbers(retrieval(x, y))
    rotation = np.linalg.qr(np.random.default_rng(6).normal(size=(4, 4)))[0].astype(np.float32)
    assert numbers(retrieval(3 * x @ rotation, 0.2 * y @ rotation)) == pytest.approx(expected, abs=1e-6)
    assert numbers(retrieval(y, x, Y_COUNTS, X_COUNTS)) == pytest.approx(expected, abs=1e-12)


def test_what_cannot_be_judged_is_refused():
    x, y = problem(0)
    with pytest.raises(ValueError, match="7 and 7 counts, 6 videos and 7 times"):
        retrieval(x, y, video=VIDEO[1:])
    with pytest.raises(ValueError, match="counts of 7 and 7 pairs sum to 14 and 17"):
        retrieval(x, y, x_counts=[4, *X_COUNTS[1:]])
    with pytest.raises(ValueError, match="none of the 2 frame pairs has crops in both frames"):
        retrieval(x[:2], y[:2], [2, 0], [0, 2], VIDEO[:2], SECONDS[:2])
    with pytest.raises(ValueError, match="1 first-frame features are zero or not finite"):
        retrieval(np.where(np.arange(len(x))[:, None] == 3, np.nan, x), y)
    with pytest.raises(ValueError, match="times must be finite"):
        retrieval(x, y, seconds=SECONDS * np.nan)
    with pytest.raises(ValueError, match="gap_seconds must be >= 0, got -1"):
        retrieval(x, y, gap_seconds=-1)


def test_the_end_of_a_long_video_is_held_out_and_the_gap_is_in_neither():
    training, heldout = heldout_clips(np.zeros(11, np.int64), np.arange(0.0, 110, 10), share=0.2, gap_seconds=15)
    assert heldout.tolist() == [False] * 8 + [True] * 3
    assert training.tolist() == [True] * 7 + [False] * 4
    # Without a gap every clip is in one side, the first late one included.
    training, heldout = heldout_clips(np.zeros(11, np.int64), np.arange(0.0, 110, 10), share=0.2, gap_seconds=0)
    assert (training ^ heldout).all()


@pytest.mark.parametrize("times", [[0], [0, 100], [0, 1, 2, 3, 4, 5]])
def test_short_videos_go_whole_and_spread(times):
    """Too few clips to cut a share off, or no time for the gap."""
    video, seconds = np.repeat(np.arange(20), len(times)), np.tile(np.array(times, float), 20)
    training, heldout = heldout_clips(video, seconds, share=0.2, gap_seconds=5)
    assert np.flatnonzero(heldout[:: len(times)]).tolist() == [2, 7, 12, 17]
    assert heldout.mean() == pytest.approx(0.2)
    assert (training ^ heldout).all()


@pytest.mark.parametrize("seed", range(5))
def test_no_training_clip_is_near_a_held_out_one_of_its_video(seed):
    rng = np.random.default_rng(seed)
    video, seconds = rng.integers(0, 12, 150), rng.uniform(0, 200, 150)
    training, heldout = heldout_clips(video, seconds, share=0.25, gap_seconds=20)
    assert not (training & heldout).any()
    for number in np.unique(video):
        early, late = (seconds[side & (video == number)] for side in (training, heldout))
        if len(early) and len(late):
            assert late.min() - early.max() >= 20
            assert late.max() == seconds[video == number].max()
            assert np.ptp(late) <= 0.25 * np.ptp(seconds[video == number])
        else:
            assert len(early) + len(late) == (video == number).sum()


def test_order_of_clips_changes_nothing():
    rng = np.random.default_rng(7)
    video, seconds, order = rng.integers(0, 6, 40), rng.uniform(0, 200, 40), rng.permutation(40)
    masks = heldout_clips(video, seconds, share=0.2, gap_seconds=10)
    mixed = heldout_clips(video[order], seconds[order], share=0.2, gap_seconds=10)
    np.testing.assert_array_equal(mixed, np.array(masks)[:, order])


def test_a_split_with_an_empty_side_is_refused():
    with pytest.raises(ValueError, match=r"2 clips gave 2 for training and 0 held out; change share \(0\.2\)"):
        heldout_clips(np.arange(2), np.zeros(2), share=0.2, gap_seconds=5)
    with pytest.raises(ValueError, match=r"3 clips gave 0 for training and 3 held out"):
        heldout_clips(np.zeros(3, np.int64), np.arange(3.0), share=0.6, gap_seconds=5)
    with pytest.raises(ValueError, match=r"0 clips gave 0 for training"):
        heldout_clips(np.zeros(0, np.int64), np.zeros(0), share=0.2, gap_seconds=5)
    with pytest.raises(ValueError, match=r"share must be in \(0, 1\), got 1"):
        heldout_clips(np.zeros(3, np.int64), np.arange(3.0), share=1, gap_seconds=5)
    with pytest.raises(ValueError, match="3 videos and 2 times"):
        heldout_clips(np.zeros(3, np.int64), np.arange(2.0), share=0.5, gap_seconds=5)
