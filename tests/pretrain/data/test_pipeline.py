"""Training samples on Ray Data: the same draw gives the same sample anywhere, and draws come in order."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cluster import session
from pretrain.data.augment import CHANGES
from pretrain.data.clip_table import load_clip_table
from pretrain.data.frame_pairs import COLUMNS, LoadSamples
from pretrain.data.sampler import Share, epoch_order
from pretrain.data.stream import Collate, build_dataset
from pretrain.models.config import ModelConfig
from pretrain.recipes import isr_tiny
from pretrain.training.isr_job import IsrJob
from tests.pretrain.ingest.films import write_clips_directory

CONFIG = replace(
    isr_tiny(), batch_pairs=4, model=ModelConfig(architecture="tiny", embedding_size=16, height=32, width=16)
)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_clips_directory(tmp_path_factory.mktemp("clips")))


def share(rank: int = 0, processes: int = 1, first_step: int = 0, total_steps: int = 10) -> Share:
    return Share(rank=rank, processes=processes, per_step=4, first_step=first_step, total_steps=total_steps)


def job(clips: str) -> IsrJob:
    return IsrJob(config=CONFIG, table=load_clip_table(clips), start="")


def samples(clips: str, draws: range) -> dict[str, Any]:
    return LoadSamples(load_clip_table(clips), CONFIG.samples, share())(np.array(draws))


def test_the_table_lists_every_clip(clips: str):
    table = load_clip_table(clips)
    assert [Path(file).name for file in table.files] == ["0.parquet", "1.parquet"]
    assert table.file.tolist() == [0] * 6 + [1] * 6 == table.video.tolist()
    assert table.row_group.tolist() == [*range(6), *range(6)]


def test_a_sample_depends_on_its_draw_alone(clips: str):
    together = samples(clips, range(20, 30))
    for position, draw in enumerate(range(20, 30)):
        alone = samples(clips, range(draw, draw + 1))
        assert alone["video"][0] == together["video"][position]
        for column in COLUMNS:
            shape = {"x": (3, 3, 32, 16), "change_x": (3, CHANGES)}.get(column[:-1] + "x", (3,))
            assert alone[column][0].shape == shape
            assert np.array_equal(alone[column][0], together[column][position])
    again = samples(clips, range(32, 33))
    assert not np.array_equal(again["change_x"][0], together["change_x"][0])


def test_a_share_says_which_draws_are_made(clips: str):
    loader = LoadSamples(load_clip_table(clips), CONFIG.samples, share(rank=1, processes=2, first_step=5))
    resumed, expected = loader(np.arange(2)), samples(clips, range(22, 24))
    assert resumed["draw"].tolist() == expected["draw"].tolist() == [22, 23]
    assert resumed["video"].tolist() == expected["video"].tolist()
    for column in COLUMNS:
        assert all(np.array_equal(one, other) for one, other in zip(resumed[column], expected[column], strict=True))


def test_an_epoch_uses_every_clip_once_and_the_next_in_another_order(clips: str):
    loader = LoadSamples(load_clip_table(clips), CONFIG.samples, share())
    orders = [[loader._clip(draw) for draw in range(12 * epoch, 12 * epoch + 12)] for epoch in (1, 0, 1)]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(12))
    assert orders[0] == orders[2] != orders[1], "going back is fine: any reader may get any draw"
    expected = epoch_order(loader.table.video, seed=CONFIG.seed, epoch=1, pairs_per_clip=1)
    assert orders[0] == expected.tolist()


def test_batches_join_first_frames_and_then_second_ones(clips: str):
    rows = samples(clips, range(3))
    batch = Collate(job(clips))(rows)
    assert batch["images"].shape == (18, 3, 32, 16)
    assert batch["changes"].shape == (18, CHANGES)
    assert batch["x_counts"].tolist() == batch["y_counts"].tolist() == [3, 3, 3]
    for name, (first, second) in {"images": ("x", "y"), "changes": ("change_x", "change_y")}.items():
        assert np.array_equal(batch[name][3:6].numpy(), rows[first][1])
        assert np.array_equal(batch[name][9:12].numpy(), rows[second][0])
    assert batch["draw"].tolist() == [0, 1, 2]
    assert batch["video"].tolist() == rows["video"].tolist()
    assert batch["seconds"].tolist() == rows["seconds"].tolist()
    assert len(set(batch["seconds"].tolist())) > 1


@pytest.mark.ray
def test_draws_of_a_share_come_in_order(ray_cluster: None, clips: str):
    session.configure_data()
    own = share(rank=1, processes=2, first_step=2, total_steps=4)
    rows = build_dataset(job(clips), own, readers=2).take_all()
    assert [int(row["draw"]) for row in rows] == [10, 11, 14, 15]
    for row in rows:
        expected = samples(clips, range(row["draw"], row["draw"] + 1))
        assert int(row["video"]) == expected["video"][0]
        for column in COLUMNS:
            assert np.array_equal(row[column], expected[column][0]), column
