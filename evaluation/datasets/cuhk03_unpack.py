"""CUHK03 out of the one MATLAB file in which it is published.

``cuhk-03.mat`` is MATLAB 7.3, which is HDF5 with the axes of every array reversed. It has three cells:

=============  ===================================================================================================
``labeled``    5 x 1, one per pair of cameras, each M x 10: M identities, five images of one view, five of the other.
               An image is uint8 [H, W, 3], RGB; a cell without an image is an empty array. Boxes drawn by hand.
``detected``   The same with the boxes of a detector.
``testsets``   20 x 1, one per partition, each 100 x 2: pair of cameras and identity in it, both counted from 1.
=============  ===================================================================================================

What is written: ``images_labeled/`` and ``images_detected/`` with ``{pair}_{identity:03d}_{view}_{index:02d}.png``, all
counted from 1, index 1 to 5 in view 1 and 6 to 10 in view 2; and ``splits.json``, for each partition the list of
``[pair, identity]`` of its test identities.
"""

from collections.abc import Iterator
from typing import Any

import cv2
import h5py
import numpy as np
from numpy.typing import NDArray

from cluster import storage
from cluster.errors import InputError
from evaluation.datasets.cuhk03 import SPLITS_FILE

IMAGES_PER_VIEW = 5


def unpack_cuhk03(mat_location: str, out: str) -> dict[str, int]:
    """Write the images of ``cuhk-03.mat`` as PNG files, and its partitions as JSON (see the module).

    Args:
        mat_location: Location of the file, 2 GB; a remote one is downloaded first, for it is read in small pieces.
        out: Location of the folder to write; one that an earlier call wrote is replaced.

    Returns:
        How many images were written of ``labeled`` and of ``detected``; 14,096 and 14,097 for the published file.

    Raises:
        InputError: If the file is missing or not CUHK03's, or `out` holds other files.
    """
    mat_location, out = storage.resolve(mat_location), storage.resolve(out)
    if not storage.exists(mat_location):
        raise InputError(f"{mat_location}: no such file; give cuhk-03.mat of cuhk03_release.zip")
    counts = {}
    with storage.folder_to_publish(out, replaces=SPLITS_FILE) as folder, storage.local_copy(mat_location) as path:
        try:
            file = h5py.File(path, "r")
        except OSError as error:
            raise InputError(f"{mat_location} is no MATLAB 7.3 file ({error}); give cuhk-03.mat") from error
        with file:
            absent = [name for name in ("labeled", "detected", "testsets") if name not in file]
            if absent:
                raise InputError(f"{mat_location} has no {', '.join(absent)}; give cuhk-03.mat")
            for boxes in ("labeled", "detected"):
                counts[boxes] = 0
                for name, image_HW3 in _images(file, boxes):
                    storage.write_bytes(storage.join(folder, f"images_{boxes}", name), _encode_png(image_HW3))
                    counts[boxes] += 1
            test_sets = [_array(file[cell]).astype(int).tolist() for cell in _array(file["testsets"]).flat]
            storage.write_json(storage.join(folder, SPLITS_FILE), test_sets)
    return counts


def _images(file: h5py.File, boxes: str) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield file name and pixels, uint8 [H, W, 3], of every image of one kind of boxes."""
    for pair, pair_cell in enumerate(_array(file[boxes]).flat, start=1):
        for identity, image_cells in enumerate(_array(file[pair_cell]), start=1):
            for index, cell in enumerate(image_cells, start=1):
                pixels = _array(file[cell])
                if pixels.ndim == 3:  # an empty array is stored as the list of its lengths
                    view = 1 if index <= IMAGES_PER_VIEW else 2
                    yield f"{pair}_{identity:03d}_{view}_{index:02d}.png", pixels


def _array(dataset: Any) -> NDArray[Any]:
    """Return an array of MATLAB's, or the references in a cell, in MATLAB's order of axes."""
    return np.asarray(dataset[()]).T


def _encode_png(image_HW3: NDArray[np.uint8]) -> bytes:
    encoded, data = cv2.imencode(".png", cv2.cvtColor(np.ascontiguousarray(image_HW3), cv2.COLOR_RGB2BGR))
    assert encoded, "OpenCV encodes every uint8 [H, W, 3] image"
    return data.tobytes()
