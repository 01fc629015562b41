"""A gallery of millions on a local disk: what adding, indexing and searching cost, in time and memory.

``python -m benchmarks.speed.gallery 10000000 FOLDER`` runs the large case: about 7 GB of disk, some 20 minutes on
two cores.
"""

import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from evaluation.features.table import Features
from evaluation.metrics.distances import unit_rows
from lifelong.gallery.gallery import Gallery
from lifelong.gallery.searcher import Searcher

SPEED_BUDGET = 5.0
RECALL_BUDGET = 0.95
SIZE = 128
IMAGES_PER_IDENTITY = 50
NOISE = 0.6
"""Length of what an image adds to its identity's unit vector: two images of a person have a cosine of 0.74."""
BATCH = 250_000
NUM_QUERIES = 1000
K = 10
MODELS = ("first", "second")


def ivf_against_flat(count: int = 1_000_000, folder: str | None = None) -> dict[str, float]:
    """Queries per second of the index over those of the exhaustive search, for so many images of D = 128.

    Beside it: recall at 10, seconds of each phase, and the peak memory of the process that did it all.
    """
    with tempfile.TemporaryDirectory(dir=folder) as place:
        # the allocator's settings of `make bench` trade memory for speed; this asks what a user's process takes
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
        command = [sys.executable, "-m", "benchmarks.speed.gallery", "--child", str(count), f"{place}/gallery"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment, encoding="utf-8")
    return json.loads(done.stdout.splitlines()[-1])


def measure(count: int, location: str) -> dict[str, float]:
    """Add, index and search, in this process."""
    found: dict[str, float] = {"count": count, "raw_gb": 4 * SIZE * count / 1e9}
    centre_ID = unit_rows(_noise(np.random.default_rng(0), max(1, count // IMAGES_PER_IDENTITY)))
    gallery = Gallery.create(location, size=SIZE, model_fingerprint=MODELS[0])
    gallery.declare(MODELS[1])
    # one at a time: a loop's variable would keep the last batch
    found["add_seconds"] = sum(map(functools.partial(_seconds_of_adding, gallery), _batches(centre_ID, count)))
    found["add_peak_gb"] = _peak_gb()
    query_QD = unit_rows(next(_batches(centre_ID, NUM_QUERIES, seed=1)).feature)
    del centre_ID
    manifest = gallery.manifest
    searcher = Searcher(location, f"{location}/index")
    found["build_seconds"] = _seconds(lambda: searcher.nearest(query_QD[:1], K, manifest))
    found["build_peak_gb"] = _peak_gb()
    options = {"k": K, "model_fingerprint": MODELS[1]}
    found["nearest_per_second"] = NUM_QUERIES / _seconds(lambda: searcher.nearest(query_QD, K, manifest))
    _, candidates = searcher.nearest(query_QD, K, manifest)
    start = time.perf_counter()
    hits = searcher.search(query_QD, kind="ivf", **options)
    ivf_seconds = time.perf_counter() - start
    found["one_query_seconds"] = (
        _seconds(lambda: [searcher.search(query_QD[[q]], kind="ivf", **options) for q in range(20)]) / 20
    )
    found["search_peak_gb"] = _peak_gb()
    del searcher
    searcher = Searcher(location, f"{location}/index")  # as in a new process
    found["load_seconds"] = _seconds(lambda: searcher.nearest(query_QD[:1], K, manifest))
    start = time.perf_counter()
    exact = searcher.search(query_QD, kind="flat", **options)
    flat_seconds = time.perf_counter() - start
    found["index_recall"], found["recall"] = _recall(candidates, exact.item), _recall(hits.item, exact.item)
    if found["recall"] < RECALL_BUDGET:
        raise RuntimeError(f"recall at {K} is {found['recall']}, and should be {RECALL_BUDGET}")
    found["peak_gb"] = _peak_gb()
    found["ivf_per_second"], found["flat_per_second"] = NUM_QUERIES / ivf_seconds, NUM_QUERIES / flat_seconds
    found["disk_gb"] = (
        sum(os.path.getsize(f"{path}/{name}") for path, _, names in os.walk(location) for name in names) / 1e9
    )
    return {"ratio": flat_seconds / ivf_seconds, **found}


def _seconds_of_adding(gallery: Gallery, features: Features) -> float:
    return _seconds(lambda: gallery.add(features))


def _batches(centre_ID: NDArray[np.float32], count: int, seed: int = 0) -> Iterator[Features]:
    for start in range(0, count, BATCH):
        rng = np.random.default_rng((seed, start))
        num = min(BATCH, count - start)
        identity = rng.integers(len(centre_ID), size=num)
        yield Features(
            feature=unit_rows(centre_ID[identity] + NOISE / SIZE**0.5 * _noise(rng, num)),
            identity=identity,
            camera=rng.integers(0, 100, num),
            time_seconds=np.arange(start, start + num, dtype=np.float64),
            path=np.array([f"{row:09d}.jpg" for row in range(start, start + num)], object),
            split=np.full(num, "gallery", object),
            model_fingerprint=np.full(num, MODELS[start // BATCH % len(MODELS)], object),
        )


def _noise(rng: np.random.Generator, count: int) -> NDArray[np.float32]:
    return rng.standard_normal((count, SIZE), np.float32)


def _recall(found_QK: NDArray[np.int64], exact_QK: NDArray[np.int64]) -> float:
    """Return which part of the exact hits was found."""
    return float(np.mean([np.isin(exact, found).mean() for found, exact in zip(found_QK, exact_QK, strict=True)]))


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _peak_gb() -> float:
    with open("/proc/self/status", encoding="utf-8") as lines:
        status = dict(line.split(":", 1) for line in lines)
    return float(status["VmHWM"].split()[0]) * 1024 / 1e9


if __name__ == "__main__":
    if sys.argv[1] == "--child":
        print(json.dumps(measure(int(sys.argv[2]), sys.argv[3])))
    else:
        print(json.dumps(ivf_against_flat(int(sys.argv[1]), sys.argv[2]), indent=2))
