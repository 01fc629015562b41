"""Fixed cameras: where each stands, what it can see of the ground, and how its sensor changes colours.

A camera is a pinhole with a level optical axis and a shifted sensor: ground coordinates are metres, x to the right of
the picture and z away from the camera, and a point (x, z) at height y appears at

    u = width / 2 + focal x / z,        v = horizon + focal (camera height - y) / z

so a person of h metres is ``h (v - horizon) / camera height`` pixels tall with the feet in row v.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from pretrain.street.config import generator

Lane = Literal["across", "along", "diagonal"]
LANES: tuple[Lane, ...] = ("across", "along", "diagonal")
SIZES = ((384, 288), (320, 240), (512, 384), (400, 304), (352, 272), (448, 336))
"""Width and height in pixels; even, as 4:2:0 video needs."""
AVERAGE_HEIGHT_METRES = 1.7


@dataclass(frozen=True, kw_only=True, slots=True)
class Camera:
    """One camera of a city."""

    number: int
    """1 to the number of cameras."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""
    focal_pixels: float
    horizon_pixels: float
    """Row of the horizon."""
    height_metres: float
    """Height of the camera above the ground."""
    near_metres: float
    """Distance of the nearest way that people take."""
    far_metres: float
    """Distance of the farthest way that people take."""
    lane: Lane
    """How most people walk in front of this camera."""
    gains: tuple[float, float, float]
    """Blue, green and red sensitivity, as factors."""
    gamma: float
    """Exponent of the tone curve; above 1 darkens the middle."""
    saturation: float
    """0 grey, 1 as it is."""
    lift: float
    """Light that fog or glare adds everywhere, as a fraction of white."""
    blur_pixels: float
    """Standard deviation of the lens blur."""
    noise: float
    """Standard deviation of the sensor noise, in grey levels of 255."""
    drift: float
    """Amplitude of the slow change of brightness, as a factor."""
    drift_seconds: float
    """Period of that change."""

    def project(self, x: float, z: float) -> tuple[float, float]:
        """Return column and row of a point on the ground."""
        return (
            self.width / 2 + self.focal_pixels * x / z,
            self.horizon_pixels + self.focal_pixels * self.height_metres / z,
        )

    def pixels_per_metre(self, z: float) -> float:
        """Return the scale at a distance."""
        return self.focal_pixels / z

    def half_view_metres(self, z: float) -> float:
        """Return how far to either side the picture reaches at a distance."""
        return self.width / 2 * z / self.focal_pixels


def make_camera(style: int, number: int) -> Camera:
    """Make camera ``number`` (from 1) of a city; the same whatever the seed, the people and the other cameras are.

    What matters most for colour is spread evenly over the cameras and not drawn at random, so that no two cameras of a
    city happen to agree.
    """
    city, rng = generator(style, 0, "cameras"), generator(style, 0, "camera", number)
    start = city.random(6)
    tint = city.uniform(-0.03, 0.03, size=3)
    hue, gamma, saturation, brightness, near, blur = (
        start + number * np.array([0.618, 0.755, 0.570, 0.413, 0.382, 0.276])
    ) % 1
    width, height = SIZES[(number + int(start[0] * 6)) % len(SIZES)]
    focal = width * rng.uniform(0.95, 1.25)
    near_scale = (122 + 34 * near) / AVERAGE_HEIGHT_METRES
    far_scale = rng.uniform(60, 68) / AVERAGE_HEIGHT_METRES
    horizon = height * rng.uniform(0.03, 0.12)
    strength = rng.uniform(0.04, 0.07)
    cast = np.cos(2 * np.pi * (hue - np.array([2 / 3, 1 / 3, 0]))) * np.array([1, 0.7, 1]) * strength
    gains = np.exp(cast + tint + 0.07 * (brightness - 0.5))
    return Camera(
        number=number,
        width=width,
        height=height,
        focal_pixels=focal,
        horizon_pixels=horizon,
        height_metres=(0.97 * height - horizon) / near_scale,
        near_metres=focal / near_scale,
        far_metres=focal / far_scale,
        lane=LANES[(number + int(start[1] * 3)) % len(LANES)],
        gains=(float(gains[0]), float(gains[1]), float(gains[2])),
        gamma=float(np.exp(-0.1 + 0.2 * gamma)),
        saturation=0.82 + 0.26 * saturation,
        lift=rng.uniform(0, 0.035),
        blur_pixels=0.45 + 0.75 * blur,
        noise=rng.uniform(1.5, 5),
        drift=rng.uniform(0.03, 0.08),
        drift_seconds=rng.uniform(40, 120),
    )
