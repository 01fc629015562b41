"""The demo's folder: one demo in it, gone on with and not mixed. The chain itself is what `.ci/run` runs, small."""

import json

import pytest

from pretrain.demo.chain import DemoConfig, claim_demo, run_demo, run_of, street_of
from pretrain.recipes import infonce_tiny, isr_tiny


def finished(folder, summary):
    claim_demo(str(folder), DemoConfig(out=str(folder)))
    (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")


def start(folder, **changes):
    return run_demo(DemoConfig(out=str(folder), **changes))


def test_a_finished_demo_is_not_run_again(tmp_path, capsys):
    finished(tmp_path, {"retrieval": {"isr": {"mAP": 0.5}}})
    assert start(tmp_path) == {"retrieval": {"isr": {"mAP": 0.5}}}
    assert f"remove {tmp_path} to run it again" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("changes", [{"seed": 1}, {"size": "quick"}])
def test_another_demo_in_the_same_folder_is_refused(tmp_path, changes):
    finished(tmp_path, {})
    start(tmp_path)
    with pytest.raises(
        ValueError,
        match=r"belongs to a demo with other settings \(.*; go on with the same options",
    ):
        start(tmp_path, **changes)


@pytest.mark.parametrize("size", ["full", "quick"])
def test_the_compared_trainings_differ_in_beta_and_name_alone(size):
    config = DemoConfig(size=size, seed=3)
    isr, infonce = run_of(config, isr_tiny()), run_of(config, infonce_tiny())
    assert isr.loss.beta > 0
    assert infonce.loss.beta == 0
    different = [name for name in isr.__slots__ if getattr(isr, name) != getattr(infonce, name)]
    assert different == ["recipe", "loss"]
    assert [name for name in isr.loss.__slots__ if getattr(isr.loss, name) != getattr(infonce.loss, name)] == ["beta"]


def test_the_seed_reaches_the_street_and_the_training():
    config = DemoConfig(seed=7)
    assert street_of(config).seed == run_of(config, isr_tiny()).seed == 7
