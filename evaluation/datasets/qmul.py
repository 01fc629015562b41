"""GRID and i-LIDS: people in public transport, collected at Queen Mary University of London.

Lifelong re-identification takes both as sets never trained on. The loaders of PatchKD (Sun and Mu, 2022), whose code
comes from AKA (Pu et al., 2021), use the first of GRID's own partitions, which is ``grid#0`` here, and for i-LIDS the
first of torchreid's unseeded random partitions, which are made as here and are not published. One later repository
queries all people of both sets instead, and ascribes that to LSTKC and DKP.
"""

import io
import logging
import re

import numpy as np
from scipy.io import loadmat

from cluster import storage
from cluster.errors import InputError
from evaluation.datasets.layouts import inner_folder, match_names, random_half
from evaluation.datasets.rows import SPLITS, Benchmark, ImageRow, list_images

NUM_PARTITIONS = 10
GRID_SEED, ILIDS_SEED = 2010, 2009
GRID_NAME = re.compile(r"(\d{4})_(\d+)_")
GRID_PARTITIONS = "features_and_partitions.mat"
ILIDS_NAME = re.compile(r"(\d{4})(\d{3})\.")

logger = logging.getLogger(__name__)


def read_grid(folder: str, split: int = 0) -> list[ImageRow]:
    """Read GRID: 250 people in an underground station, one pair of images each, and 775 images of others.

    Loy, Xiang and Gong, Time-Delayed Correlation Analysis for Multi-Camera Activity Understanding, IJCV 2010.

    There are 8 cameras. ``probe`` has one image of each of the 250 people, ``gallery`` another of each, and 775 images
    of others, who are in no probe (identity 0, distractors). Names are ``0001_1_25004_107_32_106_221.jpeg``: person,
    camera, and fields that the ReadMe does not explain, so the time is unknown.

    The test has 125 people: their probes query their gallery images and all 775 distractors, 900 in all. The other
    125 people are for training, both images. The ten partitions are those of the data set, ``trainIdxAll`` in
    ``features_and_partitions.mat``, which is the classic protocol. Where that file is missing, they are ten random
    halves of ours, and a warning says so.

    Confirmed from the ReadMe and from readers: folders, names, counts, the file of the partitions and its fields.
    """
    root = inner_folder(folder, "underground_reid", holds="probe")
    images = [
        (path, person, camera, part)
        for part, name in (("query", "probe"), ("gallery", "gallery"))
        for path, (person, camera) in match_names(
            list_images(storage.join(root, name), what="GRID's images"),
            GRID_NAME,
            example="0001_1_25004_107_32_106_221.jpeg",
        )
    ]
    training = _grid_training(root, sorted({person for _, person, _, _ in images if person > 0}), split)
    rows = [
        ImageRow(
            path=path,
            identity=person,
            camera=camera,
            time_seconds=None,
            split="train" if person in training else part,
        )
        for path, person, camera, part in images
    ]
    return sorted(rows, key=lambda row: SPLITS.index(row.split))


def _grid_training(root: str, people: list[int], split: int) -> set[int]:
    location = storage.join(root, GRID_PARTITIONS)
    if not storage.exists(location):
        logger.warning("%s is missing: a random half of ours instead of GRID's own partition %d", location, split)
        return random_half(people, seed=GRID_SEED, split=split)
    try:
        content = loadmat(io.BytesIO(storage.read_bytes(location)), variable_names=["trainIdxAll"], simplify_cells=True)
        return set(np.atleast_1d(content["trainIdxAll"][split]["personIdx"]).astype(int).tolist())
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise InputError(
            f"{location}: no trainIdxAll of {NUM_PARTITIONS} partitions with personIdx ({error!r}); get the file again"
        ) from error


def read_ilids(folder: str, split: int = 0) -> list[ImageRow]:
    """Read i-LIDS: 119 people in an airport hall, 476 images, cameras unknown.

    Zheng, Gong and Xiang, Associating Groups of People, BMVC 2009.

    The images are in ``Persons``. Names are ``0001001.jpg``: four digits of the person, three of
    the image. The images come from several cameras, but nothing says which. So the number of the image stands for the
    camera: the two images of a test person then differ in it, and nothing is removed as seen by the same camera.

    Half of the people (59) are for training, all their images. Of each of the other 60 two images are drawn: one is
    the query, one is in the gallery, as in torchreid and in the lifelong loaders; the rest is not used.

    Confirmed from readers: folder, names, counts. Not available: the papers' partitions. Not confirmed: that the
    classic protocol queries with every image that was not drawn for the gallery.
    """
    root = inner_folder(folder, "i-LIDS_Pedestrian", holds="Persons")
    named = match_names(
        list_images(storage.join(root, "Persons"), what="the images of i-LIDS"), ILIDS_NAME, example="0001001.jpg"
    )
    images_of: dict[int, list[tuple[str, int]]] = {}
    for path, (person, image) in named:
        images_of.setdefault(person, []).append((path, image))
    alone = [person for person, images in images_of.items() if len(images) < 2]
    if alone:
        raise InputError(f"{root}: person {alone[0]:04d} has one image; a query needs another: get the data set again")
    training = random_half(list(images_of), seed=ILIDS_SEED, split=split)
    generator = np.random.default_rng((ILIDS_SEED, split, 1))
    rows = []
    for person, images in images_of.items():
        query, gallery = generator.permutation(len(images))[:2].tolist()
        part_of = {query: "query", gallery: "gallery"}
        rows += [
            ImageRow(path=path, identity=person, camera=image, time_seconds=None, split=part)
            for index, (path, image) in enumerate(images)
            if (part := "train" if person in training else part_of.get(index))
        ]
    return sorted(rows, key=lambda row: SPLITS.index(row.split))


BENCHMARKS = {
    "grid": Benchmark(
        read=read_grid,
        images={"train": 250, "query": 125, "gallery": 900},
        identities={"train": 125, "query": 125, "gallery": 125},
        num_splits=NUM_PARTITIONS,
    ),
    "ilids": Benchmark(
        read=read_ilids,
        images={"query": 60, "gallery": 60},
        identities={"train": 59, "query": 60, "gallery": 60},
        num_splits=NUM_PARTITIONS,
    ),
}
