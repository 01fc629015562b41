"""The picture of an explained score: matched locations joined by lines, and what each location adds as a heat map.

Shapes: height x width locations of a feature map; I images, 2: query and gallery.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from cluster.errors import InputError
from evaluation.qaconv.explanation import Explanation, Match, mutual_matches
from evaluation.report.match_lines import GAP_COLOUR, OUTLINE_COLOUR, draw_line, line_colour

IMAGE_HEIGHT_PIXELS, IMAGE_WIDTH_PIXELS = 384, 448
"""Images are scaled to fit into this: cells are large enough to be seen, and two wide images fit on a screen."""
LEAST_WIDTH_PIXELS = 760
"""Of the picture, so that what is written fits beside narrow images too."""
MARGIN_PIXELS, GAP_PIXELS, LINE_PIXELS = 16, 72, 26
"""At the edges, between images, of a line of text."""
TEXT_COLOUR, QUIET_COLOUR = (240, 240, 240), (176, 184, 192)
NEGATIVE_COLOUR = (80, 200, 255)
"""Of lines that take away from the score."""
HEAT_STOPS = ((80, 200, 255), (20, 80, 150), (24, 24, 28), (160, 60, 20), (255, 200, 60))
"""Colours from -1 to 1 where some contributions are negative."""
HEAT_OPACITY = 0.7
"""The rest is the image in grey."""


def draw_explanation(
    query_image: NDArray[np.uint8],
    gallery_image: NDArray[np.uint8],
    explanation: Explanation,
    *,
    height: int,
    width: int,
    names: tuple[str, str],
    head: str,
    num_lines: int = 12,
) -> NDArray[np.uint8]:
    """Draw two images, the mutual matches that count most, and what every location adds to the score.

    Lines carry their rank by the size of the contribution of both ends: the first is thick and yellow, weaker ones are
    thinner and more violet, those that take away are blue. Heat maps lie outside tall images and below others; both
    have one scale, from the smallest share to the largest, or symmetric about zero where some are negative. Images are
    drawn in the shape of the map, so that its cells are squares.

    Args:
        query_image: RGB, uint8 [H, W, 3], of any size; the map covers all of it.
        gallery_image: RGB, uint8 [H', W', 3].
        explanation: Of their maps, of height x width locations both.
        height: Rows of the feature map.
        width: Columns of the feature map.
        names: What to call query and gallery image; shortened where there is no room.
        head: Which head scored them, in words.
        num_lines: At most so many matches are drawn, >= 1.

    Returns:
        RGB, uint8, at least `LEAST_WIDTH_PIXELS` wide.

    Raises:
        InputError: If the explanation has another number of locations, or num_lines < 1.
    """
    sides = explanation.query, explanation.gallery
    if num_lines < 1:
        raise InputError(f"num_lines must be >= 1, got {num_lines}")
    if any(len(side.match) != height * width for side in sides):
        found = " and ".join(str(len(side.match)) for side in sides)
        raise InputError(f"the {height} x {width} map has {height * width} locations and the explanation {found}")
    layout = _plan(height, width)
    picture = np.full((layout.height, layout.width, 3), GAP_COLOUR, np.uint8)
    shares = [(side.contribution / (explanation.total or 1)).reshape(height, width) for side in sides]
    limits = _limits(np.stack(shares))
    images = [_resize(image, layout) for image in (query_image, gallery_image)]
    for image, share, left, heat_left in zip(images, shares, layout.left_I, layout.heat_left_I, strict=True):
        _paste(picture, image, left, layout.top)
        _paste(picture, _heat_map(image, share, limits, layout), heat_left, layout.heat_top)
    matches = mutual_matches(explanation)
    _draw_matches(picture, matches[:num_lines], layout, width)
    _label(picture, explanation, layout, [f"query: {names[0]}", f"gallery: {names[1]}", f"weights: {head}"])
    _draw_legend(picture, matches, num_lines, limits)
    return picture


@dataclass(frozen=True, kw_only=True, slots=True)
class _Layout:
    """Where everything goes, in pixels."""

    width: int
    height: int
    """Of the picture."""
    image_width: int
    image_height: int
    cell: float
    """Of a location."""
    left_I: tuple[int, int]
    top: int
    """Of the images, with lines between them."""
    heat_left_I: tuple[int, int]
    heat_top: int
    """Of their heat maps."""


def _plan(height: int, width: int) -> _Layout:
    cell = min(IMAGE_HEIGHT_PIXELS / height, IMAGE_WIDTH_PIXELS / width)
    image_width, image_height = max(1, round(width * cell)), max(1, round(height * cell))
    is_beside = 3 * width <= 2 * height
    step = image_width + MARGIN_PIXELS // 2
    used = 2 * image_width + GAP_PIXELS + (2 * step if is_beside else 0)
    total = max(used + 2 * MARGIN_PIXELS, LEAST_WIDTH_PIXELS)
    query_left = (total - 2 * image_width - GAP_PIXELS) // 2
    left_I = (query_left, query_left + image_width + GAP_PIXELS)
    top = MARGIN_PIXELS + 5 * LINE_PIXELS
    heat_top = top if is_beside else top + image_height + LINE_PIXELS + MARGIN_PIXELS // 2
    return _Layout(
        width=total,
        height=heat_top + image_height + 2 * MARGIN_PIXELS + 2 * LINE_PIXELS,
        image_width=image_width,
        image_height=image_height,
        cell=cell,
        left_I=left_I,
        top=top,
        heat_left_I=(left_I[0] - step, left_I[1] + step) if is_beside else left_I,
        heat_top=heat_top,
    )


def _limits(share: NDArray[np.float64]) -> tuple[float, float]:
    """Return the shares at both ends of the colour scale."""
    low, high = float(share.min()), float(share.max())
    return (low, high) if low >= 0 else (-max(high, -low), max(high, -low))


def heat_colours(share: NDArray[np.float64], limits: tuple[float, float]) -> NDArray[np.uint8]:
    """Return RGB colours [..., 3] of shares [...]: dark to bright; blue to yellow if the scale has both signs."""
    low, high = limits
    level = (share - low) / (high - low) if high > low else np.ones_like(share)
    if low < 0:
        stops = np.linspace(0, 1, len(HEAT_STOPS))
        channels = [np.interp(level, stops, [colour[channel] for colour in HEAT_STOPS]) for channel in range(3)]
        return np.rint(np.stack(channels, axis=-1)).astype(np.uint8)
    mapped = cv2.applyColorMap(np.rint(255 * level).astype(np.uint8).reshape(-1, 1), cv2.COLORMAP_INFERNO)
    return np.asarray(mapped[:, 0, ::-1].reshape(*share.shape, 3), np.uint8)


def _heat_map(
    image: NDArray[np.uint8], share: NDArray[np.float64], limits: tuple[float, float], layout: _Layout
) -> NDArray[np.uint8]:
    size = (layout.image_width, layout.image_height)
    heat = cv2.resize(heat_colours(share, limits), size, interpolation=cv2.INTER_NEAREST)
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return np.rint(HEAT_OPACITY * heat + (1 - HEAT_OPACITY) * grey).astype(np.uint8)


def _resize(image: NDArray[np.uint8], layout: _Layout) -> NDArray[np.uint8]:
    way = cv2.INTER_AREA if len(image) > layout.image_height else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (layout.image_width, layout.image_height), interpolation=way), np.uint8)


def _paste(picture: NDArray[np.uint8], image: NDArray[np.uint8], left: int, top: int) -> None:
    picture[top : top + image.shape[0], left : left + image.shape[1]] = image


def _draw_matches(picture: NDArray[np.uint8], matches: list[Match], layout: _Layout, width: int) -> None:
    """Draw lines, the first on top, and above all of them their ranks."""
    largest = max((abs(match.contribution) for match in matches), default=0) or 1
    left_I = np.array(layout.left_I)
    ends = []
    for match in reversed(matches):
        place_I = np.array([match.query_location, match.gallery_location])
        x_I = left_I + (place_I % width + 0.5) * layout.cell
        y_I = layout.top + (place_I // width + 0.5) * layout.cell
        strength = abs(match.contribution) / largest
        colour = line_colour(strength) if match.contribution >= 0 else NEGATIVE_COLOUR
        draw_line(picture, x_I, y_I, colour=colour, strength=strength)
        ends.append((x_I, y_I, colour))
    for rank, (x_I, y_I, colour) in zip(range(len(ends), 0, -1), ends, strict=True):
        for x, y in zip(x_I.astype(int).tolist(), y_I.astype(int).tolist(), strict=True):
            _draw_rank(picture, rank, (x, y), colour)


def _draw_rank(picture: NDArray[np.uint8], rank: int, centre: tuple[int, int], colour: tuple[int, int, int]) -> None:
    (width, height), _ = cv2.getTextSize(str(rank), cv2.FONT_HERSHEY_SIMPLEX, 0.36, 1)
    for shade, radius in ((OUTLINE_COLOUR, 10), (colour, 9)):
        cv2.circle(picture, centre, radius, shade, cv2.FILLED, cv2.LINE_AA)
    ink = OUTLINE_COLOUR if sum(colour) > 330 else TEXT_COLOUR
    place = (centre[0] - width // 2, centre[1] + height // 2)
    cv2.putText(picture, str(rank), place, cv2.FONT_HERSHEY_SIMPLEX, 0.36, ink, 1, cv2.LINE_AA)


def _label(picture: NDArray[np.uint8], explanation: Explanation, layout: _Layout, names: list[str]) -> None:
    """Write numbers and names above the images, and over each image what it shows."""
    numbers = f"score {explanation.score:.3f}   similarity {explanation.similarity:.3f}   raw {explanation.raw:.4f}"
    room = picture.shape[1] - 2 * MARGIN_PIXELS
    _write(picture, numbers, (MARGIN_PIXELS, MARGIN_PIXELS + 14), room, scale=0.6)
    for line, name in enumerate(names, start=1):
        _write(picture, name, (MARGIN_PIXELS, MARGIN_PIXELS + 14 + line * LINE_PIXELS), room)
    for side, left, heat_left in zip(("query", "gallery"), layout.left_I, layout.heat_left_I, strict=True):
        _write(picture, side, (left, layout.top - 8), layout.image_width, QUIET_COLOUR)
        _write(picture, "shares", (heat_left, layout.heat_top - 8), layout.image_width, QUIET_COLOUR)


def _draw_legend(picture: NDArray[np.uint8], matches: list[Match], num_lines: int, limits: tuple[float, float]) -> None:
    """Say what the lines are, and draw the colour scale of the heat maps with the shares at its ends."""
    drawn, whole = matches[:num_lines], "raw" if limits[0] >= 0 else "all contributions"
    text = f"lines: {len(drawn)} of {len(matches)} mutual matches, numbered by share; together "
    text += f"{sum(abs(match.share) for match in drawn):.1%} of {whole}"
    bottom = picture.shape[0] - MARGIN_PIXELS
    _write(picture, text, (MARGIN_PIXELS, bottom - LINE_PIXELS - 4), picture.shape[1] - 2 * MARGIN_PIXELS)
    x, length = _write(picture, f"shares: {limits[0]:.2%}", (MARGIN_PIXELS, bottom), 200) + 8, 200
    picture[bottom - 13 : bottom + 3, x : x + length] = heat_colours(np.linspace(*limits, length), limits)
    text = f"{limits[1]:.2%} of {whole}, per location" + ("; blue takes away" if limits[0] < 0 else "")
    _write(picture, text, (x + length + 8, bottom), picture.shape[1] - x - length - 2 * MARGIN_PIXELS)


def _write(
    picture: NDArray[np.uint8],
    text: str,
    place: tuple[int, int],
    room: int,
    colour: tuple[int, int, int] = TEXT_COLOUR,
    scale: float = 0.48,
) -> int:
    """Write a line from the left end of its baseline, shortened to fit; returns where it ends. OpenCV knows ASCII."""

    def length(words: str) -> int:
        return cv2.getTextSize(words, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)[0][0]

    plain = text.encode("ascii", "replace").decode()
    shown = plain
    while length(shown) > room and len(plain) > 1:
        plain = plain[:-1]
        shown = plain + ".."
    cv2.putText(picture, shown, place, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, 1, cv2.LINE_AA)
    return place[0] + length(shown)
