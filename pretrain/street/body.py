"""Drawing one person from one direction in one pose, as a small picture with transparency."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np

from pretrain.street.clothes import head_texture, lower_texture, shaded, upper_texture
from pretrain.street.paint import draw_limb, draw_solid, fill_circle, fill_polygon
from pretrain.street.people import Colour, Person
from pretrain.street.pose import joints

PIXELS_PER_METRE = 100
"""Resolution of a sprite: above that of the nearest person in any camera, so that sprites are only ever reduced."""
YAW_STEPS = 24
"""Directions from which a person is drawn, 15 degrees apart."""
ORIGIN = (92.0, 214.0)
"""Where the canvas holds the point on the ground between the feet: (x, y) in pixels."""
CANVAS = (224, 184)


@dataclass(frozen=True, slots=True)
class Sprite:
    """A drawn person, cut out tightly."""

    pixels: np.ndarray
    """uint8 [h, w, 4], BGRA with premultiplied alpha."""
    anchor: tuple[float, float]
    """The point on the ground between the feet: (x, y) in pixels of the cut-out."""


class _Figure:
    """A canvas, the direction of view, and the parts still to draw, which a nearer one may hide."""

    def __init__(self, yaw: float) -> None:
        self.canvas = np.zeros((*CANVAS, 4), np.uint8)
        self.yaw = yaw
        self.cos, self.sin = float(np.cos(yaw)), float(np.sin(yaw))
        self.parts: list[tuple[float, int, Callable[[], None]]] = []

    def seen(self, point: np.ndarray) -> tuple[float, float, float]:
        """Project (X, Y, Z) in metres to (column, row, metres towards the viewer)."""
        x, y, z = point.tolist()
        column = ORIGIN[0] + PIXELS_PER_METRE * (x * self.cos + z * self.sin)
        return column, ORIGIN[1] - PIXELS_PER_METRE * y, z * self.cos - x * self.sin

    def add(self, depth: float, draw: Callable[[], None]) -> None:
        self.parts.append((depth, len(self.parts), draw))

    def limb(
        self, start: np.ndarray, end: np.ndarray, radii: tuple[float, float], colour: Colour, nearer: float = 0.0
    ) -> None:
        a, b = self.seen(start), self.seen(end)
        pixels = (radii[0] * PIXELS_PER_METRE, radii[1] * PIXELS_PER_METRE)
        self.add((a[2] + b[2]) / 2 + nearer, partial(draw_limb, self.canvas, a[:2], b[:2], pixels, colour))

    def solid(
        self,
        texture: np.ndarray,
        centre: np.ndarray,
        top: float,
        bottom: float,
        width: np.ndarray,
        depth: np.ndarray,
        nearer: float = 0.0,
    ) -> None:
        axis = self.seen(centre)
        self.add(
            axis[2] + nearer,
            partial(
                draw_solid,
                self.canvas,
                texture,
                centre=axis[0],
                rows=(ORIGIN[1] - PIXELS_PER_METRE * top, ORIGIN[1] - PIXELS_PER_METRE * bottom),
                half_width=width * PIXELS_PER_METRE,
                half_depth=depth * PIXELS_PER_METRE,
                yaw=self.yaw,
            ),
        )

    def ball(self, centre: np.ndarray, radius: float, colour: Colour, nearer: float = 0.0) -> None:
        point = self.seen(centre)
        self.add(point[2] + nearer, partial(fill_circle, self.canvas, point[:2], radius * PIXELS_PER_METRE, colour))

    def finish(self) -> np.ndarray:
        for _, _, draw in sorted(self.parts, key=lambda part: part[:2]):
            draw()
        return self.canvas


@lru_cache(maxsize=2048)
def draw_person(person: Person, yaw_step: int, phase: int) -> Sprite:
    """Draw a person; cached, because a walk shows the same few pictures again and again.

    Args:
        person: Whom to draw.
        yaw_step: Which of `YAW_STEPS` directions: 0 faces the viewer, a quarter of the steps faces the right of the
            picture, half of them shows the back.
        phase: Pose in the cycle of the gait, or `pretrain.street.pose.STANDING`.
    """
    figure = _Figure(2 * np.pi * yaw_step / YAW_STEPS)
    points = joints(person, phase)
    rise = points["hip_left"][1] - person.height_metres * person.legs  # the body bobs as it walks
    _add_legs(figure, person, points)
    _add_torso(figure, person, rise)
    _add_arms(figure, person, points)
    _add_head(figure, person, rise)
    _add_bag(figure, person, points, rise)
    canvas = figure.finish()
    rows, columns = np.flatnonzero(canvas[..., 3].any(1)), np.flatnonzero(canvas[..., 3].any(0))
    top, left = int(rows[0]), int(columns[0])
    pixels = np.ascontiguousarray(canvas[top : rows[-1] + 1, left : columns[-1] + 1])
    return Sprite(pixels, (ORIGIN[0] - left, ORIGIN[1] - top))


def _add_legs(figure: _Figure, person: Person, points: dict[str, np.ndarray]) -> None:
    tall, build = person.height_metres, 0.5 + 0.5 * person.build
    thigh = person.skin if person.lower == "skirt" else person.lower_colour
    shank = person.lower_colour if person.lower == "trousers" else person.skin
    loose = 1.15 if person.lower == "trousers" else 1.0
    for side in ("left", "right"):
        hip, knee, ankle, toe = (points[f"{joint}_{side}"] for joint in ("hip", "knee", "ankle", "toe"))
        figure.limb(ankle, toe, (0.024 * tall, 0.018 * tall), person.shoe_colour, -0.02)
        figure.limb(knee, ankle, (0.031 * tall * build * loose, 0.022 * tall * build * loose), shank, -0.01)
        figure.limb(hip, knee, (0.047 * tall * build, 0.035 * tall * build), thigh, 0.0)
        if person.has_side_stripe and person.lower != "skirt":
            out = np.array([0.04 if side == "left" else -0.04, 0, 0]) * tall * build
            end = ankle if person.lower == "trousers" else knee
            figure.limb(knee + out, end + out * 0.7, (0.012, 0.012), person.pattern_colour, 0.0)
            figure.limb(hip + out, knee + out, (0.012, 0.012), person.pattern_colour, 0.0)


def _add_torso(figure: _Figure, person: Person, rise: float) -> None:
    tall, build = person.height_metres, person.build
    shoulders, waist = 0.835 * tall + rise, (person.legs - 0.03) * tall + rise
    middle = np.zeros(3)
    width = tall * build * np.array([0.036, 0.086, 0.102, 0.1, 0.093, 0.088, 0.093, 0.099, 0.102])
    depth = tall * build * np.array([0.035, 0.055, 0.065, 0.068, 0.066, 0.064, 0.066, 0.068, 0.068])
    if person.is_coat:
        waist -= 0.13 * tall
        width = np.append(width, [0.108 * tall * build, 0.114 * tall * build])
        depth = np.append(depth, [0.078 * tall * build, 0.088 * tall * build])
    if person.lower == "skirt":
        flare = tall * build * np.array([0.09, 0.1, 0.115, 0.13])
        top, hem = (person.legs + 0.05) * tall + rise, (person.legs - 0.19) * tall + rise
        figure.solid(lower_texture(person), middle, top, hem, flare, flare * 0.85, 0.16)
    figure.limb(
        np.array([0, 0.88 * tall + rise, 0]), np.array([0, 0.82 * tall + rise, 0]), (0.05, 0.05), person.skin, 0.165
    )
    figure.solid(upper_texture(person), middle, shoulders, waist, width, depth, 0.17)


def _add_arms(figure: _Figure, person: Person, points: dict[str, np.ndarray]) -> None:
    tall, build = person.height_metres, 0.6 + 0.4 * person.build
    for side in ("left", "right"):
        shoulder, elbow, hand = (points[f"{joint}_{side}"] for joint in ("shoulder", "elbow", "hand"))
        is_near = figure.seen(shoulder)[2] > -0.08
        nearer = 0.36 if is_near else -0.36  # a whole arm is before or behind the torso
        upper = person.skin if person.sleeve == 0 else person.sleeve_colour
        lower = person.sleeve_colour if person.sleeve == 1 else person.skin
        figure.ball(hand - np.array([0, 0.03, 0]), 0.028 * tall, person.skin, nearer - 0.03)
        figure.limb(elbow, hand, (0.025 * tall * build, 0.019 * tall * build), lower, nearer - 0.02)
        figure.limb(shoulder, elbow, (0.031 * tall * build, 0.026 * tall * build), upper, nearer)


def _add_head(figure: _Figure, person: Person, rise: float) -> None:
    tall = person.height_metres
    crown, chin = tall + rise, 0.868 * tall + rise
    arc = (1 - np.abs(np.linspace(-1, 0.95, 25)) ** 2.6) ** (1 / 2.2)
    centre = np.array([0, 0, 0.015])
    nearer = 0.5
    figure.solid(head_texture(person), centre, crown, chin, 0.092 * arc, 0.108 * arc, nearer)
    if person.hair == "afro":
        figure.ball(np.array([0, 0.945 * tall + rise, -0.03]), 0.135, shaded(person.hair_colour, 0.92), nearer - 0.04)
    elif person.hair == "bun" and person.hat != "beanie":
        figure.ball(np.array([0, 0.985 * tall + rise, -0.09]), 0.052, shaded(person.hair_colour, 0.9), nearer)
    elif person.hair == "tail":
        top, end = np.array([0, 0.955 * tall + rise, -0.09]), np.array([0, 0.84 * tall + rise, -0.14])
        figure.limb(top, end, (0.042, 0.022), person.hair_colour, nearer)
    elif person.hair == "long":
        fall = np.broadcast_to(np.array(person.hair_colour, np.uint8), (2, 256, 3)).copy()
        width = np.array([0.08, 0.1, 0.108, 0.112, 0.1, 0.07])
        back, nearer_hair = np.array([0, 0, -0.06]), nearer if figure.cos < 0.3 else 0.1
        figure.solid(fall, back, 0.97 * tall + rise, 0.75 * tall + rise, width, width * 0.55, nearer_hair)
    if person.hat == "cap":
        brow, tip = np.array([0, 0.957 * tall + rise, 0.09]), np.array([0, 0.957 * tall + rise - 0.012, 0.18])
        figure.limb(brow, tip, (0.035, 0.022), shaded(person.hat_colour, 0.8), nearer + 0.03)


def _add_bag(figure: _Figure, person: Person, points: dict[str, np.ndarray], rise: float) -> None:
    tall, colour = person.height_metres, person.bag_colour
    side = "left" if person.bag_side > 0 else "right"
    shoulder, hand = points[f"shoulder_{side}"], points[f"hand_{side}"]
    if person.bag == "backpack":
        texture = np.empty((24, 256, 3), np.uint8)
        texture[:], texture[4:6], texture[14:16] = colour, shaded(colour, 0.6), shaded(colour, 0.6)
        width = np.array([0.08, 0.13, 0.145, 0.15, 0.15, 0.14])
        nearer = 0.38 if figure.cos < 0.35 else 0.0
        figure.solid(
            texture, np.array([0, 0, -0.17]), 0.83 * tall + rise, 0.57 * tall + rise, width, width * 0.62, nearer
        )
        if figure.cos > 0.2:
            for x in (-0.105, 0.105):
                strap = [np.array([x, 0.815 * tall + rise, 0.06]), np.array([x * 1.1, 0.64 * tall + rise, 0.09])]
                figure.limb(strap[0], strap[1], (0.02, 0.016), colour, 0.3)
    elif person.bag == "handbag":
        _add_box(figure, hand - np.array([0, 0.2, 0]), (0.05, 0.12, 0.16), colour, 0.4)
        figure.limb(hand, hand - np.array([0, 0.1, 0]), (0.012, 0.012), shaded(colour, 0.6), 0.39)
    elif person.bag == "satchel":
        out = np.sign(shoulder[0])
        hip = np.array([out * 0.155 * person.build, (person.legs - 0.01) * tall + rise, -0.02])
        _add_box(figure, hip, (0.05, 0.1, 0.15), colour, 0.42)
        across = np.array([-shoulder[0] * 0.7, 0.82 * tall + rise, 0.085 if figure.cos >= 0 else -0.085])
        figure.limb(across, hip + np.array([0, 0.08, 0]), (0.016, 0.016), shaded(colour, 0.7), 0.25)


def _add_box(
    figure: _Figure, centre: np.ndarray, halves: tuple[float, float, float], colour: Colour, nearer: float
) -> None:
    x, y, depth = figure.seen(centre)
    across = (abs(halves[0] * figure.cos) + abs(halves[2] * figure.sin)) * PIXELS_PER_METRE
    down = halves[1] * PIXELS_PER_METRE
    corners = [
        (x - across, y + down),
        (x + across, y + down),
        (x + across * 0.85, y - down),
        (x - across * 0.85, y - down),
    ]
    lid = [(x - across * 0.9, y), (x + across * 0.9, y), (x + across * 0.85, y - down), (x - across * 0.85, y - down)]
    is_near = 1 if depth > -0.08 else -1
    figure.add(depth + nearer * is_near, partial(fill_polygon, figure.canvas, corners, colour))
    figure.add(depth + nearer * is_near + 0.001, partial(fill_polygon, figure.canvas, lid, shaded(colour, 0.78)))
