"""The order of clips, the choice of frames, and samples that follow from the seed and the draw alone."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from evaluation.datasets.images import encode_jpeg
from pretrain.association.assignment import LOST
from pretrain.config.run import PretrainConfig
from pretrain.data.augment import apply_changes, draw_changes
from pretrain.data.batch import collate, to_batch
from pretrain.data.config import PairConfig
from pretrain.data.frame_pairs import COLUMNS, crop_images, draw_interval, frame_times, make_sample
from pretrain.data.sampler import epoch_order
from pretrain.data.truth import NOBODY, TrueFrame
from pretrain.losses.config import LossConfig
from pretrain.models.config import ModelConfig

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


def config(*, seed=0, pairs=PairConfig(), loss=LossConfig(reliability="sim")):  # noqa: B008 - frozen
    model = ModelConfig(architecture="tiny", embedding_size=16, height=32, width=16)
    return PretrainConfig(recipe="test", seed=seed, pairs=pairs, model=model, loss=loss).samples


def sample(*, seed=0, draw=0):
    return make_sample(make_clip(), config(seed=seed), draw=draw)


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


def test_a_sample_is_two_frames_of_the_clip_and_what_to_do_with_each_crop():
    for draw in range(5):
        rng = np.random.default_rng((0, draw))
        first, second = draw_interval(frame_times(make_clip()), rng, shortest=0.2, longest=2.0)
        got = sample(draw=draw)
        for name, frame in (("x", first), ("y", second)):
            count = frame % 3 + 1
            assert (got[name].shape, got[name].dtype) == ((count, 3, 32, 16), np.uint8)
            expected = draw_changes(PairConfig(), count, height=32, width=16, rng=rng)
            np.testing.assert_array_equal(got[f"change_{name}"], expected)


def plain(frame):
    """The crops of a frame, only decoded and resized."""
    images = [torch.from_numpy(image).permute(2, 0, 1) for image in crop_images(frame)]
    smooth = {"mode": "bilinear", "antialias": True}
    return np.concatenate([functional.interpolate(image[None], (32, 16), **smooth).numpy() for image in images])


def test_the_crops_of_a_sample_are_the_plain_resize_of_those_of_the_chosen_frames():
    clip = make_clip()
    for draw in range(5):
        rng = np.random.default_rng((3, draw))
        first, second = draw_interval(frame_times(clip), rng, shortest=0.2, longest=2.0)
        got = sample(seed=3, draw=draw)
        np.testing.assert_array_equal(got["x"], plain(clip["frames"][first]))
        np.testing.assert_array_equal(got["y"], plain(clip["frames"][second]))
        assert got["seconds"] == frame_times(clip)[first]


def test_pixels_do_not_depend_on_the_augmentation():
    clip = make_clip(num_frames=2)  # so every draw chooses the same two frames
    strong = PairConfig(jitter_probability=1.0, blur_probability=1.0, erasing_probability=1.0, padding_pixels=64)
    found = [
        make_sample(clip, config(seed=seed, pairs=pairs), draw=draw)
        for pairs in (PairConfig(), strong)
        for seed in range(2)
        for draw in range(3)
    ]
    assert len({one["change_x"].tobytes() for one in found}) == len(found)
    assert {one["x"].tobytes() for one in found} == {plain(clip["frames"][0]).tobytes()}
    assert {one["y"].tobytes() for one in found} == {plain(clip["frames"][1]).tobytes()}


def columns_of(got):
    """A batch of one sample, as the collate function makes it."""
    return {
        "images": torch.from_numpy(np.concatenate([got["x"], got["y"]])),
        "changes": torch.from_numpy(np.concatenate([got["change_x"], got["change_y"]])),
        "identities": torch.from_numpy(np.concatenate([got["identity_x"], got["identity_y"]])),
        "followed": torch.from_numpy(np.concatenate([got["followed_x"], got["followed_y"]])),
        "x_counts": torch.tensor([len(got["x"])]),
        "y_counts": torch.tensor([len(got["y"])]),
        "video": torch.tensor([7]),
        "seconds": torch.tensor([got["seconds"]], dtype=torch.float64),
    }


def test_a_batch_has_the_crops_as_they_are_and_as_they_were_changed():
    columns = columns_of(sample(draw=1))
    batch = to_batch(columns, torch.device("cpu"))
    assert torch.equal(batch.clean, columns["images"])
    assert torch.equal(batch.images, apply_changes(columns["images"], columns["changes"]))
    assert not torch.equal(batch.images, batch.clean)
    assert (list(batch.x_counts), list(batch.y_counts)) == (columns["x_counts"].tolist(), columns["y_counts"].tolist())
    assert torch.equal(batch.video, columns["video"])
    assert (batch.identities == NOBODY).all(), "nobody was told"
    assert batch.seconds is columns["seconds"]


def test_the_truth_says_who_is_on_each_crop():
    clip = make_clip(num_frames=2)
    for frame in clip["frames"]:
        for place, crop in enumerate(frame["crops"]):
            crop |= {"left": 50.0 * place, "top": 10.0, "width": 20.0, "height": 40.0}
    boxes = np.array([[52.0, 10.0, 20.0, 40.0], [0.0, 10.0, 20.0, 40.0]])
    truth = {0: TrueFrame(np.array([8, 9]), boxes), 1: TrueFrame(np.array([8, 9]), boxes)}
    got = make_sample(clip, config(), draw=0, truth=truth)
    assert (got["identity_x"].tolist(), got["identity_y"].tolist()) == ([9], [9, 8])
    del truth[1]
    assert make_sample(clip, config(), draw=0, truth=truth)["identity_y"].tolist() == [NOBODY, NOBODY]


def test_a_crop_can_be_its_own_partner():
    itself = config(pairs=PairConfig(partner="itself"))
    for draw in range(4):
        got, other = make_sample(make_clip(), itself, draw=draw), sample(draw=draw)
        np.testing.assert_array_equal(got["x"], other["x"])
        np.testing.assert_array_equal(got["y"], got["x"])
        assert not np.array_equal(got["change_x"], got["change_y"])


def test_without_augmentation_both_views_are_the_same():
    off = dict.fromkeys((f"{name}_probability" for name in ("jitter", "grayscale", "blur", "erasing", "flip")), 0.0)
    got = make_sample(make_clip(), config(pairs=PairConfig(padding_pixels=0, **off)), draw=0)
    batch = to_batch(columns_of(got), torch.device("cpu"))
    assert torch.equal(batch.images, batch.clean)


def test_a_sample_follows_from_seed_and_draw_and_leaves_the_global_generators_alone():
    expected = sample(seed=1, draw=2)
    torch.manual_seed(99)
    np.random.seed(99)
    sample(seed=1, draw=7)
    torch_state, numpy_state = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    got = sample(seed=1, draw=2)
    assert torch.equal(torch.random.get_rng_state(), torch_state)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)
    for column in ("x", "y", "change_x", "change_y"):
        np.testing.assert_array_equal(got[column], expected[column])
    assert len({digest(seed=1), digest(seed=2)}) == 2
    assert len({sample(draw=draw)["change_x"].tobytes() for draw in range(6)}) == 6


@pytest.mark.slow
def test_another_process_makes_the_same_sample():
    code = "from tests.pretrain.data.test_feed import digest; print(digest(seed=1))"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "7"}
    root = Path(__file__).parents[3]
    printed = subprocess.run(
        [sys.executable, "-c", code],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        encoding="utf-8",
    )
    assert printed.stdout.strip() == digest(seed=1)


def test_a_damaged_crop_is_refused():
    frame = make_clip()["frames"][2]
    assert [image.shape for image in crop_images(frame)] == [(40, 20, 3)] * 3
    frame["crops"][1]["jpeg"] = b"no image"
    with pytest.raises(ValueError, match="a crop of frame 2 is damaged; prepare the clips again"):
        crop_images(frame)


def street_clip(*lefts):
    """A clip of frames a quarter of a second apart; each lists where people of 10 x 20 pixels stand."""
    clip = make_clip(len(lefts))
    for frame, places in zip(clip["frames"], lefts, strict=True):
        image = {"jpeg": encode_jpeg(np.zeros((20, 10, 3), np.uint8), max_height=64)}
        frame["crops"] = [image | {"left": left, "top": 0.0, "width": 10.0, "height": 20.0} for left in places]
    return clip


def test_people_are_followed_through_the_frames_between_if_the_loss_asks():
    clip = street_clip([0, 50], [5, 50], [50, 10], [15, 50, 90])
    pairs = PairConfig(min_interval_seconds=0.7, max_interval_seconds=0.8)  # the first frame and the last
    asked = make_sample(clip, config(pairs=pairs, loss=LossConfig(reliability="track")), draw=0)
    assert (asked["followed_x"].tolist(), asked["followed_y"].tolist()) == ([0, 1], [0, 1, LOST])
    not_asked = make_sample(clip, config(pairs=pairs, loss=LossConfig(reliability="sim")), draw=0)
    assert (not_asked["followed_x"].tolist(), not_asked["followed_y"].tolist()) == ([LOST] * 2, [LOST] * 3)
    assert all(np.array_equal(asked[name], not_asked[name]) for name in asked if not name.startswith("followed"))


def test_one_frame_taken_twice_is_followed_to_itself():
    pairs = PairConfig(partner="itself")
    got = make_sample(street_clip([0, 50], [5, 50]), config(pairs=pairs, loss=LossConfig(reliability="track")), draw=0)
    assert got["followed_x"].tolist() == got["followed_y"].tolist() == [0, 1]


def test_clips_without_boxes_are_refused_if_the_loss_asks_for_them():
    clip = street_clip([np.nan, 50], [5, 50])
    with pytest.raises(ValueError, match=r"without boxes, which audit and --loss\.reliability track need"):
        make_sample(clip, config(loss=LossConfig(reliability="track")), draw=0)
    for unweighed in (LossConfig(beta=0.0), LossConfig(kind="cycle")):
        assert (make_sample(clip, config(loss=unweighed), draw=0)["followed_x"] == LOST).all()


def test_in_a_batch_positions_count_through_all_pairs():
    samples = [
        make_sample(street_clip([0, 50], [50, 0]), config(loss=LossConfig(reliability="track")), draw=0),
        make_sample(street_clip([0], [90, 0]), config(loss=LossConfig(reliability="track")), draw=1),
    ]
    columns = {name: [sample[name] for sample in samples] for name in (*COLUMNS, "seconds")}
    batch = to_batch(collate({**columns, "draw": [0, 1], "video": [0, 0]}), torch.device("cpu"))
    assert batch.followed is not None
    assert [part.tolist() for part in batch.followed] == [[1, 0, 3], [1, 0, LOST, 2]]
