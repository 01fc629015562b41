"""Ways that people take through the view of a camera, and who takes them when."""

from dataclasses import dataclass

import numpy as np

from pretrain.street.cameras import Camera
from pretrain.street.config import StreetConfig, generator
from pretrain.street.people import Person
from pretrain.street.pose import STANDING, stride_metres

RETRIEVAL_START_SECONDS = 60.0
"""The labelled splits are filmed from here on, so that the first walk's beginning is not before time 0."""
TICK_SECONDS = 0.05
"""Walks are tabulated at this step."""
SIDE_MARGIN_METRES = 0.7
"""A walk starts and ends so far outside the picture."""


@dataclass(frozen=True, slots=True)
class Walk:
    """One person crossing the view of one camera once."""

    person: Person
    start_seconds: float
    places: np.ndarray
    """float64 [T, 2], (x, z) in metres on the ground, one row per tick."""
    headings: np.ndarray
    """float64 [T], direction that the body faces: 0 to the right of the picture, pi / 2 away from the camera."""
    cycles: np.ndarray
    """float64 [T], cycles of the gait since the start; negative while the person stands."""

    @property
    def seconds(self) -> float:
        """How long the walk lasts."""
        return (len(self.places) - 1) * TICK_SECONDS

    def tick(self, seconds: float) -> int | None:
        """Return the row of the tables for a time of the video; None when the person is not there."""
        index = round((seconds - self.start_seconds) / TICK_SECONDS)
        return index if 0 <= index < len(self.places) else None


def training_walks(config: StreetConfig, camera: Camera, people: dict[int, Person]) -> list[Walk]:
    """Make the walks of the training people before one camera: each visits about two cameras, once.

    So the number of people, and not the length of the videos, says how many there are to learn from, and two crops of
    different videos rarely show the same person.
    """
    visitors = [identity for identity in people if camera.number in _cameras_of(config, identity, least=1, most=3)]
    rng = generator(config.style, config.seed, "schedule", camera.number)
    people_in_order = [people[i] for i in rng.permutation(visitors).tolist()]
    return _spread(rng, camera, people_in_order, 0, config.seconds)


def retrieval_walks(
    config: StreetConfig, camera: Camera, people: dict[int, Person], *, spacing_seconds: float, part: str = "test"
) -> list[Walk]:
    """Make the walks of a labelled split's people before one camera: each visits three cameras or four, once.

    Nobody starts before time 0: the first is halfway after `RETRIEVAL_START_SECONDS`. Each ``part`` has randomness of
    its own.
    """
    visitors = [i for i in people if camera.number in _cameras_of(config, i, least=3, most=4)]
    rng = generator(config.style, config.seed, f"{part} schedule", camera.number)
    order = rng.permutation(visitors).tolist()
    if config.keep_company:
        everybody = generator(config.style, config.seed, f"{part} company").permutation(list(people)).tolist()
        order = [i for i in everybody if i in visitors]
    people_in_order = [people[i] for i in order]
    return _spread(rng, camera, people_in_order, RETRIEVAL_START_SECONDS, len(visitors) * spacing_seconds)


def _cameras_of(config: StreetConfig, identity: int, *, least: int, most: int) -> list[int]:
    rng = generator(config.style, config.seed, "cameras", identity)
    count = min(int(rng.integers(least, most + 1)), config.cameras)
    return (1 + rng.permutation(config.cameras)[:count]).tolist()


def _spread(rng: np.random.Generator, camera: Camera, people: list[Person], first: float, length: float) -> list[Walk]:
    """Give each person a walk; the middles of the walks fill the time evenly, so that the street is always as busy."""
    walks: list[Walk] = []
    for order, person in enumerate(people):
        middle = first + (order + rng.random()) / len(people) * length
        walks.append(make_walk(rng, camera, person, middle))
    return walks


def make_walk(rng: np.random.Generator, camera: Camera, person: Person, middle_seconds: float) -> Walk:
    """Draw one walk.

    Args:
        rng: Decides the way, the speed and the pauses.
        camera: Before which camera.
        person: Who walks.
        middle_seconds: The time of the video in which half of the walk is over.
    """
    corners = _corners(rng, camera)
    t = np.linspace(0, 1, 400)[:, None]
    curve = (
        (1 - t) ** 3 * corners[0]
        + 3 * (1 - t) ** 2 * t * corners[1]
        + 3 * (1 - t) * t**2 * corners[2]
        + t**3 * corners[3]
    )
    way = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(curve, axis=0).T))])
    speed = rng.uniform(0.6, 1.1)
    ticks = int(np.ceil(way[-1] / speed / TICK_SECONDS))
    walked = np.linspace(0, way[-1], ticks + 1)
    turned = np.zeros(ticks + 1)
    is_standing = np.zeros(ticks + 1, bool)
    if rng.random() < 0.5:
        walked, turned, is_standing = _with_pause(rng, walked)
    places = np.stack([np.interp(walked, way, curve[:, axis]) for axis in (0, 1)], axis=1)
    tangent = np.gradient(curve, axis=0)
    angle = np.unwrap(np.arctan2(tangent[:, 1], tangent[:, 0]))
    headings = np.interp(walked, way, angle) + turned
    cycles = np.where(is_standing, STANDING, walked / stride_metres(person))
    return Walk(person, middle_seconds - len(places) * TICK_SECONDS / 2, places, headings, cycles)


def _with_pause(rng: np.random.Generator, walked: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Insert a stop of 1.5 to 5 seconds, during which the person looks round and turns back to the way."""
    stop = int(len(walked) * rng.uniform(0.3, 0.7))
    length = int(rng.uniform(1.5, 5) / TICK_SECONDS)
    look = rng.uniform(-np.pi, np.pi) * np.sin(np.linspace(0, np.pi, length)) ** 2
    zeros = (np.zeros(stop), np.zeros(len(walked) - stop))
    longer = np.concatenate([walked[:stop], np.full(length, walked[stop]), walked[stop:]])
    turned = np.concatenate([zeros[0], look, zeros[1]])
    is_standing = np.concatenate([zeros[0], np.ones(length), zeros[1]]) > 0
    return longer, turned, is_standing


def _corners(rng: np.random.Generator, camera: Camera) -> np.ndarray:
    """Draw the four control points of a Bezier curve: float64 [4, 2]. Walks enter and leave at the sides."""
    near, far = camera.near_metres, camera.far_metres
    lane = camera.lane if rng.random() < 0.7 else ("across", "along", "diagonal")[int(rng.integers(3))]
    side = 1 if rng.random() < 0.5 else -1

    def edge(sign: int, z: float) -> tuple[float, float]:
        return sign * (camera.half_view_metres(z) + SIDE_MARGIN_METRES), z

    def inside(z: float, reach: float) -> tuple[float, float]:
        return rng.uniform(-reach, reach) * camera.half_view_metres(z), z

    if lane == "across":
        first = rng.uniform(near, far)
        last = float(np.clip(first + rng.normal(0, 0.15) * (far - near), near, far))
        middle = float(np.clip((first + last) / 2 + rng.normal(0, 0.3) * (far - near), near, far))
        points = [edge(side, first), inside(middle, 0.4), inside(middle, 0.4), edge(-side, last)]
    elif lane == "diagonal":
        points = [
            edge(side, rng.uniform(0.8, 1) * far),
            inside(0.75 * far, 0.5),
            inside(1.1 * near, 0.5),
            edge(-side, near),
        ]
    else:
        exit_ = side if rng.random() < 0.5 else -side
        points = [
            edge(side, far),
            (-side * 0.35 * camera.half_view_metres(far), 1.05 * far),
            inside(0.7 * near, 0.6),
            edge(exit_, near),
        ]
    if rng.random() < 0.5:
        points.reverse()
    return np.array(points)
