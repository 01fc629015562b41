"""From light to the frame of a camera: blur, colour cast, tone curve, slow drift, noise."""

import cv2
import numpy as np

from pretrain.street.cameras import Camera
from pretrain.street.config import generator

NOISE_FRAMES = 5
"""So many frames of noise are drawn once and shifted about; a prime, so that their order does not show."""
NOISE_MARGIN = 64


class Sensor:
    """The imaging chain of one camera; frames may be asked for in any order."""

    def __init__(self, camera: Camera, style: int, seed: int) -> None:
        self.camera = camera
        self._key = (style, seed)
        rng = generator(style, seed, "noise", camera.number)
        shape = (NOISE_FRAMES, camera.height + NOISE_MARGIN, camera.width + NOISE_MARGIN, 3)
        self._noise = np.round(rng.normal(0, camera.noise, shape)).astype(np.int16)
        self._start = rng.uniform(0, 2 * np.pi)
        grey = np.array([0.114, 0.587, 0.299])
        self._colours = (camera.saturation * np.eye(3) + (1 - camera.saturation) * grey).astype(np.float32)

    def expose(self, light: np.ndarray, seconds: float) -> np.ndarray:
        """Turn what is in front of the camera into a frame.

        Args:
            light: uint8 [H, W, 3] BGR, without any cast.
            seconds: When, since the start of the video.

        Returns:
            uint8 [H, W, 3] BGR.
        """
        camera = self.camera
        blurred = cv2.GaussianBlur(light, (0, 0), camera.blur_pixels)
        frame = cv2.LUT(cv2.transform(blurred, self._colours), self._tones(seconds))
        rng = generator(*self._key, f"noise of {camera.number}", round(seconds * 1000))
        which, down, right = rng.integers((NOISE_FRAMES, NOISE_MARGIN, NOISE_MARGIN)).tolist()
        noise = self._noise[which, down : down + camera.height, right : right + camera.width]
        return cv2.add(frame, noise, dtype=cv2.CV_8U)

    def _tones(self, seconds: float) -> np.ndarray:
        """Tone curve of each channel at a time: uint8 [1, 256, 3]."""
        camera = self.camera
        drift = 1 + camera.drift * np.sin(2 * np.pi * seconds / camera.drift_seconds + self._start)
        levels = np.linspace(0, 1, 256)[:, None] * np.array(camera.gains) * drift
        tones = camera.lift + (1 - camera.lift) * np.clip(levels, 0, None) ** camera.gamma
        return np.clip(np.round(tones * 255), 0, 255).astype(np.uint8)[None]
