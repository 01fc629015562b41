"""Image files to pixels and back."""

import cv2
import numpy as np
from numpy.typing import NDArray

from cluster import storage
from cluster.errors import InputError


def read_image(location: str) -> NDArray[np.uint8]:
    """Read an image file as RGB, uint8 [H, W, 3], turned as its EXIF orientation says.

    Raises:
        InputError: If the file cannot be read or is no image.
    """
    try:
        data = storage.read_bytes(location)
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        raise InputError(f"{location}: cannot read the image ({reason}); check the path and its permissions") from error
    pixels = decode_image(data)
    if pixels is None:
        raise InputError(f"{location}: {len(data)} bytes that are no image; replace the file or take it off the list")
    return pixels


def decode_image(data: bytes) -> NDArray[np.uint8] | None:
    """Decode an image file's bytes as RGB, uint8 [H, W, 3]; None if they are no image."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    return None if pixels is None else np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8)


def encode_jpeg(image: NDArray[np.uint8], *, max_height: int, quality: int = 85) -> bytes:
    """Encode an RGB image, uint8 [H, W, 3], as JPEG, shrunk to a height in pixels where it is taller."""
    height, width = image.shape[:2]
    if height > max_height:
        size = (max(1, round(width * max_height / height)), max_height)
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    encoded, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert encoded, "OpenCV encodes every uint8 [H, W, 3] image"
    return data.tobytes()
