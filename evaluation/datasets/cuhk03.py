"""CUHK03 under both of its protocols, each for boxes drawn by hand (labelled) and for those of a detector (detected).

Li, Zhao, Xiao, Wang: DeepReID: Deep Filter Pairing Neural Network for Person Re-identification, CVPR 2014. 1,467
identities, each by one pair of cameras of five, up to five images per camera: 14,096 labelled images, 14,097 detected.

``cuhk03-np-labelled`` and ``cuhk03-np-detected`` (Zhong, Zheng, Cao, Li: Re-ranking Person Re-identification with
k-reciprocal Encoding, CVPR 2017) are the protocol of today: one partition with 767 training identities and 700 for
test; labelled 7,368 training images, 1,400 queries, 5,328 gallery images; detected 7,365, 1,400, 5,332. The release has
Market-1501's layout in ``labeled/`` and ``detected/``; give the folder of both, or one of them. Peers differ in which
of the two they call CUHK03 (fast-reid labelled, torchreid detected), so the name here always says it.

``cuhk03-classic-labelled#K`` and ``cuhk03-classic-detected#K`` are the protocol of 2014: partition K of 20, 100 test
identities, all 1,367 others to train on. Score them with the protocol ``cuhk03-classic``, and report the mean over K.
The folder is what `evaluation.datasets.cuhk03_unpack.unpack_cuhk03` writes.

Every test image is both a query and in the gallery, as in torchreid. The protocol leaves out every gallery image of the
query's own camera, and the query itself with them, so that each camera is searched from the other and the score is a
mean over both directions. Queries of the first camera alone would give the score of one direction, another number.
Cameras are the views 1 and 2 of a pair, whichever pair that is, as in torchreid: if test identities come from several
pairs and cameras had numbers of their own, a query would also be compared with the same view of other pairs.

An identity is 1,000 times its pair plus its number in the pair. Times are unknown.
"""

import re

from cluster import storage
from cluster.errors import InputError
from evaluation.datasets.layouts import match_names
from evaluation.datasets.market import read_market
from evaluation.datasets.rows import Benchmark, ImageRow, list_images

NUM_PARTITIONS = 20
SPLITS_FILE = "splits.json"
IMAGE_NAME = re.compile(r"(\d)_(\d+)_([12])_(\d+)\.png")
"""Pair of cameras, identity in it, view, index of the image: ``1_001_2_06.png``."""


def read_labelled(folder: str, split: int = 0) -> list[ImageRow]:
    """Read CUHK03-NP with boxes drawn by hand."""
    return _read_np(folder, "labeled")


def read_detected(folder: str, split: int = 0) -> list[ImageRow]:
    """Read CUHK03-NP with boxes of a detector."""
    return _read_np(folder, "detected")


def read_classic_labelled(folder: str, split: int = 0) -> list[ImageRow]:
    """Read a partition of the first protocol with boxes drawn by hand."""
    return _read_classic(folder, "images_labeled", split)


def read_classic_detected(folder: str, split: int = 0) -> list[ImageRow]:
    """Read a partition of the first protocol with boxes of a detector."""
    return _read_classic(folder, "images_detected", split)


def _read_np(folder: str, boxes: str) -> list[ImageRow]:
    within = storage.join(folder, boxes)
    return read_market(within if storage.is_folder(within) else folder)


def _read_classic(folder: str, images: str, split: int) -> list[ImageRow]:
    location = storage.join(folder, SPLITS_FILE)
    if not storage.exists(location):
        raise InputError(f"{location}: no such file; write the folder from cuhk-03.mat with unpack_cuhk03")
    test_sets = storage.read_json(location)
    if not 0 <= split < len(test_sets):
        raise InputError(f"{location} has partitions 0 to {len(test_sets) - 1}, got #{split}; unpack cuhk-03.mat again")
    is_test = {(pair, number) for pair, number in test_sets[split]}
    rows: dict[str, list[ImageRow]] = {"train": [], "query": [], "gallery": []}
    paths = list_images(storage.join(folder, images), what="images that unpack_cuhk03 wrote")
    for path, (pair, number, view, _) in match_names(paths, IMAGE_NAME, example="1_001_2_06.png"):
        for part in ("query", "gallery") if (pair, number) in is_test else ("train",):
            rows[part].append(
                ImageRow(path=path, identity=1000 * pair + number, camera=view, time_seconds=None, split=part)
            )
    return [*rows["train"], *rows["query"], *rows["gallery"]]


_NP_IDENTITIES = {"train": 767, "query": 700, "gallery": 700}
_CLASSIC_IDENTITIES = {"train": 1_367, "query": 100, "gallery": 100}

BENCHMARKS = {
    "cuhk03-np-labelled": Benchmark(
        read=read_labelled, images={"train": 7_368, "query": 1_400, "gallery": 5_328}, identities=_NP_IDENTITIES
    ),
    "cuhk03-np-detected": Benchmark(
        read=read_detected, images={"train": 7_365, "query": 1_400, "gallery": 5_332}, identities=_NP_IDENTITIES
    ),
    "cuhk03-classic-labelled": Benchmark(
        read=read_classic_labelled, identities=_CLASSIC_IDENTITIES, num_splits=NUM_PARTITIONS
    ),
    "cuhk03-classic-detected": Benchmark(
        read=read_classic_detected, identities=_CLASSIC_IDENTITIES, num_splits=NUM_PARTITIONS
    ),
}
