"""Two brushes for bodies: tapered limbs and textured solids of revolution, on premultiplied BGRA canvases.

Anti-aliased drawing of an opaque colour on a transparent black canvas leaves colour times coverage and 255 times
coverage in the four channels, which is what premultiplied alpha means; so OpenCV's own lines and polygons serve.
"""

import math
from collections.abc import Sequence

import cv2
import numpy as np

from pretrain.street.clothes import COLUMNS, shaded
from pretrain.street.people import Colour

Point = tuple[float, float]
"""Column and row, in pixels."""
SHIFT = 4
"""Fractional bits of the coordinates handed to OpenCV: sixteenths of a pixel."""


def _fixed(value: float) -> int:
    return round(value * (1 << SHIFT))


def fill_polygon(canvas: np.ndarray, corners: Sequence[Point], colour: Colour) -> None:
    """Fill a polygon whose corners are (x, y) in pixels."""
    points = np.array([(_fixed(x), _fixed(y)) for x, y in corners], np.int32)
    cv2.fillPoly(canvas, [points], (*colour, 255), cv2.LINE_AA, SHIFT)


def fill_circle(canvas: np.ndarray, centre: Point, radius: float, colour: Colour) -> None:
    """Fill a circle around a point; all in pixels."""
    place = (_fixed(centre[0]), _fixed(centre[1]))
    cv2.circle(canvas, place, _fixed(radius), (*colour, 255), -1, cv2.LINE_AA, SHIFT)


def draw_limb(canvas: np.ndarray, start: Point, end: Point, radii: tuple[float, float], colour: Colour) -> None:
    """Draw a limb between two points with a radius at each, lit from the left; all in pixels."""
    _draw_capsule(canvas, start, end, radii, shaded(colour, 0.74))
    light = 0.22 * max(radii)
    start, end = (start[0] - light, start[1]), (end[0] - light, end[1])
    _draw_capsule(canvas, start, end, (radii[0] * 0.72, radii[1] * 0.72), colour)


def _draw_capsule(canvas: np.ndarray, start: Point, end: Point, radii: tuple[float, float], colour: Colour) -> None:
    fill_circle(canvas, start, radii[0], colour)
    fill_circle(canvas, end, radii[1], colour)
    along = (end[0] - start[0], end[1] - start[1])
    length = math.hypot(*along)
    if length > 1e-6:
        (a, b), (side_x, side_y) = radii, (-along[1] / length, along[0] / length)
        fill_polygon(
            canvas,
            (
                (start[0] + side_x * a, start[1] + side_y * a),
                (end[0] + side_x * b, end[1] + side_y * b),
                (end[0] - side_x * b, end[1] - side_y * b),
                (start[0] - side_x * a, start[1] - side_y * a),
            ),
            colour,
        )


def draw_solid(
    canvas: np.ndarray,
    texture: np.ndarray,
    *,
    centre: float,
    rows: tuple[float, float],
    half_width: np.ndarray,
    half_depth: np.ndarray,
    yaw: float,
) -> None:
    """Draw an upright solid with elliptical sections, seen from a side, with a texture wrapped round it.

    A section with half axes a (across the body) and b (along its facing direction), seen under yaw y, is
    ``w = hypot(a cos y, b sin y)`` wide to either side, and the screen column ``t w`` shows the point of the surface
    at the angle ``asin(t) - atan2(b sin y, a cos y)`` from the front.

    Args:
        canvas: uint8 [H, W, 4], changed in place.
        texture: uint8 [rows, 256, 3], see `pretrain.street.clothes`.
        centre: Column of the axis, in pixels.
        rows: First and last row, in pixels.
        half_width: float [N] a from top to bottom, in pixels; resampled to the rows.
        half_depth: float [N] b, in pixels.
        yaw: 0 faces the viewer, pi / 2 faces the right of the picture; radians.
    """
    top, bottom = round(rows[0]), max(round(rows[0]) + 2, round(rows[1]))
    down = np.linspace(0, 1, bottom - top)
    knots = np.linspace(0, 1, len(half_width))
    a, b = (np.interp(down, knots, axis)[:, None] for axis in (half_width, half_depth))
    width = np.maximum(np.hypot(a * np.cos(yaw), b * np.sin(yaw)), 0.5)
    left = int(np.floor(centre - width.max())) - 1
    across = np.arange(left, int(np.ceil(centre + width.max())) + 2)[None] - centre
    angle = np.arcsin(np.clip(across / width, -1, 1))
    turn = np.arctan2(b * np.sin(yaw), a * np.cos(yaw))
    column = ((angle - turn) / (2 * np.pi) + 0.5) % 1.0 * COLUMNS
    row = np.broadcast_to(down[:, None] * (len(texture) - 1), column.shape)
    cloth = cv2.remap(
        texture, column.astype(np.float32), row.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP
    )
    light = 0.68 + 0.32 * np.cos(angle + 0.5)
    alpha = np.clip(width - np.abs(across) + 0.5, 0, 1)[..., None]
    painted = np.concatenate([cloth * light[..., None], np.full((*light.shape, 1), 255.0)], axis=2)
    patch = canvas[top:bottom, left : left + across.shape[1]]
    patch[:] = np.round(painted * alpha + patch * (1 - alpha)).astype(np.uint8)
