"""Pictures of matching: which location of a query image found which location of a gallery image.

Shapes: L locations of a feature map, row by row from the top left, L = height x width; I images, 2: query and gallery.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from cluster.errors import InputError

PICTURE_HEIGHT_PIXELS = 384
"""Both images are drawn this tall: larger than a crop, so that lines and what they join can be seen."""
GAP_PIXELS = 40
"""Between both images."""
GAP_COLOUR = (44, 51, 59)
"""Dark, for lines are bright."""
OUTLINE_COLOUR = (16, 18, 22)
LEAST_SIMILARITY = 0.5
"""Lines of this cosine and below look alike: the best of many locations is hardly ever worse."""
_SHIFT = 4
"""OpenCV takes coordinates in sixteenths of a pixel."""


def draw_matches(
    query_image: NDArray[np.uint8],
    gallery_image: NDArray[np.uint8],
    best_L: NDArray[np.int64],
    similarity_L: NDArray[np.floating],
    *,
    height: int,
    width: int,
    back_L: NDArray[np.int64] | None = None,
    num_lines: int = 12,
) -> NDArray[np.uint8]:
    """Draw query and gallery image side by side, with lines that join the locations that match best.

    A line runs between the centres of both cells, from thin and violet (similarity 0.5 or less) to thick and yellow
    (1); a dark outline keeps it visible on bright pixels. More similar lines lie on top. Images are drawn in the shape
    of the map, so its cells are squares: as the network saw them, if it scaled them to one size.

    Args:
        query_image: RGB, uint8 [H, W, 3], of any size; the map covers all of it.
        gallery_image: RGB, uint8 [H', W', 3].
        best_L: For each query location, the gallery location that it found, 0 to L - 1.
        similarity_L: How alike both are, a cosine.
        height: Rows of the feature map.
        width: Columns of the feature map.
        back_L: For each gallery location, the query location that it found. If given, only mutual matches are drawn:
            those with ``back_L[best_L[l]] == l``.
        num_lines: The so many most similar are drawn, >= 1; of equally similar ones, those of the first locations.

    Returns:
        RGB, uint8, `PICTURE_HEIGHT_PIXELS` tall.

    Raises:
        InputError: If the arrays do not hold height x width locations, a location lies outside the map, or a similarity
            is not finite.
    """
    _check(best_L, similarity_L, back_L, height, width, num_lines)
    cell_pixels = PICTURE_HEIGHT_PIXELS / height
    image_width = round(width * cell_pixels)
    picture = _side_by_side(query_image, gallery_image, image_width)
    left_I = np.array([0, image_width + GAP_PIXELS])
    candidates = np.arange(len(best_L)) if back_L is None else np.flatnonzero(back_L[best_L] == np.arange(len(best_L)))
    chosen = candidates[np.argsort(-similarity_L[candidates], kind="stable")[:num_lines]][::-1]
    for location in chosen:
        place_I = np.array([location, best_L[location]])
        x_I, y_I = left_I + (place_I % width + 0.5) * cell_pixels, (place_I // width + 0.5) * cell_pixels
        similarity = float(similarity_L[location])
        draw_line(picture, x_I, y_I, colour=match_colour(similarity), strength=_strength(similarity))
    return picture


def match_colour(similarity: float) -> tuple[int, int, int]:
    """Return the RGB colour of a line: brighter and yellower for more similar locations."""
    return line_colour(_strength(similarity))


def line_colour(strength: float) -> tuple[int, int, int]:
    """Return an RGB colour, from violet for strength 0 to yellow for 1."""
    level = np.full((1, 1), round(255 * (0.45 + 0.55 * strength)), np.uint8)  # below, it is too dark
    blue, green, red = cv2.applyColorMap(level, cv2.COLORMAP_PLASMA)[0, 0]
    return int(red), int(green), int(blue)


def _strength(similarity: float) -> float:
    """Return 0 for the weakest lines to 1 for the strongest."""
    return min(max((similarity - LEAST_SIMILARITY) / (1 - LEAST_SIMILARITY), 0.0), 1.0)


def _check(
    best_L: NDArray[np.int64],
    similarity_L: NDArray[np.floating],
    back_L: NDArray[np.int64] | None,
    height: int,
    width: int,
    num_lines: int,
) -> None:
    if num_lines < 1:
        raise InputError(f"num_lines must be >= 1, got {num_lines}")
    for name, values in (("best_L", best_L), ("similarity_L", similarity_L), ("back_L", back_L)):
        if values is not None and values.shape != (height * width,):
            raise InputError(f"{name} must hold the {height} x {width} locations of the map, got {list(values.shape)}")
    if not np.isfinite(similarity_L).all():
        raise InputError("similarity_L must be finite; check the maps that were compared")
    for name, values in (("best_L", best_L), ("back_L", back_L)):
        if values is not None and (values.min() < 0 or values.max() >= height * width):
            raise InputError(
                f"{name} names locations {values.min()} to {values.max()}, but the {height} x {width} map has "
                f"0 to {height * width - 1}"
            )


def _side_by_side(
    query_image: NDArray[np.uint8], gallery_image: NDArray[np.uint8], image_width: int
) -> NDArray[np.uint8]:
    gap = np.full((PICTURE_HEIGHT_PIXELS, GAP_PIXELS, 3), GAP_COLOUR, np.uint8)
    left, right = (
        cv2.resize(
            image,
            (image_width, PICTURE_HEIGHT_PIXELS),
            interpolation=cv2.INTER_AREA if len(image) > PICTURE_HEIGHT_PIXELS else cv2.INTER_CUBIC,
        )
        for image in (query_image, gallery_image)
    )
    return np.concatenate([left, gap, right], axis=1).astype(np.uint8)


def draw_line(
    picture: NDArray[np.uint8],
    x_I: NDArray[np.floating],
    y_I: NDArray[np.floating],
    *,
    colour: tuple[int, int, int],
    strength: float,
) -> None:
    """Draw one line with points at its ends and a dark outline, in place; a pixel's centre is at half coordinates.

    Args:
        picture: RGB, uint8 [H, W, 3].
        x_I: Where it begins and ends, in pixels from the left edge.
        y_I: Likewise, from the top.
        colour: RGB.
        strength: 0 for the thinnest to 1 for the thickest.
    """
    start, end = np.rint((np.stack([x_I, y_I], axis=1) - 0.5) * 2**_SHIFT).astype(int).tolist()
    thickness, radius = 1 + round(2 * strength), round((3 + strength) * 2**_SHIFT)
    for shade, extra in ((OUTLINE_COLOUR, 1), (colour, 0)):
        cv2.line(picture, start, end, shade, thickness + 2 * extra, cv2.LINE_AA, _SHIFT)
        for point in (start, end):
            cv2.circle(picture, point, radius + extra * 2**_SHIFT, shade, cv2.FILLED, cv2.LINE_AA, _SHIFT)
