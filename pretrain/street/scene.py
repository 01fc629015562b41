"""Putting people into the view of a camera at a moment, nearest last, and saying where they truly are."""

from dataclasses import dataclass

import cv2
import numpy as np

from pretrain.street.body import PIXELS_PER_METRE, YAW_STEPS, Sprite, draw_person
from pretrain.street.cameras import Camera
from pretrain.street.imaging import Sensor
from pretrain.street.pose import GAIT_PHASES, STANDING
from pretrain.street.scenery import draw_scenery
from pretrain.street.walks import Walk


@dataclass(frozen=True, slots=True)
class Seen:
    """A person in a frame."""

    identity: int
    left: int
    """Pixels; of the box round the whole drawn body, cut at the border of the picture."""
    top: int
    width: int
    height: int
    visible: float
    """Fraction of the drawn pixels of the whole body that are inside the picture and not hidden; 0 to 1."""


class Scene:
    """One camera before its street, with everybody who will come by."""

    def __init__(self, camera: Camera, walks: list[Walk], style: int, seed: int) -> None:
        self.camera = camera
        self.walks = walks
        self.empty = draw_scenery(camera, style)
        self._sensor = Sensor(camera, style, seed)

    def frame(self, seconds: float) -> tuple[np.ndarray, list[Seen]]:
        """Take a frame.

        Args:
            seconds: When, since the start of the video.

        Returns:
            The frame, uint8 [H, W, 3] BGR, before any compression; and everybody of whom at least a pixel shows,
            nearest last.
        """
        light = self.empty.copy()
        present = [(walk, tick) for walk in self.walks if (tick := walk.tick(seconds)) is not None]
        present.sort(key=lambda item: -item[0].places[item[1], 1])
        owner = np.zeros(light.shape[:2], np.uint8)
        drawn: list[tuple[int, tuple[int, int, int, int], int]] = []
        for walk, tick in present:
            self._draw_shadow(light, *walk.places[tick])
        for number, (walk, tick) in enumerate(present, 1):
            box, pixels = self._draw_walker(light, owner, number, walk, tick)
            drawn.append((walk.person.identity, box, pixels))
        seen: list[Seen] = []
        for number, (identity, (left, top, width, height), pixels) in enumerate(drawn, 1):
            shown = np.count_nonzero(owner[top : top + height, left : left + width] == number)
            if shown:
                seen.append(Seen(identity, left, top, width, height, visible=shown / pixels))
        return self._sensor.expose(light, seconds), seen

    def _draw_walker(
        self, light: np.ndarray, owner: np.ndarray, number: int, walk: Walk, tick: int
    ) -> tuple[tuple[int, int, int, int], int]:
        """Draw one person; return the box (left, top, width, height) inside the picture, and the size in pixels."""
        x, z = walk.places[tick].tolist()
        sprite = _sprite(walk, tick)
        scale = self.camera.pixels_per_metre(z) / PIXELS_PER_METRE
        height, width = sprite.pixels.shape[:2]
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        picture = cv2.resize(sprite.pixels, size, interpolation=cv2.INTER_AREA)
        u, v = self.camera.project(x, z)
        left, top = round(u - sprite.anchor[0] * scale), round(v - sprite.anchor[1] * scale)
        pixels = int(np.count_nonzero(picture[..., 3] > 127))
        x0, y0 = max(left, 0), max(top, 0)
        x1, y1 = min(left + size[0], self.camera.width), min(top + size[1], self.camera.height)
        if x0 < x1 and y0 < y1:
            cut = picture[y0 - top : y1 - top, x0 - left : x1 - left]
            alpha = cv2.merge([cut[..., 3]] * 3)
            behind = cv2.multiply(light[y0:y1, x0:x1], cv2.bitwise_not(alpha), scale=1 / 255)
            light[y0:y1, x0:x1] = cv2.add(behind, cut[..., :3])
            owner[y0:y1, x0:x1][cut[..., 3] > 127] = number
        return (x0, y0, max(x1 - x0, 0), max(y1 - y0, 0)), max(pixels, 1)

    def _draw_shadow(self, light: np.ndarray, x: float, z: float) -> None:
        u, v = self.camera.project(x, z)
        scale = self.camera.pixels_per_metre(z)
        wide, high = round(0.62 * scale), round(0.2 * scale)
        left, top = round(u) - wide // 2, round(v) - high // 2
        x0, y0 = max(left, 0), max(top, 0)
        x1, y1 = min(left + wide, self.camera.width), min(top + high, self.camera.height)
        if x0 < x1 and y0 < y1:
            across = (np.arange(x0, x1)[None] - left - wide / 2) / (wide / 2)
            down = (np.arange(y0, y1)[:, None] - top - high / 2) / (high / 2)
            dark = 1 - 0.4 * np.clip(1 - across**2 - down**2, 0, 1)
            light[y0:y1, x0:x1] = (light[y0:y1, x0:x1] * dark[..., None]).astype(np.uint8)


def _sprite(walk: Walk, tick: int) -> Sprite:
    """Choose the picture of a person for a moment: from which side the camera sees the body, and in which pose."""
    x, z = walk.places[tick].tolist()
    forward = np.array([np.cos(walk.headings[tick]), np.sin(walk.headings[tick])])
    to_camera = -np.array([x, z]) / np.hypot(x, z)
    facing = float(forward @ to_camera)
    rightward = float(-forward[0] * to_camera[1] + forward[1] * to_camera[0])
    yaw_step = round(np.arctan2(rightward, facing) / (2 * np.pi) * YAW_STEPS) % YAW_STEPS
    cycle = float(walk.cycles[tick])
    phase = STANDING if cycle < 0 else int(cycle * GAIT_PHASES) % GAIT_PHASES
    return draw_person(walk.person, yaw_step, phase)
