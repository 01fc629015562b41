"""SenseReID: a test set without training images."""

import re

from cluster import storage
from evaluation.datasets.layouts import inner_folder, match_names
from evaluation.datasets.rows import Benchmark, ImageRow, list_images

SENSEREID_FOLDERS = (("test_probe", "query"), ("test_gallery", "gallery"))
SENSEREID_NAME = re.compile(r"(\d+)_(\d+)\.")


def read_sensereid(folder: str, split: int = 0) -> list[ImageRow]:
    """Read SenseReID: queries of 522 people among images of 1,717.

    Zhao et al., Spindle Net: Person Re-identification with Human Body Region Guided Feature Decomposition and Fusion,
    CVPR 2017.

    ``test_probe`` has 1,040 queries of 522 people, ``test_gallery`` 3,388 images of 1,717 people; names are the
    person and the camera, as in ``00001_1.jpg``. The identity here is the person's number plus 1, because 0 marks
    distractors. One fixed partition, which torchreid and the lifelong loaders (AKA, PatchKD) read too. They also
    repeat the test images as training images; here there are none.

    Confirmed from these readers: folders, the two fields of a name, counts. Not confirmed: the number of digits, and
    whether people are counted from 0 or 1.
    """
    assert split == 0, f"SenseReID has one partition, got {split}"
    root = inner_folder(folder, "SenseReID", holds="test_probe")
    return [
        ImageRow(path=path, identity=person + 1, camera=camera, time_seconds=None, split=part)
        for name, part in SENSEREID_FOLDERS
        for path, (person, camera) in match_names(
            list_images(storage.join(root, name), what="SenseReID's images"), SENSEREID_NAME, example="00001_1.jpg"
        )
    ]


BENCHMARKS = {
    "sensereid": Benchmark(
        read=read_sensereid,
        images={"train": 0, "query": 1_040, "gallery": 3_388},
        identities={"query": 522, "gallery": 1_717},
    )
}
