"""Whole benchmarks in this process: what they leave, how they go on, what they refuse, and how runs compare."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evaluation.features.parquet import read_parquet
from lifelong.protocols.compare import compare
from lifelong.protocols.manifest import make_manifest, manifest_hash
from lifelong.protocols.plans import inter, intra
from lifelong.protocols.run import run_benchmark
from lifelong.runs.backend import LocalBackend
from lifelong.runs.scores import BenchmarkScoring
from tests.lifelong.people import write_people
from tests.lifelong.runs.runs import TINTS, config_of

SCORING = BenchmarkScoring()
CONFIG = config_of("finetune", batch_identities=2, epochs=1)


class Counting(LocalBackend):
    """Counts trainings and embedded images; goes away before one of the trainings."""

    def __init__(self, fails_at=0):
        self.trained, self.embedded, self.fails_at = [], [], fails_at

    def train(self, job):
        if job.stage == self.fails_at:
            raise RuntimeError("the machine is gone")
        self.trained.append(job.stage)
        return super().train(job)

    def embed(self, rows, model, **options):
        self.embedded.append((Path(model).parent.name, len(rows)))
        return super().embed(rows, model, **options)


@pytest.fixture(scope="module")
def domains(tmp_path_factory):
    folder = tmp_path_factory.mktemp("domains")
    for seed, (name, tint) in enumerate([*TINTS.items(), ("west", (0.7, 0.7, 1.0))]):
        write_people(folder / name, tint=tint, people=4, seed=seed)
    return folder


def intra_of(folder, config=CONFIG, **changes):
    plan = intra(str(folder / "north"), 2, config, **{"rule": "ascending", **changes})
    return plan, make_manifest(plan, "intra", protocol="market")


def inter_of(folder):
    specs = {name: f"{name}={folder / name}" for name in (*TINTS, "west")}
    domains, unseen = (specs["north"], specs["south"]), (specs["east"], specs["west"])
    plan, missing = inter(CONFIG, domains=domains, unseen=unseen, identities=3)
    return plan, make_manifest(plan, "inter", protocol="market", missing=missing)


@pytest.fixture(scope="module")
def within(domains, tmp_path_factory):
    """An intra-domain run that stopped before its second task, and went on."""
    out, (plan, manifest) = tmp_path_factory.mktemp("intra") / "run", intra_of(domains)
    with pytest.raises(RuntimeError, match="gone"):
        run_benchmark(plan, str(out), Counting(fails_at=2), manifest, SCORING)
    assert json.loads((out / "manifest.json").read_text(encoding="utf-8")) == manifest, "written before training"
    assert not (out / "benchmark.json").exists()
    backend = Counting()
    result = run_benchmark(plan, str(out), backend, manifest, SCORING)
    assert backend.trained == [2]
    return out, result


def test_intra_is_a_curve_over_the_whole_test_set(within, domains):
    out, result = within
    assert json.loads((out / "benchmark.json").read_text(encoding="utf-8")) == result
    assert [task["name"] for task in result["tasks"]] == ["task01", "task02"]
    curve = [task["datasets"]["folder"] for task in result["tasks"]]
    assert [(scores["num_queries"], scores["num_gallery"]) for scores in curve] == [(8, 16), (8, 16)]
    for name in ("mAP", "rank1"):
        values = [scores[name] for scores in curve]
        assert result["summary"][f"last/{name}"] == values[-1]
        assert result["summary"][f"mean/{name}"] == pytest.approx(np.mean(values))
    assert set(result["summary"]) == {"last/mAP", "last/rank1", "mean/mAP", "mean/rank1"}
    page = (out / "benchmark.md").read_text(encoding="utf-8")
    assert "what it forgets of the people of earlier tasks is not measured" in page
    assert f"| task02 | {100 * curve[1]['mAP']:.1f} | {100 * curve[1]['rank1']:.1f} |" in page
    assert "| task01 | folder | 2 | 8 |" in page
    assert "<svg" in (out / "benchmark.svg").read_text(encoding="utf-8")


def test_inter_scores_all_domains_so_far_and_the_unseen_both_ways(domains, tmp_path):
    out, (plan, manifest) = tmp_path / "run", inter_of(domains)
    result = run_benchmark(plan, str(out), LocalBackend(), manifest, SCORING)
    first, last = result["tasks"]
    assert (list(first["datasets"]), list(last["datasets"])) == (["north"], ["north", "south"])
    assert [task["images"] for task in manifest["tasks"]] == [12, 12]
    for name in ("mAP", "rank1"):
        both = [last["datasets"][domain][name] for domain in ("north", "south")]
        assert result["summary"][f"seen/{name}"] == pytest.approx(np.mean(both))
        assert result["summary"][f"forgetting/{name}"] == pytest.approx(first["datasets"]["north"][name] - both[0])
        each = [last["unseen"]["datasets"][domain][name] for domain in ("east", "west")]
        assert result["summary"][f"unseen-averaged/{name}"] == pytest.approx(np.mean(each))
        assert result["summary"][f"unseen-merged/{name}"] == last["unseen"]["merged"][name] <= np.mean(each)
    assert last["unseen"]["merged"]["num_gallery"] == 32
    assert len(set(read_parquet(str(out / "features/east/by-02.parquet")).model_fingerprint)) == 1
    page = (out / "benchmark.md").read_text(encoding="utf-8")
    assert "that are not there, and are not tested: viper, i-lids, prid" in page
    assert "| task | dataset | identities | images |" in page


def test_the_same_command_again_does_nothing_and_another_matcher_only_that(within, domains, tmp_path):
    out, result = within
    shutil.copytree(out, tmp_path / "run")
    plan, manifest = intra_of(domains)
    backend = Counting()
    assert run_benchmark(plan, str(tmp_path / "run"), backend, manifest, SCORING) == result
    assert (backend.trained, backend.embedded) == ([], [])
    by_maps = run_benchmark(plan, str(tmp_path / "run"), backend, manifest, BenchmarkScoring(matcher="qaconv"))
    assert backend.trained == []
    assert [task["datasets"]["folder"]["matcher"] for task in by_maps["tasks"]] == ["qaconv"] * 2
    assert (tmp_path / "run/features/folder/by-02.maps/maps.npy").exists()


def test_a_lost_file_of_features_is_made_again(within, domains, tmp_path):
    shutil.copytree(within[0], tmp_path / "run")
    shutil.rmtree(tmp_path / "run/scores")
    (tmp_path / "run/features/folder/by-01.parquet").unlink()
    backend = Counting()
    plan, manifest = intra_of(domains)
    assert run_benchmark(plan, str(tmp_path / "run"), backend, manifest, SCORING) == within[1]
    assert backend.embedded == [("01-task01", 24)]


def test_other_data_other_settings_and_other_folders_are_refused(within, domains, tmp_path):
    out = str(within[0])
    plan, manifest = intra_of(domains)
    shuffled, its_manifest = intra_of(domains, rule="shuffled")
    with pytest.raises(ValueError, match=r"benchmark with other settings \(the data, rule: all identities in 2 tasks"):
        run_benchmark(shuffled, out, Counting(), its_manifest, SCORING)
    other = intra_of(domains, config=replace(CONFIG, seed=9))[0]
    with pytest.raises(ValueError, match=r"stage task01 of the run has other settings \(config\.seed: 0 -> 9\)"):
        run_benchmark(other, out, Counting(), manifest, SCORING)
    with pytest.raises(ValueError, match="the manifest is of protocol market, not aka"):
        run_benchmark(plan, out, Counting(), manifest, BenchmarkScoring(protocol="aka"))
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ValueError, match=r"holds other files and no manifest\.json"):
        run_benchmark(plan, str(tmp_path), Counting(), manifest, SCORING)


def copy_with(out, target, *, seed=None, recipe=None, score=None):
    """A run as another seed or method would have left it."""
    shutil.copytree(out, target)
    result = json.loads((target / "benchmark.json").read_text(encoding="utf-8"))
    result |= {key: value for key, value in (("seed", seed), ("recipe", recipe)) if value is not None}
    if score is not None:
        result["summary"]["last/mAP"] = score
    (target / "benchmark.json").write_text(json.dumps(result), encoding="utf-8")
    return str(target)


def test_seeds_of_a_method_are_a_mean_with_a_deviation(within, tmp_path):
    scores = (0.2, 0.3, 0.7)
    runs = [copy_with(within[0], tmp_path / str(seed), seed=seed, score=score) for seed, score in enumerate(scores)]
    alone = copy_with(within[0], tmp_path / "other", recipe="replay")
    seeds, other = compare([*runs, alone])
    assert (seeds["recipe"], seeds["seeds"], other["recipe"]) == ("finetune-tiny", [0, 1, 2], "replay")
    assert seeds["mean"]["last/mAP"] == pytest.approx(0.4)
    assert seeds["deviation"]["last/mAP"] == pytest.approx(np.sqrt((0.04 + 0.01 + 0.09) / 2))
    assert other["deviation"]["last/mAP"] is None


def test_runs_of_other_manifests_are_not_compared(within, tmp_path):
    one, other = str(within[0]), copy_with(within[0], tmp_path / "other")
    manifest = json.loads((tmp_path / "other/manifest.json").read_text(encoding="utf-8"))
    manifest["tasks"][1]["identities"] = 3
    (tmp_path / "other/manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(ValueError, match=r"benchmark\.json is of another manifest\.json; run its command again"):
        compare([one, other])
    result = json.loads((tmp_path / "other/benchmark.json").read_text(encoding="utf-8"))
    result["manifest"] = manifest_hash(manifest)
    (tmp_path / "other/benchmark.json").write_text(json.dumps(result), encoding="utf-8")
    with pytest.raises(ValueError, match="cannot be compared: task02: 2 identities against 3"):
        compare([one, other])
    with pytest.raises(ValueError, match="name one or more different runs"):
        compare([one, one])
    with pytest.raises(ValueError, match=r"no finished benchmark \(no manifest\.json\)"):
        compare([one, str(tmp_path)])
