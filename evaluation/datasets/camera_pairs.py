"""VIPeR, PRID 2011, CUHK01 and CUHK02: people who were seen once by each of two cameras.

All are tested across the two cameras: queries are from the first, the gallery from the second, so that the rule of
the same camera removes nothing. Where half of the people are for training (all but CUHK02), the half is drawn at
random; partition ``#K`` of ten is ours (`evaluation.datasets.layouts.random_half`). Scores are to be averaged over
the ten.

Lifelong re-identification takes all four as sets never trained on. The loaders of PatchKD (Sun and Mu, 2022), whose
code comes from AKA (Pu et al., 2021), make the same partitions as those here, as torchreid does, and use the first
one: half of the people, from an unseeded draw that is not published. (Both libraries follow each partition with one
where the second camera queries the first; that is not done here.) One later repository queries all people of both
cameras instead, and ascribes that to LSTKC and DKP: a larger and harder gallery.
"""

import re

from cluster import storage
from evaluation.datasets.layouts import inner_folder, match_names, random_half
from evaluation.datasets.rows import SPLITS, Benchmark, ImageRow, list_images

NUM_PARTITIONS = 10
VIPER_SEED, PRID_SEED, CUHK01_SEED = 2007, 2011, 2012
VIPER_NAME = re.compile(r"(\d+)_\d+\.")
PRID_NAME = re.compile(r"person_(\d+)\.")
PRID_SHARED = 200
CUHK01_NAME = re.compile(r"(\d{4})00([1-4])\.")
CUHK02_NAME = re.compile(r"(\d+)_")
CUHK02_PAIRS = ("P1", "P2", "P3", "P4", "P5")


def read_viper(folder: str, split: int = 0) -> list[ImageRow]:
    """Read VIPeR: 632 people, one image by each of two cameras.

    Gray, Brennan and Tao, Evaluating appearance models for recognition, reacquisition, and tracking, PETS 2007.

    The cameras are ``cam_a`` and ``cam_b``. Names are ``000_45.bmp``: a number (0 to 873, with gaps) and the viewing
    angle in degrees, which may differ between the cameras. The identity here is the number plus 1, because 0 marks
    distractors. Test: 316 queries from ``cam_a``, 316 gallery images from ``cam_b``, one match each, which is the
    classic half partition (316 / 316).

    Confirmed from several readers and listings: folders, names, counts. Not available: the papers' ten partitions.
    """
    root = inner_folder(folder, "VIPeR", holds="cam_a")
    images = [
        (path, number + 1, camera)
        for camera, name in enumerate(("cam_a", "cam_b"), start=1)
        for path, (number,) in match_names(
            list_images(storage.join(root, name), what="VIPeR's images"), VIPER_NAME, example="000_45.bmp"
        )
    ]
    return _halve(images, seed=VIPER_SEED, split=split)


def read_prid2011(folder: str, split: int = 0) -> list[ImageRow]:
    """Read PRID 2011, the single-shot version: one image per person and camera.

    Hirzer, Beleznai, Roth and Bischof, Person Re-Identification by Descriptive and Discriminative Classification,
    SCIA 2011.

    ``single_shot/cam_a`` has 385 people, ``single_shot/cam_b`` 749; numbers 1 to 200 in ``person_0001.png`` are the
    same people in both. Test: 100 of the shared people are queries from ``cam_a``; the gallery is the same 100 and
    the 549 others of ``cam_b``, which are distractors (identity 0), 649 in all. The other 100 shared people are for
    training, both images. The 185 others of ``cam_a`` are not used. This is the classic partition.

    Confirmed from readers: folders, names, counts, protocol. Not available: the papers' partitions.
    """
    root = storage.join(inner_folder(folder, "prid_2011", holds="single_shot"), "single_shot")
    named = [
        (path, number, camera)
        for camera, name in enumerate(("cam_a", "cam_b"), start=1)
        for path, (number,) in match_names(
            list_images(storage.join(root, name), what="PRID 2011's images"), PRID_NAME, example="person_0001.png"
        )
    ]
    others = [
        ImageRow(path=path, identity=0, camera=camera, time_seconds=None, split="gallery")
        for path, number, camera in named
        if number > PRID_SHARED and camera == 2
    ]
    return _halve([image for image in named if image[1] <= PRID_SHARED], seed=PRID_SEED, split=split) + others


def read_cuhk01(folder: str, split: int = 0) -> list[ImageRow]:
    """Read CUHK01: 971 people, two images by each of two cameras.

    Li, Zhao and Wang, Human Reidentification with Transferred Metric Learning, ACCV 2012.

    3,884 images in ``campus``. Names are ``0001001.png``: four digits of the person, three of the image; images 1 and
    2 are from the first camera, 3 and 4 from the second. 485 people are for training, 486 for the test. Both images
    per camera stay (972 queries, 972 in the gallery), as in torchreid and in the lifelong loaders; the classic
    single-shot score draws one image per person and camera first, which is not done here.

    Confirmed from readers: folder, names, counts, cameras. Not available: the paper's partitions. Not offered: the
    other partition of the literature, with 100 people for the test.
    """
    paths = list_images(storage.join(folder, "campus"), what="CUHK01's images")
    named = match_names(paths, CUHK01_NAME, example="0001001.png")
    return _halve([(path, person, (image + 1) // 2) for path, (person, image) in named], seed=CUHK01_SEED, split=split)


def read_cuhk02(folder: str, split: int = 0) -> list[ImageRow]:
    """Read CUHK02: 1,816 people in five pairs of cameras, two images by each camera of a pair.

    Li and Wang, Locally Aligned Feature Transforms across Views, CVPR 2013.

    The pairs ``P1`` to ``P5`` have 971, 306, 107, 193 and 239 people, in ``cam1`` and ``cam2``; 7,264 images in all.
    Names start with the person's number in that pair and ``_``. Identities here are numbered from 1 over all pairs in
    order, cameras from 1 to 10. P1 to P4 are for training; P5 is the test: its ``cam1`` queries, its ``cam2`` is the
    gallery. One partition, the one of torchreid and of the lifelong loaders (239 people). CUHK02 overlaps with CUHK01
    (P1 has its 971 people): a model that was trained on CUHK02 must not be tested on CUHK01.

    Confirmed from readers: folders, numbers of people and images, partition. Seen in one place only: ``001_1.png``.
    """
    assert split == 0, f"CUHK02 has one partition, got {split}"
    root = inner_folder(folder, "Dataset", holds="P5/cam1")
    rows: list[ImageRow] = []
    num_before = 0
    for pair, pair_name in enumerate(CUHK02_PAIRS):
        named = [
            (path, person, camera)
            for camera in (1, 2)
            for path, (person,) in match_names(
                list_images(storage.join(root, pair_name, f"cam{camera}"), what="CUHK02's images"),
                CUHK02_NAME,
                example="001_1.png",
            )
        ]
        people = sorted({person for _, person, _ in named})
        identity_of = {person: num_before + rank for rank, person in enumerate(people, start=1)}
        num_before += len(people)
        test = {1: "query", 2: "gallery"} if pair_name == CUHK02_PAIRS[-1] else {}
        rows += [
            ImageRow(
                path=path,
                identity=identity_of[person],
                camera=2 * pair + camera,
                time_seconds=None,
                split=test.get(camera, "train"),
            )
            for path, person, camera in named
        ]
    return rows


def _halve(images: list[tuple[str, int, int]], *, seed: int, split: int) -> list[ImageRow]:
    """Turn (path, identity, camera 1 or 2) into rows: a random half trains; of the rest camera 1 queries camera 2."""
    training = random_half(sorted({identity for _, identity, _ in images}), seed=seed, split=split)
    rows = [
        ImageRow(
            path=path,
            identity=identity,
            camera=camera,
            time_seconds=None,
            split="train" if identity in training else ("query" if camera == 1 else "gallery"),
        )
        for path, identity, camera in images
    ]
    return sorted(rows, key=lambda row: SPLITS.index(row.split))


BENCHMARKS = {
    "viper": Benchmark(
        read=read_viper,
        images={"train": 632, "query": 316, "gallery": 316},
        identities={"train": 316, "query": 316, "gallery": 316},
        num_splits=NUM_PARTITIONS,
    ),
    "prid2011": Benchmark(
        read=read_prid2011,
        images={"train": 200, "query": 100, "gallery": 649},
        identities={"train": 100, "query": 100, "gallery": 100},
        num_splits=NUM_PARTITIONS,
    ),
    "cuhk01": Benchmark(
        read=read_cuhk01,
        images={"train": 1_940, "query": 972, "gallery": 972},
        identities={"train": 485, "query": 486, "gallery": 486},
        num_splits=NUM_PARTITIONS,
    ),
    "cuhk02": Benchmark(
        read=read_cuhk02,
        images={"train": 6_308, "query": 478, "gallery": 478},
        identities={"train": 1_577, "query": 239, "gallery": 239},
    ),
}
