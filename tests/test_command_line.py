"""The programs as they are started: how long they take to answer, and whether the tables say what is there."""

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import evaluation.__main__
import evaluation.datasets.__main__
import lifelong.__main__
import pretrain.__main__
from cluster.console import Command
from lifelong import perennial

ROOT = Path(__file__).parents[1]
PROGRAMS = {
    "pretrain": pretrain.__main__.COMMANDS,
    "evaluation": evaluation.__main__.COMMANDS,
    "evaluation.datasets": evaluation.datasets.__main__.COMMANDS,
    "lifelong": lifelong.__main__.COMMANDS,
}


def commands_of(table: Mapping[str, Command], program: str) -> Iterator[tuple[str, Command]]:
    for name, command in table.items():
        if isinstance(command.target, str):
            yield f"{program} {name}", command
        else:
            yield from commands_of(command.target, f"{program} {name}")


ALL = [found for program, table in PROGRAMS.items() for found in commands_of(table, program)]


def load(target: str) -> object:
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize(("name", "command"), ALL, ids=[name for name, _ in ALL])
def test_a_command_is_there_and_its_help_is_its_docstrings_first_line(name: str, command: Command):
    found = load(command.target)
    if isinstance(found, Mapping):
        return
    assert command.help == found.__doc__.strip().splitlines()[0]
    if command.recipes:
        assert all(callable(make) for make in load(command.recipes).values())
    if command.prepare:
        assert load(command.prepare)(None, ["--a", "1"]) == (None, ["--a", "1"])


def test_perennial_has_every_program():
    assert [load(command.target) for command in perennial.COMMANDS.values()] == [
        PROGRAMS[name] for name in perennial.COMMANDS
    ]


PROGRAM = """
import atexit, resource, sys
sys.argv = sys.argv[1:]
@atexit.register
def tell():
    used = resource.getrusage(resource.RUSAGE_SELF)
    heavy = sorted({"numpy", "ray", "torch", "tyro"} & set(sys.modules))
    print(heavy, used.ru_utime + used.ru_stime, file=sys.stderr)
import runpy
runpy.run_module(sys.argv[0], run_name="__main__")
"""


@pytest.mark.parametrize("program", [*PROGRAMS, "lifelong gallery", "lifelong benchmark"])
def test_help_does_not_wait_for_what_trains(program: str):
    argv = [sys.executable, "-c", PROGRAM, *program.split(), "--help"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.startswith(f"usage: python -m {program} COMMAND")
    heavy, seconds = done.stderr.rsplit(maxsplit=1)
    assert heavy == "[]"
    assert float(seconds) < 3, "0.15 s where it was measured"


def test_a_command_loads_what_it_needs_alone():
    """To draw a street nothing is trained, and to search a gallery no cluster is asked."""
    for line, absent in ("pretrain street", {"ray"}), ("lifelong gallery stats", {"ray"}):
        argv = [sys.executable, "-c", PROGRAM, *line.split(), "--help"]
        done = subprocess.run(argv, cwd=ROOT, capture_output=True, encoding="utf-8", check=True)
        heavy = done.stderr.rsplit(maxsplit=1)[0]
        assert not absent & set(json.loads(heavy.replace("'", '"'))), line


def test_the_version_is_told():
    done = subprocess.run(
        [sys.executable, "-m", "pretrain", "--version"], cwd=ROOT, capture_output=True, encoding="utf-8", check=True
    )
    assert done.stdout == "perennial-reid 0.2.0\n"
