"""The empty street before a camera: paving and a road in true perspective, a facade, windows, doors, plants."""

from functools import lru_cache

import cv2
import numpy as np

from pretrain.street.cameras import Camera
from pretrain.street.config import generator
from pretrain.street.people import Colour

GROUNDS: tuple[Colour, ...] = ((150, 156, 162), (128, 138, 150), (120, 150, 172), (140, 140, 140), (110, 128, 146))
FACADES: tuple[Colour, ...] = (
    (120, 150, 190),
    (96, 108, 158),
    (180, 190, 196),
    (150, 156, 140),
    (126, 160, 204),
    (140, 120, 110),
)
DETAIL = 2
"""The scene is evaluated at so many samples per pixel and side, and then averaged."""


@lru_cache(maxsize=16)
def draw_scenery(camera: Camera, style: int) -> np.ndarray:
    """Draw what a camera sees when nobody is there: uint8 [H, W, 3] BGR, kept, and so not to be written to."""
    city, rng = generator(style, 0, "city"), generator(style, 0, "scenery", camera.number)
    columns = (np.arange(camera.width * DETAIL)[None] + 0.5) / DETAIL
    rows = (np.arange(camera.height * DETAIL)[:, None] + 0.5) / DETAIL
    wall = camera.far_metres * 1.12 + 0.4
    wall_row = camera.project(0, wall)[1]
    depth = camera.focal_pixels * camera.height_metres / np.maximum(rows - camera.horizon_pixels, 1)
    ground_x = (columns - camera.width / 2) * depth / camera.focal_pixels
    ground = _ground(ground_x, np.broadcast_to(depth, ground_x.shape), camera, city, rng)
    facade_x = (columns - camera.width / 2) * wall / camera.focal_pixels
    facade_y = camera.height_metres - (rows - camera.horizon_pixels) * wall / camera.focal_pixels
    facade_x, facade_y = np.broadcast_arrays(facade_x, facade_y)
    facade = _facade(facade_x, facade_y, city, rng)
    scene = np.where((rows < wall_row)[..., None], facade, ground)
    shade = 1 - 0.3 * np.exp(-np.abs(rows - wall_row) / 7) + 0.1 * (columns / camera.width - 0.5) * rng.uniform(-1, 1)
    scene = np.clip(scene * shade[..., None], 0, 255).astype(np.uint8)
    picture = cv2.resize(scene, (camera.width, camera.height), interpolation=cv2.INTER_AREA)
    for _ in range(int(rng.integers(2, 5))):
        _draw_plant(picture, camera, wall, rng)
    picture.flags.writeable = False
    return picture


def _speckle(first: np.ndarray, second: np.ndarray, salt: int) -> np.ndarray:
    """Hash integer coordinates to 0 ... 1: a texture that stays put."""
    mixed = (first.astype(np.int64) * 73856093) ^ (second.astype(np.int64) * 19349663) ^ (salt * 83492791)
    mixed = (mixed ^ (mixed >> 13)) * 1274126177 & 0x7FFFFFFF
    return (mixed % 1024) / 1023


def _ground(
    x: np.ndarray, z: np.ndarray, camera: Camera, city: np.random.Generator, rng: np.random.Generator
) -> np.ndarray:
    turn = {"across": 0.0, "along": np.pi / 2, "diagonal": np.pi / 4}[camera.lane] + rng.uniform(-0.15, 0.15)
    along, aside = x * np.cos(turn) + z * np.sin(turn), z * np.cos(turn) - x * np.sin(turn)
    tile = float(city.uniform(0.35, 0.8))
    stone = np.array(GROUNDS[int(city.integers(len(GROUNDS)))]) + rng.normal(0, 3, 3)
    row = np.floor(aside / tile)
    column = np.floor(along / (tile * 1.6) + 0.5 * (row % 2))
    joint = (aside / tile % 1 < 0.06) | ((along / (tile * 1.6) + 0.5 * (row % 2)) % 1 < 0.04)
    tone = 0.74 + 0.46 * _speckle(row, column, camera.number) - 0.22 * joint
    tone = tone + 0.2 * (_speckle(np.floor(x * 25), np.floor(z * 25), 5) - 0.5)
    paving = stone * tone[..., None]
    middle = camera.far_metres * np.cos(turn) * 0.85 if camera.lane != "along" else rng.uniform(-1, 1) * 2.5
    off = np.abs(aside - middle)
    asphalt = np.array([84, 82, 80]) * (0.75 + 0.5 * _speckle(np.floor(x * 30), np.floor(z * 30), 9))[..., None]
    road = np.where(((off < 0.06) & (along % 1.6 < 0.9))[..., None], 205.0, asphalt)
    kerb = np.where((off < 1.15)[..., None], road, 175.0)
    return np.where((off < 1.27)[..., None], kerb, paving)


def _facade(x: np.ndarray, y: np.ndarray, city: np.random.Generator, rng: np.random.Generator) -> np.ndarray:
    wide, high = float(rng.uniform(2.2, 4.2)), float(rng.uniform(2.6, 3.4))
    offset = float(rng.uniform(0, wide))
    houses = [np.array(FACADES[int(i)]) + city.normal(0, 8, 3) for i in city.permutation(len(FACADES))[:3]]
    house = np.floor((x + offset * 9) / 6.5).astype(np.int64) % 3
    wall = np.select([(house == i)[..., None] for i in range(3)], houses)
    brick_row = np.floor(y / 0.16)
    brick = _speckle(brick_row, np.floor(x / 0.4 + 0.5 * (brick_row % 2)), 3)
    wall = wall * (0.72 + 0.46 * brick)[..., None]
    in_x, in_y = (x + offset) % wide, y % high
    cell = np.floor((x + offset) / wide)
    is_window = (in_x > 0.35 * wide) & (in_x < 0.78 * wide) & (in_y > 0.9) & (in_y < 2.2)
    is_frame = (in_x > 0.31 * wide) & (in_x < 0.82 * wide) & (in_y > 0.82) & (in_y < 2.3) & ~is_window
    is_door = (y < 2.1) & (in_x > 0.42 * wide) & (in_x < 0.42 * wide + 1) & (_speckle(cell, cell, 11) < 0.4)
    glass = np.array([120, 100, 82]) * (0.7 + 0.6 * _speckle(cell, np.floor(y / high), 7))[..., None]
    wall = np.where(is_frame[..., None], 220.0, np.where(is_window[..., None], glass, wall))
    paint = np.stack([40 + 120 * _speckle(cell, cell + 1, salt) for salt in (21, 22, 23)], axis=-1)
    wall = np.where(is_door[..., None], paint, wall)
    return np.where(((y > 0) & (y < 0.3))[..., None], wall * 0.72, wall)


def _draw_plant(picture: np.ndarray, camera: Camera, wall: float, rng: np.random.Generator) -> None:
    z = wall - 0.25
    x = float(rng.uniform(-1, 1)) * camera.half_view_metres(z)
    u, v = camera.project(x, z)
    scale = camera.pixels_per_metre(z)
    pot = rng.uniform(0.3, 0.5)
    cv2.rectangle(
        picture,
        (round(u - 0.3 * scale), round(v - pot * scale)),
        (round(u + 0.3 * scale), round(v)),
        tuple(int(c) for c in rng.integers(50, 130, size=3)),
        -1,
    )
    for _ in range(70):
        leaf_x, leaf_y = rng.normal(0, 0.26), abs(rng.normal(0.55, 0.35))
        centre = (round(u + leaf_x * scale), round(v - (pot + leaf_y) * scale))
        green = (30 + int(rng.integers(40)), 80 + int(rng.integers(90)), 40 + int(rng.integers(50)))
        axes = (max(1, round(0.09 * scale)), max(1, round(0.05 * scale)))
        cv2.ellipse(picture, centre, axes, float(rng.uniform(0, 180)), 0, 360, green, -1, cv2.LINE_AA)
