"""What the environment of CPU workers does to page faults."""

import os
import subprocess
import sys

import pytest

from cluster.memory import KEEPING, keeping_memory

BLOCKS = 20
PAGES = 40 * 2**20 // 4096
"""Of a block of 40 MiB, which is more than glibc ever learns to keep by itself."""
SCRIPT = f"""
import resource, threading


def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range({BLOCKS}):
        b"x" * (40 * 2**20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

found = []
thread = threading.Thread(target=lambda: found.append(faults()))
thread.start()
thread.join()
print(found[0])
"""


def page_faults_beside_the_main_thread(environment: dict[str, str]) -> int:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    command = [sys.executable, "-c", SCRIPT]
    return int(
        subprocess.run(
            command, env=plain | environment, capture_output=True, text=True, check=True, encoding="utf-8"
        ).stdout
    )


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of glibc")
def test_a_block_that_is_needed_again_and_again_is_asked_for_once():
    pages_of_one = page_faults_beside_the_main_thread(keeping_memory()) / PAGES
    assert pages_of_one < 2 < BLOCKS / 2 < page_faults_beside_the_main_thread({}) / PAGES


def test_what_the_environment_says_already_wins(monkeypatch: pytest.MonkeyPatch):
    for name in KEEPING:
        monkeypatch.delenv(name, raising=False)
    assert keeping_memory() == KEEPING
    monkeypatch.setenv("MALLOC_ARENA_MAX", "4")
    assert keeping_memory() == KEEPING | {"MALLOC_ARENA_MAX": "4"}
