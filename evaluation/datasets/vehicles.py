"""VeRi-776 and VehicleID: vehicles in surveillance video."""

import re
from functools import partial

from cluster import storage
from cluster.errors import InputError
from evaluation.datasets.layouts import match_names
from evaluation.datasets.rows import Benchmark, ImageRow, list_images

VERI_FOLDERS = (("image_train", "train"), ("image_query", "query"), ("image_test", "gallery"))
VERI_NAME = re.compile(r"(\d+)_c(\d+)_")


def read_veri(folder: str, split: int = 0) -> list[ImageRow]:
    """Read VeRi-776: 776 vehicles, 20 cameras.

    Liu, Liu, Ma and Fu, Large-scale vehicle re-identification in urban surveillance videos, ICME 2016.

    Names are ``0002_c002_00030600_0.jpg``: vehicle, camera, and two fields that the ReadMe does not explain. The
    third grows by a few from image to image of a track, which looks like a frame number, but neither its rate nor its
    origin is stated: the time is unknown here. One fixed partition, with 576 vehicles for training.

    Listings show queries again among the gallery images; the rule of the same camera removes them for their own
    query, and the data set's own list of junk is the images from the query's camera.

    Confirmed from the ReadMe and from readers: folders, names, counts.
    """
    assert split == 0, f"VeRi-776 has one partition, got {split}"
    return [
        ImageRow(path=path, identity=vehicle, camera=camera, time_seconds=None, split=part)
        for name, part in VERI_FOLDERS
        for path, (vehicle, camera) in match_names(
            list_images(storage.join(folder, name), what=f"the {part} images of VeRi-776"),
            VERI_NAME,
            example="0002_c002_00030600_0.jpg",
        )
    ]


def read_vehicleid(folder: str, split: int = 0, *, num_vehicles: int) -> list[ImageRow]:
    """Read VehicleID: 26,328 vehicles, 221,567 images, cameras unknown.

    Liu, Tian, Wang, Pang and Huang, Deep Relative Distance Learning: Tell the Difference Between Similar Vehicles,
    CVPR 2016.

    ``train_test_split`` has a line ``image vehicle`` per image (the image without ``.jpg``): ``train_list.txt`` of
    13,164 vehicles and 113,346 images, ``test_list_800.txt`` (small), ``test_list_1600.txt`` (medium) and
    ``test_list_2400.txt`` (large) of 6,493, 13,377 and 19,777 images, each list a test of its own. Papers also print
    7,332, 12,995 and 20,038 (not confirmed); the ReadMe says that the lists were corrected after its paper.

    Nothing says which camera took an image, so every image gets a camera of its own, its rank among the listed
    images, and nothing is removed as seen by the same camera. The identity is the vehicle's number plus 1, because 0
    marks distractors. The protocol ``vehicleid`` draws one gallery image per vehicle afresh in each repeat, from
    query and gallery rows together. As rows, the first image of each vehicle by name is the gallery, the others are
    queries.

    Confirmed from the ReadMe and from readers: folders, lists, vehicles, images. Not confirmed: whether vehicles are
    counted from 0 or 1.

    Args:
        folder: Location.
        split: 0.
        num_vehicles: Which test: 800, 1600 or 2400.
    """
    assert split == 0, f"VehicleID has one partition, got {split}"
    if not storage.is_folder(storage.join(folder, "image")):
        raise InputError(f"{folder}: no image/ in it; give the folder that VehicleID was unpacked to")
    training = _read_list(folder, "train_list.txt")
    test = _read_list(folder, f"test_list_{num_vehicles}.txt")
    first_of: dict[int, str] = {}
    for image, vehicle in test:
        first_of.setdefault(vehicle, image)
    named = [(image, vehicle, "train") for image, vehicle in training]
    named += [(image, vehicle, "query") for image, vehicle in test if first_of[vehicle] != image]
    named += [(image, vehicle, "gallery") for image, vehicle in test if first_of[vehicle] == image]
    camera_of = {image: rank for rank, image in enumerate(sorted(image for image, _, _ in named), start=1)}
    return [
        ImageRow(
            path=storage.join(folder, "image", f"{image}.jpg"),
            identity=vehicle + 1,
            camera=camera_of[image],
            time_seconds=None,
            split=part,
        )
        for image, vehicle, part in named
    ]


def _read_list(folder: str, name: str) -> list[tuple[str, int]]:
    """Read a list of VehicleID: image and vehicle, sorted by the image's name."""
    location = storage.join(folder, "train_test_split", name)
    if not storage.exists(location):
        raise InputError(f"{location}: no such list; give the folder that VehicleID was unpacked to")
    images: dict[str, int] = {}
    for number, line in enumerate(storage.read_bytes(location).decode().splitlines(), start=1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) != 2 or not fields[1].isdecimal() or fields[0] in images:
            raise InputError(f"{location}, line {number}: {line!r} is no new image and vehicle; get the list again")
        images[fields[0]] = int(fields[1])
    return sorted(images.items())


def _vehicleid(num_vehicles: int, num_images: int) -> Benchmark:
    return Benchmark(
        read=partial(read_vehicleid, num_vehicles=num_vehicles),
        images={"train": 113_346, "query": num_images - num_vehicles, "gallery": num_vehicles},
        identities={"train": 13_164, "query": num_vehicles, "gallery": num_vehicles},
    )


BENCHMARKS = {
    "veri-776": Benchmark(
        read=read_veri,
        images={"train": 37_778, "query": 1_678, "gallery": 11_579},
        identities={"train": 576, "query": 200, "gallery": 200},
    ),
    "vehicleid-small": _vehicleid(800, 6_493),
    "vehicleid-medium": _vehicleid(1_600, 13_377),
    "vehicleid-large": _vehicleid(2_400, 19_777),
}
