"""What a street is made of, and where its randomness comes from."""

import zlib
from dataclasses import dataclass

import numpy as np

from cluster.errors import InputError

MAX_CAMERAS = 9
"""File names of crops hold one digit for the camera."""
MAX_IDENTITIES = 9999
"""File names of crops hold four digits for the identity."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StreetConfig:
    """One street. Equal configs give the same people, walks, truth and frames (before encoding) on any machine."""

    style: int = 0
    """The domain: look of the city, palette and season of the clothing, tendencies of the cameras; >= 0."""
    seed: int = 0
    """Who the people are and who walks where, in the city and before the cameras of ``style``; >= 0."""
    identities: int = 60
    """People in the training videos, numbered from 1; each passes about two cameras, once. With 6 cameras, as many
    people as seconds keep about 4 in view of each."""
    test_identities: int = 40
    """People of the retrieval split, numbered on from ``identities`` and seen nowhere else; 0 writes no split."""
    train_identities: int = 0
    """People of the labelled training split, numbered on from the test people and seen nowhere else; 0 writes none.
    They change nothing of the videos and of the retrieval split."""
    keep_company: bool = False
    """Whether people of the labelled splits pass all their cameras among the same others, in one order, as on a way
    between them; otherwise every camera sees them in an order of its own, and times say nothing of who is who."""
    cameras: int = 6
    """Fixed cameras, one video each; 1 to 9."""
    seconds: float = 60
    """Length of each video."""
    fps: int = 10
    """Frames per second of each video; 1 to 60."""

    def __post_init__(self) -> None:
        for name in ("style", "seed", "identities", "test_identities", "train_identities"):
            least = 1 if name == "identities" else 0
            if getattr(self, name) < least:
                raise InputError(f"street.{name} must be >= {least}, got {getattr(self, name)}")
        total = self.identities + self.test_identities + self.train_identities
        if total > MAX_IDENTITIES:
            raise InputError(
                f"street.identities + test_identities + train_identities must be <= {MAX_IDENTITIES}, "
                f"got {total}: lower one"
            )
        if not 1 <= self.cameras <= MAX_CAMERAS:
            raise InputError(f"street.cameras must be 1 to {MAX_CAMERAS}, got {self.cameras}")
        for name, why in (("test_identities", "retrieval"), ("train_identities", "training pairs")):
            if getattr(self, name) and self.cameras < 2:
                raise InputError(f"street.cameras must be >= 2 for {why} across cameras, got 1: or set {name}=0")
        if not 1 <= self.fps <= 60:
            raise InputError(f"street.fps must be 1 to 60, got {self.fps}")
        if self.seconds == float("inf"):
            raise InputError(f"street.seconds must be finite, got {self.seconds}")
        if not self.seconds * self.fps >= 1:
            raise InputError(f"street.seconds must hold at least one frame at {self.fps} fps, got {self.seconds}")

    @property
    def num_frames(self) -> int:
        """Frames in each video."""
        return round(self.seconds * self.fps)

    @property
    def test_people(self) -> range:
        """Numbers of the people of the retrieval split."""
        return range(self.identities + 1, self.identities + self.test_identities + 1)

    @property
    def train_people(self) -> range:
        """Numbers of the people of the labelled training split."""
        return range(self.test_people.stop, self.test_people.stop + self.train_identities)


def generator(style: int, seed: int, what: str, number: int = 0) -> np.random.Generator:
    """Make the generator of one thing, so that a thing stays the same when there are more or fewer of the others.

    Args:
        style: The domain.
        seed: The seed of the street; 0 by convention for what belongs to the city and not to a seed.
        what: The kind of thing, such as ``person``; hashed with CRC-32, which every machine computes alike.
        number: Which of its kind.
    """
    return np.random.default_rng((style, seed, zlib.crc32(what.encode()), number))
