"""Reading and encoding images."""

import cv2
import numpy as np
import pytest

from evaluation.datasets.images import encode_jpeg, read_image


def gradient(height, width):
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = np.linspace(0, 255, width)
    image[..., 1] = np.linspace(0, 255, height)[:, None]
    return image


def test_png_is_read_exactly_as_rgb(tmp_path):
    path = str(tmp_path / "a.png")
    cv2.imwrite(path, gradient(20, 10)[..., ::-1])
    np.testing.assert_array_equal(read_image(path), gradient(20, 10))


def test_grey_and_transparent_images_become_rgb(tmp_path):
    for number, channels in enumerate((1, 4)):
        path = str(tmp_path / f"{number}.png")
        cv2.imwrite(path, np.full((6, 5, channels), 77, np.uint8))
        assert read_image(path).shape == (6, 5, 3)


def test_what_cannot_be_read_is_named_with_the_reason(tmp_path):
    with pytest.raises(ValueError, match=r"absent\.jpg: cannot read the image \(No such file or directory\)"):
        read_image(str(tmp_path / "absent.jpg"))
    for data in (b"", b"not an image"):
        (tmp_path / "bad.jpg").write_bytes(data)
        with pytest.raises(ValueError, match=rf"bad\.jpg: {len(data)} bytes that are no image"):
            read_image(str(tmp_path / "bad.jpg"))


@pytest.mark.parametrize(("shape", "expected"), [((40, 20), (40, 20)), ((400, 100), (100, 25)), ((400, 1), (100, 1))])
def test_jpeg_is_shrunk_but_never_enlarged(tmp_path, shape, expected):
    (tmp_path / "a.jpg").write_bytes(encode_jpeg(gradient(*shape), max_height=100))
    image = read_image(str(tmp_path / "a.jpg"))
    assert image.shape[:2] == expected
    if expected[1] > 1:
        assert abs(image.astype(int) - gradient(*expected)).mean() < 8
