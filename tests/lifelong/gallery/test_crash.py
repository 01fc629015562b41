"""Writers that are killed at any moment, and writers at the same time, lose nothing that was acknowledged."""

import os
import signal
import time

import numpy as np
import pytest

from evaluation.metrics.distances import unit_rows
from lifelong.gallery.gallery import Gallery
from lifelong.gallery.verification import orphans_of
from tests.lifelong.gallery.rows import add_batches, make_gallery, make_rows
from tests.processes import quick_processes

pytestmark = pytest.mark.slow

KILLS = 50
ROWS = 20
BATCHES = 1000
LONGEST_SECONDS = 0.05


def check(gallery, acknowledged, allowed):
    """Every acknowledged batch is there, whole and once, and nothing but whole batches is there."""
    found = gallery.features()
    seeds, counts = np.unique([int(path.split("/")[0]) for path in found.path], return_counts=True)
    assert set(acknowledged) <= set(seeds.tolist()) <= set(allowed)
    assert set(counts.tolist()) == {ROWS}, "no batch in parts, none twice"
    for seed in acknowledged[-3:]:
        rows = make_rows(seed, ROWS)
        is_of_batch = [path.startswith(f"{seed}/") for path in found.path]
        np.testing.assert_array_equal(found.feature[is_of_batch], unit_rows(rows.feature))


def drain(connection):
    """What was acknowledged before the writer's end."""
    received = []
    try:
        while connection.poll(1):
            received.append(connection.recv())
    except EOFError:
        return received
    raise AssertionError("the writer still holds its end")


def test_nothing_acknowledged_is_lost_when_writers_are_killed(tmp_path):
    gallery = make_gallery(tmp_path / "g")
    context = quick_processes()
    rng = np.random.default_rng(0)
    acknowledged, interrupted = [], 0
    for kill in range(KILLS):
        receiver, sender = context.Pipe(duplex=False)
        arguments = (gallery.location, kill * BATCHES, BATCHES, ROWS, sender)
        process = context.Process(target=add_batches, args=arguments)
        process.start()
        sender.close()
        acknowledged.append(receiver.recv())  # it is at work; the first batch only shows that
        time.sleep(rng.uniform(0, LONGEST_SECONDS))
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        acknowledged += drain(receiver)
        interrupted += len(orphans_of(gallery.location)) > interrupted
        if kill % 10 == 0:
            gallery.verify()
    assert interrupted, "no kill came at a bad moment; the test shows nothing"
    check(gallery, acknowledged, range(KILLS * BATCHES))
    gallery.compact(orphan_seconds=0)
    assert gallery.verify().orphans == ()
    check(gallery, acknowledged, range(KILLS * BATCHES))


def test_two_writers_lose_nothing(tmp_path):
    location = make_gallery(tmp_path / "g").location
    context = quick_processes()
    pipes = [context.Pipe(duplex=False) for _ in range(2)]
    processes = [
        context.Process(target=add_batches, args=(location, 1000 * number, 20, ROWS, sender))
        for number, (_, sender) in enumerate(pipes)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    for _, sender in pipes:
        sender.close()
    acknowledged = [seed for receiver, _ in pipes for seed in drain(receiver)]
    assert sorted(acknowledged) == [*range(20), *range(1000, 1020)]
    gallery = Gallery.open(location)
    check(gallery, acknowledged, acknowledged)
    stats = gallery.verify()
    assert (stats.items, stats.shards, stats.orphans) == (40 * ROWS, 40, ())
    assert gallery.manifest.next_item == 40 * ROWS
