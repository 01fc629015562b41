"""Stages as data: names from specs, what a dataset gives, plans that are read back and only grow."""

import json
from dataclasses import replace

import pytest

from lifelong.stages.config import MemoryConfig, StageConfig
from lifelong.stages.loss_config import LossConfig
from lifelong.stages.plan import (
    LifelongPlan,
    Stage,
    make_stages,
    named,
    plan_from_json,
    plan_to_json,
    refuse_other_past,
)
from pretrain.config.scale import ScaleConfig
from tests.lifelong.people import write_people

CONFIG = StageConfig(recipe="test", memory=MemoryConfig(identities=3))


def plan(*names, **changes):
    stages = tuple(Stage(name=name, dataset=f"/data/{name}", config=CONFIG) for name in names)
    return LifelongPlan(stages=stages, **changes)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("market1501:/data/Market-1501", ("market1501", "market1501:/data/Market-1501")),
        ("cuhk03-np-labelled#3:/data/c", ("cuhk03-np-labelled", "cuhk03-np-labelled#3:/data/c")),
        ("csv:/data/site b.csv", ("site-b", "csv:/data/site b.csv")),
        ("/data/harbour/", ("harbour", "/data/harbour/")),
        ("s3://bucket/harbour", ("harbour", "s3://bucket/harbour")),
        ("north=market1501:/data/m", ("north", "market1501:/data/m")),
        ("/data/a=b/harbour", ("harbour", "/data/a=b/harbour")),
    ],
)
def test_a_stage_is_named_by_its_benchmark_its_folder_or_its_user(text, expected):
    assert named(text) == expected


def test_relative_places_become_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    specs = [stage.dataset for stage in make_stages(("market1501:m", "csv:b.csv", "here", "s3://bucket/x"), CONFIG)]
    assert specs == [f"market1501:{tmp_path}/m", f"csv:{tmp_path}/b.csv", f"{tmp_path}/here", "s3://bucket/x"]


def test_a_plan_is_read_back_as_it_was():
    made = plan("north", "south", start="/weights", unseen=("east=/data/east",))
    assert plan_from_json(json.loads(json.dumps(plan_to_json(made)))) == made
    with pytest.raises(ValueError, match="no plan of this version"):
        plan_from_json({"stages": []})


def test_two_datasets_of_one_name_are_refused():
    with pytest.raises(ValueError, match="share the name 'north'; name them apart"):
        plan("north", "north")
    with pytest.raises(ValueError, match="share the name 'north'"):
        plan("north", unseen=("/data/north",))


def test_stages_share_one_model():
    stages = plan("a", "b").stages
    other = replace(stages[1], config=replace(CONFIG, model=replace(CONFIG.model, embedding_size=64)))
    with pytest.raises(ValueError, match="all stages need the same model"):
        LifelongPlan(stages=(stages[0], other))


def test_a_run_only_grows():
    refuse_other_past(plan("a"), plan("a", "b"))
    with pytest.raises(ValueError, match=r"the run has 2 stages.*a run only grows"):
        refuse_other_past(plan("a", "b"), plan("a"))
    changed = replace(plan("a").stages[0], config=replace(CONFIG, epochs=7))
    with pytest.raises(ValueError, match=r"stage a of the run has other settings \(config\.epochs: 60 -> 7\)"):
        refuse_other_past(plan("a"), LifelongPlan(stages=(changed,)))


def test_a_stage_takes_the_first_identities_and_everything_that_is_tested(tmp_path):
    write_people(tmp_path, people=5)
    rows = Stage(name="a", dataset=str(tmp_path), identities=3, config=CONFIG).rows()
    assert sorted({row.identity for row in rows if row.split == "train"}) == [1, 2, 3]
    assert sorted({row.identity for row in rows if row.split == "gallery"}) == [101, 102, 103, 104, 105]


def test_a_stage_takes_a_part_of_its_identities_and_everything_that_is_tested(tmp_path):
    write_people(tmp_path, people=7)
    found = []
    for number in (1, 2, 3):
        rows = Stage(name="a", dataset=str(tmp_path), identities=5, part=f"{number}/3", config=CONFIG).rows()
        found.append(sorted({row.identity for row in rows if row.split == "train"}))
        assert len({row.identity for row in rows if row.split == "gallery"}) == 7
    assert found == [[1, 2], [3, 4], [5]]
    shuffled = [Stage(name="a", dataset=str(tmp_path), part=f"{k}/2@1", config=CONFIG).rows() for k in (1, 2)]
    people = [{row.identity for row in rows if row.split == "train"} for rows in shuffled]
    assert (people[0] | people[1], people[0] & people[1]) == (set(range(1, 8)), set())
    with pytest.raises(ValueError, match=r"part must be such as 3/10.* got '4/3'"):
        Stage(name="a", dataset=str(tmp_path), part="4/3", config=CONFIG)
    with pytest.raises(ValueError, match="7 identities cannot be cut into 8 tasks"):
        Stage(name="a", dataset=str(tmp_path), part="1/8", config=CONFIG).rows()


def test_a_dataset_without_training_images_is_no_stage(tmp_path):
    write_people(tmp_path, people=2)
    for path in (tmp_path / "bounding_box_train").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match="has no training images of known identities; a stage needs some"):
        Stage(name="a", dataset=str(tmp_path), config=CONFIG).rows()


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        (LossConfig, {"temperature": 0.0}, "loss.temperature must be > 0, got 0.0"),
        (LossConfig, {"consolidation": 1.0}, "loss.parts must be > 0 with loss.consolidation, got 0.0"),
        (LossConfig, {"smoothing": 1.0}, r"loss.smoothing must be in \[0, 1\)"),
        (MemoryConfig, {"images": 0}, "memory.images must be >= 1, got 0"),
        (StageConfig, {"recipe": "x", "later_rate": 0.0}, r"later-rate must be in \(0, 1\]"),
        (
            StageConfig,
            {"recipe": "x", "scale": ScaleConfig(workers=33)},
            "batch-identities must be >= workers=33, got 32",
        ),
        (ScaleConfig, {"min_workers": 2}, r"min-workers must be in \[0, 1\], got 2"),
        (
            StageConfig,
            {"recipe": "x", "loss": LossConfig(compatibility=1.0), "memory": MemoryConfig(identities=0)},
            "whose anchors are replayed images",
        ),
    ],
)
def test_settings_that_cannot_work_are_refused(kind, changes, message):
    with pytest.raises(ValueError, match=message):
        kind(**changes)
