"""Stages on Ray: the same network as in one process, and a worker that dies."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import pretrain.training.ray_train
from evaluation.qaconv.maps import open_maps
from lifelong.models.files import read_network
from lifelong.runs.backend import LocalBackend
from lifelong.runs.run import Run, open_run
from lifelong.runs.sequence import run_sequence
from lifelong.train import RayBackend
from lifelong.training.stage_learner import StageLearner
from pretrain.training.ray_train import train_loop
from pretrain.training.record import read_metrics
from tests.lifelong.runs.runs import plan_of, write_domains

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("one_thread")]


@pytest.fixture(scope="module")
def domains(tmp_path_factory):
    folder = tmp_path_factory.mktemp("domains")
    write_domains(folder)
    return folder


@pytest.fixture(scope="module")
def local(domains, tmp_path_factory):
    out = str(tmp_path_factory.mktemp("local") / "run")
    plan = plan_of(domains, "north", "south", precision="float64")
    first = str(tmp_path_factory.mktemp("first") / "run")
    run_sequence(replace(plan, stages=plan.stages[:1]), first, LocalBackend())
    open_run(first).copy(out)
    return plan, first, out, run_sequence(plan, out, LocalBackend())


def dies_once_in_stage_two(marker: Path):
    """The real loop in a worker that ends its process, as a backend that goes away does, once, after a checkpoint."""

    def loop(settings):
        take_step = StageLearner.step

        def fragile(self, batch, number):
            if self.stage == 2 and number == 5 and not marker.exists():
                marker.touch()
                os._exit(1)
            return take_step(self, batch, number)

        StageLearner.step = fragile
        train_loop(settings)

    return loop


def test_ray_trains_what_one_process_trains_also_when_a_worker_dies(
    ray_cluster: None, local, domains: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    plan, first, expected_run, expected = local
    monkeypatch.setattr(pretrain.training.ray_train, "train_loop", dies_once_in_stage_two(tmp_path / "died"))
    out = str(tmp_path / "run")
    open_run(first).copy(out)
    result = run_sequence(plan, out, RayBackend())
    assert (tmp_path / "died").exists()
    found, wanted = (read_network(Run(run, plan).stage(2).network) for run in (out, expected_run))
    for name, value in wanted.items():
        assert torch.allclose(found[name], value, rtol=1e-9, atol=1e-12), name
    assert [record["step"] for record in read_metrics(Run(out, plan).stage(2).location)] == list(range(1, 7))
    assert result["stages"][1]["stored"]["mAP"] == pytest.approx(expected["stages"][1]["stored"]["mAP"], abs=0.02)


def test_ray_follows_the_graph_of_every_epoch(ray_cluster: None, domains: Path, tmp_path: Path):
    """The next epoch's samples wait for the graph that the training process makes when this epoch ends."""
    plan = plan_of(domains, "north", recipe="qaconv-gs", steps=15, scale={"workers": 2}, precision="float64")
    backends = {"local": LocalBackend(), "ray": RayBackend()}
    for name, backend in backends.items():
        run_sequence(plan, str(tmp_path / name), backend, evaluate=False)
    folders = [Path(Run(str(tmp_path / name), plan).stage(1).location) for name in backends]
    graphs = [sorted((folder / "graphs").iterdir()) for folder in folders]
    assert [path.name for path in graphs[0]] == [path.name for path in graphs[1]]
    assert len(graphs[0]) == 3
    assert graphs[0][0].read_text(encoding="utf-8") == graphs[1][0].read_text(encoding="utf-8"), (
        "both begin with the same network"
    )
    wanted, found = (read_network(str(folder / "network.safetensors")) for folder in folders)
    for name, value in wanted.items():
        assert torch.allclose(found[name], value, rtol=1e-6, atol=1e-9), name
    rows = [row for row in plan.stages[0].rows() if row.split == "query"]
    for name, backend in backends.items():
        backend.embed_maps(rows, str(folders[0] / "model"), str(tmp_path / f"{name}.parquet"), use_gpu=False)
    with open_maps(str(tmp_path / "local.maps")) as here, open_maps(str(tmp_path / "ray.maps")) as there:
        assert np.allclose(here.array, there.array, atol=1e-3)
        assert there.head.to_json() == here.head.to_json()


def test_a_plan_that_does_not_fit_is_refused(ray_cluster: None, domains: Path, tmp_path: Path):
    plan = plan_of(domains, "north", batch_identities=400, scale={"workers": 400}, epochs=100)
    with pytest.raises(ValueError, match=r"needs 801 CPUs .* 400 x 2 for training workers \(--workers"):
        run_sequence(plan, str(tmp_path / "run"), RayBackend())
