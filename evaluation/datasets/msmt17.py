"""MSMT17: lists of images, with identities that are numbered twice.

Wei, Zhang, Gao, Tian: Person Transfer GAN to Bridge Domain Gap for Person Re-Identification, CVPR 2018. Fifteen
cameras, 4,101 identities: 30,248 training and 2,373 validation images of the same 1,041 identities, 11,659 queries and
82,161 gallery images of 3,060.

Two releases differ in their folders and have the same lists: V1 has ``train/`` and ``test/``, V2, with faces blurred,
has ``mask_train_v2/`` and ``mask_test_v2/``.

``msmt17`` trains on the training list, as torchreid and fast-reid do; ``msmt17-combined`` adds the validation list, as
TransReID and SOLIDER always do. "MSMT17 (all)", the training set of QAConv's tables, is all four lists. It has no name
here, because it leaves nothing to test on; to train on it, read ``msmt17-combined`` and use the rows of every split.

The lists number training and test identities from 0 both. Here training has 1 to 1,041 and test 1,042 to 4,101, since
0 is a distractor and two people must not share a number. Names say day and part of the day, and no clock: time is
unknown.
"""

import re

from cluster import storage
from cluster.errors import InputError
from evaluation.datasets.rows import Benchmark, ImageRow, list_images

NUM_TRAIN_IDENTITIES = 1_041
RELEASES = (("train", "test"), ("mask_train_v2", "mask_test_v2"))
LINE = re.compile(r"((?:\S+/)?\d+_\d+_(\d+)_\S+) (\d+)")
"""Path, camera in it, identity: ``0000/0000_000_01_0303morning_0008_0.jpg 0``."""


def read_msmt17(folder: str, split: int = 0) -> list[ImageRow]:
    """Read MSMT17 with the training list alone as train."""
    return _read(folder, ("list_train.txt",))


def read_msmt17_combined(folder: str, split: int = 0) -> list[ImageRow]:
    """Read MSMT17 with the training and the validation list as train."""
    return _read(folder, ("list_train.txt", "list_val.txt"))


def _read(folder: str, train_lists: tuple[str, ...]) -> list[ImageRow]:
    found = [release for release in RELEASES if storage.is_folder(storage.join(folder, release[0]))]
    if len(found) != 1:
        problem = "both train/ (V1) and mask_train_v2/ (V2)" if found else "neither train/ (V1) nor mask_train_v2/ (V2)"
        raise InputError(f"{folder} has {problem}; give the folder of one release of MSMT17")
    train, test = (storage.join(folder, name) for name in found[0])
    present = set(list_images(train, what="the training images of MSMT17"))
    present |= set(list_images(test, what="the test images of MSMT17"))
    rows = [row for name in train_lists for row in _read_list(folder, name, train, "train", present)]
    rows += _read_list(folder, "list_query.txt", test, "query", present)
    return rows + _read_list(folder, "list_gallery.txt", test, "gallery", present)


def _read_list(folder: str, name: str, images: str, split: str, present: set[str]) -> list[ImageRow]:
    """Read a list of images, which must all be there.

    Args:
        folder: Location of the dataset.
        name: The list in it.
        images: Location that the paths of the list are relative to.
        split: Which split the list is.
        present: The images that are there.
    """
    location = storage.join(folder, name)
    if not storage.exists(location):
        raise InputError(f"{location}: no such list; MSMT17 comes with it, get it again")
    first = 1 if split == "train" else NUM_TRAIN_IDENTITIES + 1
    rows = []
    for number, line in enumerate(storage.read_bytes(location).decode().splitlines(), start=1):
        match = LINE.fullmatch(line.strip())
        if match is None or (split == "train" and int(match[3]) >= NUM_TRAIN_IDENTITIES):
            raise InputError(
                f"{location}, line {number}: {line!r} is no image and identity of MSMT17; get the list again"
            )
        path = storage.join(images, match[1])
        rows.append(
            ImageRow(path=path, identity=first + int(match[3]), camera=int(match[2]), time_seconds=None, split=split)
        )
    absent = [row.path for row in rows if row.path not in present]
    if absent:
        raise InputError(f"{location}: {len(absent)} of {len(rows)} images are not there, such as {absent[0]}")
    return rows


_TEST_IMAGES = {"query": 11_659, "gallery": 82_161}
_IDENTITIES = {"train": NUM_TRAIN_IDENTITIES, "query": 3_060, "gallery": 3_060}

BENCHMARKS = {
    "msmt17": Benchmark(read=read_msmt17, images={"train": 30_248, **_TEST_IMAGES}, identities=_IDENTITIES),
    "msmt17-combined": Benchmark(
        read=read_msmt17_combined, images={"train": 32_621, **_TEST_IMAGES}, identities=_IDENTITIES
    ),
}
