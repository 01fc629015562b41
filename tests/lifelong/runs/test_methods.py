"""Runs of the methods that have a sampler, a branch or a schedule of their own."""

import pytest
from safetensors.torch import load_file

from cluster import storage
from lifelong.runs.backend import LocalBackend
from lifelong.runs.run import Run
from lifelong.runs.sequence import run_sequence
from pretrain.models.directory import load_embedder
from tests.lifelong.runs.runs import plan_of, write_domains

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def domains(tmp_path_factory):
    folder = tmp_path_factory.mktemp("domains")
    write_domains(folder)
    return folder


@pytest.fixture(scope="module")
def matched(domains, tmp_path_factory):
    out = str(tmp_path_factory.mktemp("run"))
    plan = plan_of(domains, "north", "south", recipe="qaconv-gs", steps=6, unseen=(f"east={domains / 'east'}",))
    run_sequence(plan, out, LocalBackend())
    return plan, out


def test_models_that_match_are_scored_by_matching(matched):
    _, out = matched
    found = storage.read_json(f"{out}/matching.json")
    assert list(found) == ["north", "south"]
    assert list(found["south"]["datasets"]) == ["north", "south"]
    assert set(found["south"]["unseen"]) == {"datasets", "averaged", "merged"}
    assert found["south"]["datasets"]["north"]["matcher"] == "qaconv"
    assert storage.exists(f"{out}/features/north/by-02.maps/maps.npy")


def test_a_later_stage_goes_on_with_the_branch(matched):
    plan, out = matched
    last = load_file(f"{Run(out, plan).model(1)}/matching.safetensors")
    start = load_file(f"{out}/stages/02-south/start.safetensors")
    trained = load_file(f"{Run(out, plan).model(2)}/matching.safetensors")
    assert all((start[f"matching.{name}"] == value).all() for name, value in last.items())
    assert not (trained["neck.weight"] == last["neck.weight"]).all()
    assert load_embedder(Run(out, plan).model(2)).head is not None


def test_a_graph_is_kept_of_every_epoch(matched):
    _, out = matched
    assert storage.list_files(f"{out}/stages/02-south/graphs")


@pytest.mark.parametrize("recipe", ["dwopp", "qaconv-memory"])
def test_a_run_of_two_stages(domains, tmp_path, recipe):
    plan = plan_of(domains, "north", "south", recipe=recipe, steps=5)
    result = run_sequence(plan, str(tmp_path), LocalBackend())
    assert 0 < result["stages"][-1]["stored"]["mAP"] <= 1
    done = storage.read_json(f"{tmp_path}/stages/02-south/done.json")
    assert done["steps"] == 5
    assert ("loss/prototype_distillation" in done["metrics"]) == (recipe == "dwopp")
    # The memory of maps serves one stage.
    assert not [n for n in load_file(f"{tmp_path}/stages/01-north/network.safetensors") if "class_memory" in n]


def test_an_adaptive_stage_may_end_early(domains, tmp_path):
    plan = plan_of(domains, "north", schedule="adaptive", epochs=60)
    run_sequence(plan, str(tmp_path), LocalBackend(), evaluate=False)
    done = storage.read_json(f"{tmp_path}/stages/01-north/done.json")
    assert done["metrics"]["optimizer/learning_rate"] == pytest.approx(2e-4)
    assert done["steps"] == done["metrics"]["step"] < 60 * 3
