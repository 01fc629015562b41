"""A whole run in this process: what it leaves, what never changes, how it goes on and what it refuses."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from cluster.errors import Refusal
from evaluation.features.parquet import read_parquet
from lifelong.data.feed import read_images
from lifelong.gallery.gallery import Gallery
from lifelong.memory.store import read_exemplars
from lifelong.models.files import read_network
from lifelong.recipes import changes
from lifelong.runs.backend import LocalBackend
from lifelong.runs.promotion import promote
from lifelong.runs.run import Run, open_run
from lifelong.runs.sequence import run_sequence
from lifelong.training.stage_learner import StageLearner
from pretrain.models.directory import load_embedder
from pretrain.training.record import read_metrics
from tests.lifelong.runs.runs import plan_of, write_domains


class Counting(LocalBackend):
    """Counts trainings; fails before one of them, as a backend that goes away does."""

    def __init__(self, fails_at=0):
        self.trained = []
        self.fails_at = fails_at

    def train(self, job):
        if job.stage == self.fails_at:
            raise RuntimeError("the machine is gone")
        self.trained.append(job.stage)
        return super().train(job)


@pytest.fixture(scope="module")
def domains(tmp_path_factory):
    folder = tmp_path_factory.mktemp("domains")
    write_domains(folder)
    return folder


@pytest.fixture(scope="module")
def finished(domains, tmp_path_factory):
    """Two stages, and the hashes of all that the first one left."""
    out = tmp_path_factory.mktemp("run") / "run"
    plan = plan_of(domains, "north", "south", unseen=(str(domains / "east"),))
    run_sequence(replace(plan, stages=plan.stages[:1]), str(out), LocalBackend())
    before = hashes(out)
    return out, plan, before, run_sequence(plan, str(out), LocalBackend())


def hashes(folder):
    files = [path for path in Path(folder).rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_results_are_the_four_scores_of_each_stage_and_the_table(finished):
    out, _, _, result = finished
    assert json.loads((out / "results.json").read_text(encoding="utf-8")) == result
    assert [stage["name"] for stage in result["stages"]] == ["north", "south"]
    for stage in result["stages"]:
        for name in ("stored", "re_extracted", "no_update", "first_model"):
            assert {0 <= stage[name][score] <= 1 for score in ("mAP", "rank1")} == {True}
    first = result["stages"][0]
    assert first["stored"] == first["re_extracted"] == first["no_update"] == first["first_model"]
    assert np.array(result["table"]["mAP"]).shape == (2, 2)
    assert set(result["unseen"]) == {"north", "south"}
    assert "north" in (out / "results.md").read_text(encoding="utf-8")
    assert "<svg" in (out / "results.svg").read_text(encoding="utf-8")


def test_nothing_that_an_earlier_stage_left_is_written_again(finished):
    """Its gallery, its memory and its model keep their bytes; what sums up the run grows."""
    out, _, before, _ = finished
    after = hashes(out)
    changed = {name for name, value in before.items() if after.get(name) != value}
    assert {name for name in changed if not name.startswith("gallery/")} <= {
        "plan.json", "results.json", "results.md", "results.svg",
    }  # fmt: skip
    assert [name for name in changed if name.startswith("gallery/shards")] == []
    kept = [name for name in before if name.startswith(("features/north", "stages/01", "gallery/shards"))]
    assert len(kept) >= 6


def test_the_memory_holds_images_and_features_of_the_model_of_its_stage(finished):
    out, plan, _, _ = finished
    folder = Run(str(out), plan).stage(2).location
    done = Run(str(out), plan).stage(2).done
    memory = read_exemplars(f"{folder}/memory.parquet", sha256=done["memory_sha256"])
    assert len(memory) == done["memory_images"] == 6 * 2
    assert set(memory.stage) == {2}
    assert set(memory.label) == set(range(6, 12)), "numbered on after the six people of the first stage"
    assert set(memory.model_fingerprint) == {done["model_fingerprint"]}
    assert Path(memory.path[0]).read_bytes() == memory.image[0]
    embedder = load_embedder(f"{folder}/model")
    image = cv2.cvtColor(cv2.imdecode(np.frombuffer(memory.image[0], np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    assert np.allclose(embedder.embed([image])[0], memory.feature[0], atol=1e-5)


def test_the_gallery_has_each_domain_by_its_own_model(finished):
    out, plan, _, _ = finished
    gallery = Gallery.open(str(out / "gallery"))
    gallery.verify()
    features = gallery.features()
    fingerprints = [Run(str(out), plan).stage(number).done["model_fingerprint"] for number in (1, 2)]
    assert fingerprints[0] != fingerprints[1]
    assert [(features.model_fingerprint == one).sum() for one in fingerprints] == [24, 24]
    stored = read_parquet(str(out / "features/north/by-01.parquet")).select("gallery")
    assert np.allclose(features.feature[features.model_fingerprint == fingerprints[0]], stored.feature, atol=1e-6)


def test_the_same_command_again_trains_nothing(finished):
    out, plan, _, result = finished
    backend = Counting()
    assert run_sequence(plan, str(out), backend) == result
    assert backend.trained == []


def test_a_run_that_stopped_goes_on_with_the_stage_that_is_missing(domains, tmp_path, finished):
    plan = finished[1]
    with pytest.raises(RuntimeError, match="gone"):
        run_sequence(plan, str(tmp_path / "run"), Counting(fails_at=2))
    backend = Counting()
    result = run_sequence(plan, str(tmp_path / "run"), backend)
    assert backend.trained == [2]
    assert result == finished[3], "the same as the run that was never stopped"


def test_a_stage_that_could_not_say_that_it_was_done_says_so(tmp_path, finished):
    out, plan, _, result = finished
    open_run(str(out)).copy(str(tmp_path / "copy"))
    done = tmp_path / "copy/stages/02-south/done.json"
    before = json.loads(done.read_text(encoding="utf-8"))
    done.unlink()
    assert run_sequence(plan, str(tmp_path / "copy"), LocalBackend()) == result
    assert json.loads(done.read_text(encoding="utf-8"))["memory_sha256"] == before["memory_sha256"]


def test_a_copy_goes_on_with_another_method(domains, tmp_path, finished):
    open_run(str(finished[0])).copy(str(tmp_path / "copy"))
    old = open_run(str(tmp_path / "copy")).plan
    other = plan_of(domains, "east", recipe="finetune").stages
    with pytest.raises(ValueError, match="share the name 'east'"):
        replace(old, stages=(*old.stages, *other))
    longer = replace(old, stages=(*old.stages, replace(other[0], name="far-east")))
    backend = Counting()
    result = run_sequence(longer, str(tmp_path / "copy"), backend)
    assert backend.trained == [3]
    assert len(result["stages"]) == 3
    assert result["stages"][:2] == finished[3]["stages"]
    assert len(open_run(str(finished[0])).plan.stages) == 2
    with pytest.raises(ValueError, match="is not empty; give another --out"):
        open_run(str(finished[0])).copy(str(tmp_path / "copy"))


def test_a_memory_that_changed_stops_the_run(domains, tmp_path, finished):
    open_run(str(finished[0])).copy(str(tmp_path / "copy"))
    memory = tmp_path / "copy/stages/01-north/memory.parquet"
    data = bytearray(memory.read_bytes())
    data[len(data) // 2] ^= 1
    memory.write_bytes(data)
    with pytest.raises(ValueError, match=r"memory\.parquet.*changed since it was written"):
        run_sequence(finished[1], str(tmp_path / "copy"), Counting())


def test_other_settings_and_other_folders_are_refused(domains, tmp_path, finished):
    out, plan, _, _ = finished
    with pytest.raises(ValueError, match=r"stage north of the run has other settings \(config\.seed: 0 -> 5\)"):
        run_sequence(plan_of(domains, "north", "south", unseen=plan.unseen, seed=5), str(out), Counting())
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ValueError, match=r"holds other files and no plan\.json of a run"):
        run_sequence(plan, str(tmp_path), Counting())
    backend = Counting()
    missing = replace(plan, stages=(plan.stages[0], replace(plan.stages[1], dataset=str(domains / "west"))))
    with pytest.raises(ValueError, match="west: no such dataset folder"):
        run_sequence(missing, str(tmp_path / "new"), backend)
    assert backend.trained == [], "found before anything is trained"


def test_a_stage_says_in_what_it_differs_from_its_recipe(domains, tmp_path, capsys):
    plan = plan_of(domains, "north", epochs=1)
    run_sequence(plan, str(tmp_path / "run"), LocalBackend(), evaluate=False)
    said = capsys.readouterr().err.splitlines()
    listed = changes(plan.stages[0].config)
    assert "epochs: 5 -> 1" in listed
    assert [line.strip() for line in said if line.startswith("  ")] == listed


def test_joint_training_sees_all_images_so_far(domains, tmp_path):
    plan = plan_of(domains, "north", "south", "east", recipe="joint")
    run_sequence(plan, str(tmp_path / "run"), LocalBackend(), evaluate=False)
    images = read_images(Run(str(tmp_path / "run"), plan).stage(3).location)
    assert np.bincount(images.label).tolist() == [4] * 18
    assert len(set(images.path)) == 72
    assert Run(str(tmp_path / "run"), plan).stage(3).done["memory_images"] == 0


def test_a_run_begins_with_the_weights_that_it_was_given(domains, tmp_path, finished):
    given = str(finished[0] / "stages/01-north/model")
    plan = plan_of(domains, "east", start=given)
    run_sequence(plan, str(tmp_path / "run"), LocalBackend(), evaluate=False)
    begun = read_network(f"{Run(str(tmp_path / 'run'), plan).stage(1).location}/start.safetensors")
    weights = load_embedder(given).encoder.state_dict()
    assert all((begun[f"encoder.{name}"] == value).all() for name, value in weights.items())


def test_the_gate_says_by_how_much(finished, tmp_path):
    out, plan, _, result = finished
    table, own = np.array(result["table"]["mAP"], float), result["own"]["mAP"]
    gain, forgetting = table[1][0] - table[0][0], table[0][0] - own[1][0]
    gallery = Gallery.create(str(tmp_path / "gallery"), size=8, model_fingerprint="other")
    fingerprint = Run(str(out), plan).stage(2).done["model_fingerprint"]
    options = {"stage": 0, "max_forgetting": max(forgetting, 0) + 0.01, "gallery": str(tmp_path / "gallery")}
    with pytest.raises(Refusal, match=r"stage 2, south, is not promoted: .*north"):
        promote(str(out), **{**options, "tolerance": max(0, -gain - 1e-6), "max_forgetting": 0.0} if gain < 0 else {
            **options, "tolerance": 0.0, "max_forgetting": max(0.0, forgetting - 1e-6)
        })  # fmt: skip
    assert not (out / "promoted.json").exists()
    promoted = promote(str(out), **options, tolerance=max(0, -gain) + 0.01)
    assert promoted["model_fingerprint"] == fingerprint
    assert json.loads((out / "promoted.json").read_text(encoding="utf-8")) == promoted
    assert fingerprint in Gallery.open(gallery.location).stats().models
    (out / "promoted.json").unlink()
    with pytest.raises(ValueError, match="has finished stages 1 to 2, got --stage 3"):
        promote(str(out), **{**options, "stage": 3}, tolerance=0.0)


def test_a_stage_goes_on_with_another_number_of_workers(domains, tmp_path):
    """Who computes is no part of what is learned: the plan takes it, and so does the stage that was begun."""
    plan = plan_of(domains, "north", "south")
    with pytest.raises(RuntimeError, match="gone"):
        run_sequence(plan, str(tmp_path / "run"), Counting(fails_at=2), evaluate=False)
    more = {"workers": 2, "min_workers": 1, "checkpoint_every": 3}
    wider = plan_of(domains, "north", "south", scale=more)
    run_sequence(wider, str(tmp_path / "run"), LocalBackend(), evaluate=False)
    assert open_run(str(tmp_path / "run")).plan == wider
    with pytest.raises(ValueError, match=r"stage north of the run has other settings \(config.seed: 0 -> 5\)"):
        run_sequence(plan_of(domains, "north", "south", seed=5), str(tmp_path / "run"), LocalBackend())


def test_a_stage_in_one_process_that_was_stopped_goes_on_from_its_checkpoint(domains, tmp_path):
    plan = plan_of(domains, "north", precision="float64")
    whole = run_and_read(plan, tmp_path / "whole")
    take_step = StageLearner.step

    def stopping(self, batch, step):
        if step == 5:
            raise KeyboardInterrupt
        return take_step(self, batch, step)

    StageLearner.step = stopping
    try:
        with pytest.raises(KeyboardInterrupt):
            run_and_read(plan, tmp_path / "run")
    finally:
        StageLearner.step = take_step
    found = run_and_read(plan, tmp_path / "run")
    assert {name for name, value in whole.items() if not torch.equal(found[name], value)} == set()
    record = [line["step"] for line in read_metrics(Run(str(tmp_path / "run"), plan).stage(1).location)]
    assert record == list(range(1, len(record) + 1))


def run_and_read(plan, folder):
    run_sequence(plan, str(folder), LocalBackend(), evaluate=False)
    return read_network(Run(str(folder), plan).stage(1).network)
