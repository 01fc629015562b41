"""Training samples on Ray Data: the same draw gives the same sample anywhere, and draws come in order."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cluster import session
from cluster.values import to_json
from pretrain.config import ModelConfig
from pretrain.feed import epoch_order
from pretrain.pipeline import VIEWS, CollatePairs, LoadSamples, build_dataset, load_clip_table
from pretrain.recipes import isr_tiny
from tests.pretrain.ingest.films import write_clips_directory

CONFIG = replace(
    isr_tiny(), batch_pairs=4, model=ModelConfig(architecture="tiny", embedding_size=16, height=32, width=16)
)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_clips_directory(tmp_path_factory.mktemp("clips")))


def samples(clips: str, draws: range) -> dict[str, Any]:
    return LoadSamples(load_clip_table(clips), to_json(CONFIG))({"id": np.array(draws)})


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
        for view in VIEWS:
            assert alone[view][0].shape == (3, 3, 32, 16)
            assert np.array_equal(alone[view][0], together[view][position])
    again = samples(clips, range(32, 33))
    assert not np.array_equal(again["x"][0], together["x"][0])


def test_draws_may_be_numbered_from_where_a_run_goes_on(clips: str):
    loader = LoadSamples(load_clip_table(clips), to_json(CONFIG), 20)
    resumed, expected = loader({"id": np.arange(3)}), samples(clips, range(20, 23))
    assert resumed["draw"].tolist() == expected["draw"].tolist() == [20, 21, 22]
    assert resumed["video"].tolist() == expected["video"].tolist()
    for view in VIEWS:
        assert all(np.array_equal(one, other) for one, other in zip(resumed[view], expected[view], strict=True))


def test_an_epoch_uses_every_clip_once_and_the_next_in_another_order(clips: str):
    loader = LoadSamples(load_clip_table(clips), to_json(CONFIG))
    orders = [[loader._clip(draw) for draw in range(12 * epoch, 12 * epoch + 12)] for epoch in (1, 0, 1)]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(12))
    assert orders[0] == orders[2] != orders[1], "going back is fine: any reader may get any draw"
    expected = epoch_order(loader.table.video, seed=CONFIG.seed, epoch=1, pairs_per_clip=1)
    assert orders[0] == expected.tolist()


def test_batches_join_first_frames_and_then_second_ones(clips: str):
    rows = samples(clips, range(3))
    batch = CollatePairs()(rows)
    assert batch["images"].shape == batch["clean"].shape == (18, 3, 32, 16)
    assert batch["x_counts"].tolist() == batch["y_counts"].tolist() == [3, 3, 3]
    assert np.array_equal(batch["images"][3:6].numpy(), rows["x"][1])
    assert np.array_equal(batch["images"][9:12].numpy(), rows["y"][0])
    assert np.array_equal(batch["clean"][3:6].numpy(), rows["clean_x"][1])
    assert np.array_equal(batch["clean"][9:12].numpy(), rows["clean_y"][0])
    assert not np.array_equal(batch["images"], batch["clean"])
    assert batch["video"].tolist() == rows["video"].tolist()
    assert batch["seconds"].tolist() == rows["seconds"].tolist()
    assert len(set(batch["seconds"].tolist())) > 1


@pytest.mark.ray
@pytest.mark.parametrize("first", [0, 8])
def test_draws_come_in_order_from_where_they_should(ray_cluster: None, clips: str, first: int):
    session.configure_data()
    config = replace(CONFIG, data_workers=2)
    rows = build_dataset(load_clip_table(clips), config, first_draw=first, draws=20).take_all()
    assert [int(row["draw"]) for row in rows] == list(range(first, 20))
    expected = samples(clips, range(first, 20))
    assert [int(row["video"]) for row in rows] == expected["video"].tolist()
    for view in VIEWS:
        assert all(np.array_equal(row[view], one) for row, one in zip(rows, expected[view], strict=True)), view
