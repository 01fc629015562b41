"""Every study can be made, sent to other processes, and its stored table is that of its stored numbers."""

import ast
import importlib
import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import results_file
from benchmarks.studies import STUDIES
from benchmarks.studies.__main__ import commands, module_of
from benchmarks.studies.study import changes_of
from cluster.errors import InputError

ROOT = Path(__file__).parents[2]
NEEDS_DATA = {"real-video"}
SAVED = [path for path in sorted(results_file.FOLDER.glob("*.json")) if results_file.read(str(path))["kind"] == "study"]


def make(name: str, **options):
    data = {"data": "/films"} if name in NEEDS_DATA else {}
    return importlib.import_module(module_of(name)).study(**data, **options)


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_has_arms_seeds_and_settings_and_can_be_sent_to_other_processes(name):
    study = make(name)
    assert study.name == name
    assert study.arms
    assert len(study.seeds) >= 3
    assert len({json.dumps(settings, sort_keys=True) for settings in study.arms.values()}) == len(study.arms)
    for one in [study.run, *(one for group in study.prepare for one in group.values())]:
        pickle.dumps(one)


@pytest.mark.parametrize("path", SAVED, ids=lambda path: path.stem)
def test_a_stored_table_is_that_of_the_stored_numbers(path):
    content = results_file.read(str(path))
    module = importlib.import_module(module_of(content["name"].removesuffix("-real")))
    assert module.table(content["results"]) == content["table"]


def test_a_study_of_less_is_refused_by_nothing_and_of_unknown_arms_by_name():
    assert list(make("metric-seeds", arms=("dwopp, T = 1",), seeds=(3,)).arms) == ["dwopp, T = 1"]
    with pytest.raises(InputError, match=r"there is no arm 'dwopp'; there are 'bot-finetune', "):
        make("metric-seeds", arms=("dwopp",))
    with pytest.raises(InputError, match="no arm 'sim'"):
        make("reliability", arms=("sim",))
    with pytest.raises(InputError, match="--over must be NAME=VALUE, got 'steps'"):
        changes_of(["steps"])


def test_settings_tell_what_a_changed_option_changes():
    assert make("metric-seeds", steps=2).arms["joint"]["others"]["steps"] == 2
    assert make("reliability", epochs=3).arms["infonce"] != make("reliability").arms["infonce"]
    assert make("lifelong-seeds", over=("epochs=3",)).arms["bct"]["first"]["epochs"] == 3
    assert make("reliability", data="/films").name == "reliability-real"


def test_studies_are_listed_with_the_first_line_of_their_modules():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.studies", "--help"],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    for name in STUDIES:
        path = ROOT / "benchmarks" / "studies" / f"{name.replace('-', '_')}.py"
        assert f"{ast.get_docstring(ast.parse(path.read_text(encoding='utf-8'))).splitlines()[0]}\n" in done.stdout
        assert commands()[name]
