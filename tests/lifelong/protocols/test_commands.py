"""The commands, in this process and without Ray: exit codes, one-line errors, JSON as the last line of output."""

import json

import pytest

from cluster.console import run_cli
from lifelong.__main__ import BENCHMARK
from lifelong.protocols import commands
from lifelong.runs.backend import LocalBackend
from tests.lifelong.people import write_people

SMALL = "--model.embedding-size 8 --model.height 32 --model.width 16 --batch-identities 2 --epochs 1"


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(commands, "RayBackend", LocalBackend)
    for seed, name in enumerate(("north", "south")):
        write_people(tmp_path / name, people=4, seed=seed)

    def start(line):
        with pytest.raises(SystemExit) as exit_:
            run_cli("python -m lifelong benchmark", BENCHMARK, line.replace("DIR", str(tmp_path)).split())
        captured = capsys.readouterr()
        return exit_.value.code, captured.out, captured.err

    return start


def test_two_seeds_are_run_and_compared(run):
    for seed in (0, 1):
        out = f"--out DIR/run{seed} --seed {seed}"
        code, printed, err = run(f"intra finetune-tiny --dataset DIR/north --tasks 2 {out} {SMALL}")
        assert (code, len(printed.splitlines())) == (0, 1)
        assert {"out", "manifest", "last/mAP", "mean/rank1"} <= set(json.loads(printed))
        assert "Shuffled tasks are this project's own" in err
    code, printed, err = run("compare DIR/run0 DIR/run1")
    (method,) = json.loads(printed)["methods"]
    assert (code, method["recipe"], method["seeds"]) == (0, "finetune-tiny", [0, 1])
    assert f"{100 * method['mean']['last/mAP']:.1f} ± {100 * method['deviation']['last/mAP']:.1f}" in err


def test_domains_are_run(run):
    code, printed, err = run(
        f"inter finetune-tiny --domain a=DIR/north --domain b=DIR/south --identities 2 --out DIR/run {SMALL}"
    )
    assert (code, "forgetting/mAP" in json.loads(printed)) == (0, True)
    assert "not tested: viper, i-lids, prid, grid, sensereid, cuhk01, cuhk02" in err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("intra finetune-tiny --dataset DIR/north --tasks 5 --out DIR/run", "4 identities cannot be cut into 5 tasks"),
        ("intra finetune-tiny --dataset DIR/west --out DIR/run", "no such dataset folder"),
        ("intra finetune-tiny --dataset DIR/north", "Missing from python -m lifelong benchmark intra"),
        ("intra finetune-tiny --dataset market1501:DIR/north --out DIR/run", "an incomplete copy"),
        ("intra finetune-tyni --dataset DIR/north --out DIR/run", "perhaps you meant finetune-tiny;"),
        ("intra finetune-tiny --dataset DIR/north --out DIR/run --rule random", "invalid choice"),
        ("intra finetune-tiny --dataset DIR/north --out DIR/run --protocol markt", "there is no protocol 'markt'"),
        ("inter finetune-tiny --order 1 --root DIR --out DIR/run", "give --domain market1501=SPEC (DukeMTMC-reID was"),
        ("inter finetune-tiny --out DIR/run", "name --order 1 or 2 with --root DIR, or at least two --domain"),
        ("compare DIR/run", "is no finished benchmark"),
        ("compare", "name one or more different runs, got none"),
        ("mix", "has no command 'mix'; it has: intra, inter, compare"),
    ],
)
def test_mistakes_end_with_two_and_one_line(run, line, message):
    code, printed, err = run(line)
    assert (code, printed) == (2, "")
    assert len(err.splitlines()) == 1
    assert message in err
