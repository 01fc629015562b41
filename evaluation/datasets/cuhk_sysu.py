"""CUHK-SYSU as re-identification: the boxes of a person search data set, cut out of their pictures.

Xiao, Li, Wang, Lin, Wang: Joint Detection and Identification Feature Learning for Person Search, CVPR 2017. Street
photographs and film stills: 8,432 identities, 5,532 to train on and 2,900 for test. Lifelong re-identification uses it
as ``cuhksysu4reid`` (Pu, Chen, Liu, Bakker, Lew: Lifelong Person Re-Identification via Adaptive Knowledge Accumulation,
CVPR 2021), which their program cuts: ``train/`` from the training annotation, ``query/`` and ``gallery/`` from the
protocol TestG50 without the pictures that do not show the person; ``combine/``, all boxes again, is not read here.
Names are identity, picture, running number of the box, and whether it is a hard one: ``00042_s1234_0000017_0.jpg``.
Another conversion, one folder ``cropped_image/`` without queries, is not read.

``cuhk-sysu`` trains on all of ``train/``, as PTKP does. ``cuhk-sysu-lreid`` trains on the identities with at least four
images there, as AKA and LSTKC do, which then take the first 500 of them. Queries and gallery are the same.

Counts that are confirmed, and checked: 5,532 training identities and 2,900 queries, one per test identity. Counts that
are reported and not confirmed, so not checked: 15,080 training images, 942 identities with 4,374 images after the
choice of four, 5,447 gallery images.

There is one camera, which is none: every picture is from somewhere else. With one number for all, the rule that leaves
out images of the query's identity by the query's camera would leave out every match. So gallery and training images
have camera 1, queries camera 2, and the rule leaves out nothing. Times are unknown.
"""

import re
from collections import Counter

from cluster import storage
from evaluation.datasets.layouts import match_names
from evaluation.datasets.rows import SPLITS, Benchmark, ImageRow, list_images

CAMERAS = {"train": 1, "gallery": 1, "query": 2}
IMAGE_NAME = re.compile(r"(\d+)_s\d+_\d+_\d")
MIN_IMAGES = 4
"""Of an identity that lifelong re-identification trains on."""


def read_cuhk_sysu(folder: str, split: int = 0) -> list[ImageRow]:
    """Read CUHK-SYSU with all training identities."""
    return [
        ImageRow(path=path, identity=identity, camera=CAMERAS[part], time_seconds=None, split=part)
        for part in SPLITS
        for path, (identity,) in match_names(
            list_images(storage.join(folder, part), what=f"the {part} images of cuhksysu4reid"),
            IMAGE_NAME,
            example="00042_s1234_0000017_0.jpg",
        )
    ]


def read_cuhk_sysu_lreid(folder: str, split: int = 0) -> list[ImageRow]:
    """Read CUHK-SYSU with the training identities that have at least four images."""
    rows = read_cuhk_sysu(folder)
    num_images = Counter(row.identity for row in rows if row.split == "train")
    return [row for row in rows if row.split != "train" or num_images[row.identity] >= MIN_IMAGES]


BENCHMARKS = {
    "cuhk-sysu": Benchmark(read=read_cuhk_sysu, images={"query": 2_900}, identities={"train": 5_532, "query": 2_900}),
    "cuhk-sysu-lreid": Benchmark(read=read_cuhk_sysu_lreid, images={"query": 2_900}, identities={"query": 2_900}),
}
