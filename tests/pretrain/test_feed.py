"""The order of clips, the choice of frames, and samples that follow from the seed and the draw alone."""

import hashlib
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from evaluation.images import encode_jpeg
from pretrain.augment import make_transform
from pretrain.config import PairConfig
from pretrain.feed import collate, crop_images, draw_interval, epoch_order, frame_times, make_sample

VIDEOS = np.repeat(np.arange(5), [1, 3, 10, 10, 40])


def order(video=VIDEOS, *, seed=0, epoch=0, pairs_per_clip=1):
    return epoch_order(video, seed=seed, epoch=epoch, pairs_per_clip=pairs_per_clip)


def make_clip(num_frames=9, seconds=0.25):
    """A clip whose frame t shows t % 3 + 1 crops."""
    rng = np.random.default_rng(0)

    def frame(index):
        images = rng.integers(0, 256, (index % 3 + 1, 40, 20, 3), dtype=np.uint8)
        crops = [{"jpeg": encode_jpeg(image, max_height=64)} for image in images]
        return {"frame_index": index, "time_seconds": index * seconds, "crops": crops}

    return {"frames": [frame(index) for index in range(num_frames)]}


def sample(*, seed=0, draw=0):
    config = PairConfig()
    return make_sample(make_clip(), config, make_transform(config, 32, 16), seed=seed, draw=draw)


def digest(**options):
    """A hash of a few samples; another process makes it too."""
    parts = [part for draw in range(4) for part in sample(draw=draw, **options).values()]
    return hashlib.sha256(b"".join(np.asarray(part).tobytes() for part in parts)).hexdigest()


@pytest.mark.parametrize("pairs_per_clip", [1, 3])
def test_an_epoch_has_every_clip_equally_often(pairs_per_clip):
    got = order(pairs_per_clip=pairs_per_clip)
    assert got.dtype == np.int64
    assert np.bincount(got).tolist() == [pairs_per_clip] * len(VIDEOS)


def test_the_order_follows_from_seed_and_epoch():
    np.testing.assert_array_equal(order(seed=3, epoch=4), order(seed=3, epoch=4))
    orders = {order(seed=seed, epoch=epoch).tobytes() for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9


@pytest.mark.parametrize("pairs_per_clip", [1, 2])
def test_videos_of_equal_size_take_turns(pairs_per_clip):
    video = np.tile(np.arange(7), 6)
    turns = video[order(video, pairs_per_clip=pairs_per_clip)].reshape(-1, 7)
    assert (np.sort(turns, axis=1) == np.arange(7)).all()
    assert len({turn.tobytes() for turn in turns}) > 1


def test_a_video_of_n_clips_has_one_in_every_nth_part_of_the_epoch():
    # A clip's place is drawn inside its part; its position can be off by as much as other videos are uneven: one each.
    positions = VIDEOS[order()]
    for video in range(5):
        members = np.flatnonzero(positions == video) / len(VIDEOS)
        expected = (np.arange(len(members)) + 0.5) / len(members)
        assert np.abs(members - expected).max() <= 0.5 / len(members) + len(np.unique(VIDEOS)) / len(VIDEOS)


def test_within_a_video_clips_come_in_random_order():
    video = np.zeros(50, dtype=np.int64)
    assert len({order(video, epoch=epoch)[0] for epoch in range(20)}) > 5


def test_no_clips_have_an_empty_order():
    assert order(np.zeros(0, dtype=np.int64)).tolist() == []


def distances(times, shortest, longest, count=4000):
    rng = np.random.default_rng(0)
    pairs = [draw_interval(times, rng, shortest=shortest, longest=longest) for _ in range(count)]
    assert all(first < second for first, second in pairs)
    return np.array([times[second] - times[first] for first, second in pairs]), pairs


def test_intervals_are_spread_evenly_over_the_range():
    times = np.arange(41) * 0.1
    found, pairs = distances(times, 0.45, 2.05)
    steps, counts = np.unique(np.round(found / 0.1).astype(int), return_counts=True)
    assert steps.tolist() == list(range(5, 21))
    # 4000 draws of 16 distances: 250 each, standard deviation 15.
    assert np.abs(counts - 250).max() < 5 * 15
    # All pairs of one distance are equally likely: 36 of 5 frames, about 7 draws each.
    starts = [first for first, second in pairs if second - first == 5]
    assert len(set(starts)) > 30


def test_intervals_stay_in_the_range_up_to_rounding():
    times = np.arange(30) / 30
    found, _ = distances(times, 0.2, 0.5, count=500)
    assert found.min() == pytest.approx(0.2)
    assert found.max() == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([0.0, 0.1], {(0, 1)}),
        ([0.0, 0.1, 0.25], {(0, 2)}),
        ([0.0, 5.0, 9.0], {(1, 2)}),
        ([0.0, 0.1, 0.2, 4.0], {(0, 2)}),
    ],
)
def test_a_clip_without_a_pair_in_the_range_gives_the_nearest(times, expected):
    _, pairs = distances(np.array(times), 0.5, 2.0, count=20)
    assert set(pairs) == expected


def test_a_sample_is_two_frames_of_the_clip():
    transform = make_transform(PairConfig(), 32, 16)
    for draw in range(5):
        rng = np.random.default_rng((0, draw))
        first, second = draw_interval(frame_times(make_clip()), rng, shortest=0.2, longest=2.0)
        got = make_sample(make_clip(), PairConfig(), transform, seed=0, draw=draw)
        assert got["x"].shape == (first % 3 + 1, 3, 32, 16)
        assert got["y"].shape == (second % 3 + 1, 3, 32, 16)
        assert got["x"].dtype == got["y"].dtype == np.uint8
        assert got["clean_x"].shape == got["x"].shape
        assert got["clean_y"].shape == got["y"].shape
        assert got["clean_x"].dtype == got["clean_y"].dtype == np.uint8


def plain(frame):
    """The crops of a frame, only decoded and resized."""
    images = [torch.from_numpy(image).permute(2, 0, 1) for image in crop_images(frame)]
    return np.stack([v2.functional.resize(image, [32, 16], antialias=True).numpy() for image in images])


def test_the_clean_view_is_the_plain_resize_of_the_crops_of_the_chosen_frames():
    clip = make_clip()
    for draw in range(5):
        rng = np.random.default_rng((3, draw))
        first, second = draw_interval(frame_times(clip), rng, shortest=0.2, longest=2.0)
        got = sample(seed=3, draw=draw)
        np.testing.assert_array_equal(got["clean_x"], plain(clip["frames"][first]))
        np.testing.assert_array_equal(got["clean_y"], plain(clip["frames"][second]))
        assert got["seconds"] == frame_times(clip)[first]


def test_the_clean_view_does_not_depend_on_the_augmentation():
    clip = make_clip(num_frames=2)  # so every draw chooses the same two frames
    every = PairConfig()
    strong = replace(every, jitter_probability=1.0, blur_probability=1.0, erasing_probability=1.0, padding_pixels=64)
    found = [
        make_sample(clip, config, make_transform(config, 32, 16), seed=seed, draw=draw)
        for config in (every, strong)
        for seed in range(2)
        for draw in range(3)
    ]
    assert len({one["x"].tobytes() for one in found}) == len({one["y"].tobytes() for one in found}) == len(found)
    assert {one["clean_x"].tobytes() for one in found} == {plain(clip["frames"][0]).tobytes()}
    assert {one["clean_y"].tobytes() for one in found} == {plain(clip["frames"][1]).tobytes()}


def test_without_augmentation_both_views_are_the_same():
    off = dict.fromkeys((f"{name}_probability" for name in ("jitter", "grayscale", "blur", "erasing", "flip")), 0.0)
    config = PairConfig(padding_pixels=0, **off)
    got = make_sample(make_clip(), config, make_transform(config, 32, 16), seed=0, draw=0)
    np.testing.assert_array_equal(got["clean_x"], got["x"])
    np.testing.assert_array_equal(got["clean_y"], got["y"])


def test_a_sample_follows_from_seed_and_draw_and_leaves_the_global_generators_alone():
    expected = sample(seed=1, draw=2)
    torch.manual_seed(99)
    np.random.seed(99)
    sample(seed=1, draw=7)
    torch_state, numpy_state = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    got = sample(seed=1, draw=2)
    assert torch.equal(torch.random.get_rng_state(), torch_state)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)
    for view in ("x", "y", "clean_x", "clean_y"):
        np.testing.assert_array_equal(got[view], expected[view])
    assert len({digest(seed=1), digest(seed=2)}) == 2
    assert len({sample(draw=draw)["x"].tobytes() for draw in range(6)}) == 6


def test_another_process_makes_the_same_sample():
    code = "from tests.pretrain.test_feed import digest; print(digest(seed=1))"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "7"}
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    printed = subprocess.run(
        [sys.executable, "-c", code], cwd=root, env=environment, capture_output=True, text=True, check=True
    )
    assert printed.stdout.strip() == digest(seed=1)


def test_a_damaged_crop_is_refused():
    frame = make_clip()["frames"][2]
    assert [image.shape for image in crop_images(frame)] == [(40, 20, 3)] * 3
    frame["crops"][1]["jpeg"] = b"no image"
    with pytest.raises(ValueError, match="a crop of frame 2 is damaged; prepare the clips again"):
        crop_images(frame)


def test_collate_puts_all_first_frames_before_all_second_frames():
    x = [np.full((n, 3, 2, 2), value, np.uint8) for n, value in ((2, 1), (1, 2))]
    y = [np.full((n, 3, 2, 2), value, np.uint8) for n, value in ((1, 3), (3, 4))]
    images = collate(x, y)
    assert images[:, 0, 0, 0].tolist() == [1, 1, 2, 3, 4, 4, 4]
    assert images.dtype == np.uint8
