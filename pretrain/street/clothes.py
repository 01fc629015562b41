"""Textures of garments and heads, unwrapped round the body.

A texture is ``uint8 [rows, 256, 3]`` BGR: rows run from the top to the bottom of the part, columns once round it, with
the front in the middle (column 128), the person's left at 192 and the back at both ends. So a logo that is drawn in the
middle shows from the front alone, and stripes meet behind.
"""

from functools import lru_cache

import cv2
import numpy as np

from pretrain.street.people import Colour, Person

ROWS, COLUMNS = 96, 256
FRONT = COLUMNS // 2


def shaded(colour: Colour, factor: float) -> Colour:
    """Darken (factor < 1) or lighten a colour."""
    blue, green, red = (min(255, round(value * factor)) for value in colour)
    return blue, green, red


@lru_cache(maxsize=256)
def upper_texture(person: Person) -> np.ndarray:
    """Draw the upper garment, from the shoulders to its hem."""
    cloth = np.empty((ROWS, COLUMNS, 3), np.uint8)
    cloth[:] = person.upper_colour
    accent = person.pattern_colour
    row, column = np.arange(ROWS), np.arange(COLUMNS)
    thickness = 1 + person.pattern_scale
    if person.pattern == "rings":
        cloth[(row // round(6 * thickness)) % 2 == 1] = accent
    elif person.pattern == "pinstripes":
        cloth[:, (column % round(16 * thickness)) < 6 * thickness] = accent
    elif person.pattern == "check":
        step = 8 * thickness
        crossing = ((row // step) % 2)[:, None] + ((column // (1.6 * step)) % 2)[None]
        cloth[crossing == 2] = accent
        cloth[crossing == 1] = np.add(person.upper_colour, accent) // 2
    elif person.pattern == "logo":
        _draw_logo(cloth, accent, person.pattern_scale)
    elif person.pattern == "two-tone":
        cloth[row > ROWS * (0.32 + 0.3 * person.pattern_scale)] = accent
    elif person.pattern == "band":
        top = round(ROWS * 0.26)
        cloth[top : top + round(14 * thickness)] = accent
    elif person.pattern == "open":
        half = round(13 + 16 * person.pattern_scale)
        cloth[:, FRONT - half : FRONT + half] = accent
        for edge in (FRONT - half, FRONT + half):
            cv2.line(cloth, (edge, 0), (edge, ROWS), shaded(person.upper_colour, 0.6), 3)
    cloth[:5] = shaded(person.upper_colour, 0.8)  # the collar
    return cloth


def _draw_logo(cloth: np.ndarray, colour: Colour, choice: float) -> None:
    shape, size = int(choice * 4), 15 + round(choice * 40) % 9
    middle = round(ROWS * 0.36)
    wide = round(size * 1.5)  # a texture has about 1.5 times more columns than rows per metre
    if shape == 0:
        cv2.ellipse(cloth, (FRONT, middle), (wide, size), 0, 0, 360, colour, -1, cv2.LINE_AA)
    elif shape == 1:
        cv2.rectangle(cloth, (FRONT - wide, middle - size), (FRONT + wide, middle + size), colour, -1)
    elif shape == 2:
        corners = [(FRONT - wide, middle + size), (FRONT + wide, middle + size), (FRONT, middle - size)]
        cv2.fillConvexPoly(cloth, np.array(corners, np.int32), colour, cv2.LINE_AA)
    else:
        cv2.line(cloth, (FRONT - wide, middle), (FRONT + wide, middle), colour, 9)
        cv2.line(cloth, (FRONT, middle - size), (FRONT, middle + size), colour, 12)


@lru_cache(maxsize=256)
def lower_texture(person: Person) -> np.ndarray:
    """Draw a skirt, from the waist to its hem."""
    cloth = np.empty((ROWS, COLUMNS, 3), np.uint8)
    cloth[:] = person.lower_colour
    cloth[:, np.arange(COLUMNS) % 32 < 8] = shaded(person.lower_colour, 0.8)  # folds
    if person.has_side_stripe:
        cloth[-22:-10] = person.pattern_colour
    return cloth


@lru_cache(maxsize=256)
def head_texture(person: Person) -> np.ndarray:
    """Draw the head, from the crown to the chin: a face in front, hair above and behind, perhaps a hat."""
    head = np.empty((ROWS, COLUMNS, 3), np.uint8)
    head[:] = person.skin
    row, column = np.arange(ROWS)[:, None] / ROWS, np.abs(np.arange(COLUMNS)[None] - FRONT) / FRONT
    if person.is_bearded:
        head[(row > 0.66) & (column < 0.42)] = person.hair_colour
    cv2.line(head, (FRONT - 10, 76), (FRONT + 10, 76), shaded(person.skin, 0.55), 4)
    for eye in (FRONT - 19, FRONT + 19):
        cv2.ellipse(head, (eye, 50), (7, 5), 0, 0, 360, (30, 26, 24), -1)
    cv2.line(head, (FRONT, 52), (FRONT, 63), shaded(person.skin, 0.8), 5)
    if person.hair != "bald":
        nape = {"short": 0.78, "afro": 0.95, "bun": 0.8, "tail": 0.8, "long": 1.0}[person.hair]
        hairline = np.interp(column, (0, 0.32, 0.42, 0.55), (0.26, 0.3, 0.55, nape))
        head[np.broadcast_to(row < hairline, (ROWS, COLUMNS))] = person.hair_colour
    if person.hat != "none":
        rim = 0.4 if person.hat == "beanie" else 0.34
        head[np.broadcast_to(row < rim, (ROWS, COLUMNS))] = person.hat_colour
        head[np.broadcast_to(np.abs(row - rim + 0.05) < 0.05, (ROWS, COLUMNS))] = shaded(person.hat_colour, 0.7)
    return head
