"""Who a person is: body, hair and clothes, drawn from few colours so that colour alone confuses people."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from pretrain.street.config import generator

Colour = tuple[int, int, int]
"""Blue, green, red; 0 to 255."""
Pattern = Literal["plain", "rings", "pinstripes", "check", "logo", "two-tone", "band", "open"]
Hair = Literal["bald", "short", "long", "bun", "tail", "afro"]
Hat = Literal["none", "cap", "beanie"]
Lower = Literal["trousers", "shorts", "skirt"]
Bag = Literal["none", "backpack", "handbag", "satchel"]

PATTERNS: tuple[Pattern, ...] = ("plain", "rings", "pinstripes", "check", "logo", "two-tone", "band", "open")
HAIRS: tuple[Hair, ...] = ("bald", "short", "long", "bun", "tail", "afro")
HATS: tuple[Hat, ...] = ("none", "cap", "beanie")
LOWERS: tuple[Lower, ...] = ("trousers", "shorts", "skirt")
BAGS: tuple[Bag, ...] = ("none", "backpack", "handbag", "satchel")

CLOTH_COLOURS: tuple[Colour, ...] = (
    (38, 34, 33),  # black
    (112, 108, 106),  # grey
    (226, 228, 230),  # white
    (88, 52, 36),  # navy
    (168, 112, 62),  # blue
    (54, 48, 176),  # red
    (62, 40, 104),  # burgundy
    (66, 98, 72),  # green
    (142, 182, 206),  # beige
    (60, 172, 214),  # mustard
    (150, 120, 196),  # pink
    (140, 140, 58),  # teal
)
HAIR_COLOURS: tuple[Colour, ...] = ((24, 22, 22), (34, 52, 78), (58, 88, 124), (104, 164, 206), (168, 168, 168))
SKIN_COLOURS: tuple[Colour, ...] = ((168, 192, 230), (134, 164, 212), (96, 128, 182), (62, 88, 132), (42, 58, 88))
SHOE_COLOURS: tuple[Colour, ...] = ((30, 28, 28), (60, 76, 104), (222, 222, 222))


@dataclass(frozen=True, kw_only=True, slots=True)
class Person:
    """One identity: everything that stays the same wherever the person is seen."""

    identity: int
    """The number of the person in the truth."""
    height_metres: float
    """From the sole to the crown; 1.50 to 1.96."""
    build: float
    """Widths as a multiple of the average; 0.84 to 1.3."""
    legs: float
    """Height of the hip as a fraction of the height; 0.46 to 0.52."""
    swing: float
    """Swing of legs and arms as a multiple of the average; 0.8 to 1.2."""
    skin: Colour
    hair: Hair
    hair_colour: Colour
    is_bearded: bool
    hat: Hat
    hat_colour: Colour
    upper_colour: Colour
    pattern: Pattern
    pattern_colour: Colour
    pattern_scale: float
    """Width of stripes, checks and logos; 0 (fine) to 1 (coarse)."""
    sleeve: float
    """Length of the sleeve as a fraction of the arm: 0 none, 0.5 short, 1 long."""
    sleeve_colour: Colour
    is_coat: bool
    """Whether the upper garment reaches halfway to the knee."""
    lower: Lower
    lower_colour: Colour
    has_side_stripe: bool
    """Whether trousers or shorts carry a stripe of the pattern's colour."""
    shoe_colour: Colour
    bag: Bag
    bag_colour: Colour
    bag_side: int
    """-1 or 1: the shoulder or the hand that carries the bag."""


@dataclass(frozen=True, slots=True)
class Fashion:
    """What a city wears: a small palette and a season."""

    upper: tuple[Colour, ...]
    lower: tuple[Colour, ...]
    accent: tuple[Colour, ...]
    warmth: float
    """0 winter (coats, hats, long sleeves) to 1 summer (short sleeves, shorts, skirts)."""


@lru_cache(maxsize=16)
def fashion_of(style: int) -> Fashion:
    """Return the palette and the season of a style: ten upper, six lower and ten accent colours."""
    rng = generator(style, 0, "fashion")
    shift = rng.normal(0, 8, size=3)
    colours = [_toned(colour, shift) for colour in CLOTH_COLOURS]
    picks = [rng.permutation(len(colours)) for _ in range(3)]
    upper, lower, accent = (
        tuple(colours[i] for i in pick[:size]) for pick, size in zip(picks, (10, 6, 10), strict=True)
    )
    return Fashion(upper=upper, lower=lower, accent=accent, warmth=float(rng.uniform(0.1, 0.9)))


def make_person(style: int, seed: int, identity: int) -> Person:
    """Draw the appearance of one identity; the same arguments give the same person whoever else there is."""
    rng = generator(style, seed, "person", identity)
    fashion = fashion_of(style)
    warmth = fashion.warmth

    def pick(colours: tuple[Colour, ...]) -> Colour:
        return _toned(colours[int(rng.integers(len(colours)))], rng.normal(0, 6, size=3))

    def other_than(colours: tuple[Colour, ...], used: Colour) -> Colour:
        far = tuple(c for c in colours if sum(abs(a - b) for a, b in zip(c, used, strict=True)) > 130)
        return pick(far or colours)

    is_tall = rng.random() < 0.5
    upper, lower = pick(fashion.upper), pick(fashion.lower)
    accent = other_than(fashion.accent, upper)
    pattern = PATTERNS[int(rng.integers(len(PATTERNS)))]
    kind = LOWERS[int(rng.choice(3, p=(0.8 - 0.35 * warmth, 0.02 + 0.25 * warmth, 0.18 + 0.1 * warmth)))]
    sleeve = (1.0, 0.5, 0.0)[int(rng.choice(3, p=(0.85 - 0.6 * warmth, 0.13 + 0.45 * warmth, 0.02 + 0.15 * warmth)))]
    hair = HAIRS[int(rng.choice(6, p=(0.1, 0.34, 0.24, 0.1, 0.12, 0.1)))]
    return Person(
        identity=identity,
        height_metres=float(np.clip(rng.normal(1.79 if is_tall else 1.64, 0.07), 1.50, 1.96)),
        build=float(np.clip(rng.normal(1.04, 0.13), 0.84, 1.3)),
        legs=float(rng.uniform(0.46, 0.52)),
        swing=float(rng.uniform(0.8, 1.2)),
        skin=_toned(SKIN_COLOURS[int(rng.integers(len(SKIN_COLOURS)))], rng.normal(0, 4, size=3)),
        hair=hair,
        hair_colour=_toned(HAIR_COLOURS[int(rng.choice(5, p=(0.32, 0.26, 0.16, 0.14, 0.12)))], rng.normal(0, 4, 3)),
        is_bearded=bool(hair in ("bald", "short") and rng.random() < 0.35),
        hat=HATS[int(rng.choice(3, p=(0.78, 0.12, 0.1)))],
        hat_colour=pick(fashion.accent),
        upper_colour=upper,
        pattern=pattern,
        pattern_colour=accent,
        pattern_scale=float(rng.random()),
        sleeve=sleeve,
        sleeve_colour=accent if rng.random() < 0.22 else upper,
        is_coat=bool(sleeve == 1.0 and rng.random() < 0.45 * (1 - warmth)),
        lower=kind,
        lower_colour=lower,
        has_side_stripe=bool(rng.random() < 0.2),
        shoe_colour=SHOE_COLOURS[int(rng.integers(3))],
        bag=BAGS[int(rng.choice(4, p=(0.4, 0.26, 0.18, 0.16)))],
        bag_colour=pick(fashion.accent),
        bag_side=-1 if rng.random() < 0.5 else 1,
    )


def _toned(colour: Colour, shift: np.ndarray) -> Colour:
    blue, green, red = (int(np.clip(round(value + by), 8, 245)) for value, by in zip(colour, shift, strict=True))
    return blue, green, red
