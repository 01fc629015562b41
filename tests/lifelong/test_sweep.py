"""Sweeps of lifelong stages: what is tried, what is refused before anything runs, and a small one on Ray Tune."""

from pathlib import Path

import pytest

from cluster import storage
from lifelong.stages.plan import plan_to_json
from lifelong.sweep import run_trial, sweep_stages, with_settings
from tests.lifelong.runs.runs import plan_of, write_domains


def test_settings_reach_every_stage():
    plan = plan_of(Path("/data"), "north", "south")
    changed = with_settings(plan, {"loss.temperature": "0.2", "memory.strategy": "random"})
    assert [stage.config.loss.temperature for stage in changed.stages] == [0.2, 0.2]
    assert [stage.config.memory.strategy for stage in changed.stages] == ["random", "random"]
    assert changed.stages[0].config.loss.compatibility == plan.stages[0].config.loss.compatibility


@pytest.mark.parametrize(
    ("over", "message"),
    [
        (["loss.temprature=0.1"], "there is no setting 'loss.temprature'; perhaps you meant loss.temperature"),
        (["loss.temperature=0.1,0"], "loss.temperature must be > 0, got 0"),
        (["loss.temperature=warm"], "loss.temperature must be of kind float, got 'warm'"),
        ([], "name --over"),
    ],
)
def test_what_cannot_be_tried_is_refused_before_anything_runs(tmp_path, over, message):
    with pytest.raises(ValueError, match=message):
        sweep_stages(plan_of(Path("/data"), "north"), over, str(tmp_path / "sweep"), samples=1)
    assert not (tmp_path / "sweep").exists()


def test_constants_of_episodes_and_parts_can_be_tried():
    plan = plan_of(Path("/data"), "north", recipe="dwopp")
    settings = {"loss.episode.temperature": "4", "loss.episode.distillation": "2", "loss.episode.margin": "0.1"}
    episode = with_settings(plan, settings).stages[0].config.loss.episode
    assert (episode.temperature, episode.distillation, episode.margin) == (4, 2, 0.1)
    assert with_settings(plan_of(Path("/data"), "north"), {"loss.num_parts": "6"}).stages[0].config.loss.num_parts == 6


def test_only_what_matches_is_ordered_by_matching(tmp_path):
    plan = plan_of(Path("/data"), "north")
    with pytest.raises(ValueError, match=r"--metric matching_mAP needs a weight of loss.matching"):
        sweep_stages(plan, ["loss.temperature=0.1"], str(tmp_path / "sweep"), samples=1, metric="matching_mAP")


def test_a_trial_of_matching_says_how_well_it_matches(tmp_path):
    write_domains(tmp_path)
    plan = plan_of(tmp_path, "north", recipe="qaconv", steps=2)
    found = run_trial(plan_to_json(plan), str(tmp_path / "sweep"), {"loss.matching.margin": "4"})
    assert 0 < found["matching_mAP"] <= 1


@pytest.mark.ray
def test_a_sweep_scores_its_trials_and_keeps_to_itself(ray_cluster: None, tmp_path: Path):
    write_domains(tmp_path)
    plan, out = plan_of(tmp_path, "north", "south", epochs=1), str(tmp_path / "sweep")
    space = str(tmp_path / "space.json")
    storage.write_json(space, {"loss": {"compatibility": [0.5, 2]}})
    trials = sweep_stages(plan, [], out, samples=1, space=space)
    assert sorted(trial["settings"]["loss.compatibility"] for trial in trials) == [0.5, 2]
    assert trials[0]["metrics"]["mAP"] >= trials[1]["metrics"]["mAP"] > 0
    assert storage.read_json(f"{out}/sweep.json") == {"trials": trials}
    assert len(list(Path(out, "trials").glob("*/results.json"))) == 2
    with pytest.raises(
        ValueError,
        match=r"to a sweep with other settings \(over: \[\] -> \['loss\.compatibility=0\.5,2'\]; sp",
    ):
        sweep_stages(plan, ["loss.compatibility=0.5,2"], out, samples=1)
