"""What a sweep tries: all combinations of the values that are listed, each with values that are drawn.

Everything is drawn here and from one seed, before anything starts, so that the list of trials can be shown and kept.
"""

import hashlib
import itertools
import json
import math
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, cast

import numpy as np

from cluster import storage
from cluster.errors import InputError

Config = TypeVar("Config")
MAX_TRIALS = 10_000

Value = str | int | float | bool
"""Of one setting; what comes from a command line stays text until a configuration reads it."""

FORMS = "A,B,C or LOW:HIGH or loguniform(LOW,HIGH), uniform(LOW,HIGH), randint(LOW,HIGH), choice(A,B,C)"
DRAWN = re.compile(r"(loguniform|uniform|randint|choice)\(.*\)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Axis:
    """One setting of a sweep and where its values come from."""

    name: str
    """Path of the setting, such as ``loss.temperature``."""
    kind: Literal["list", "choice", "uniform", "loguniform", "randint"]
    """Every value of a list is tried; of the other kinds, values are drawn, each as probable as the others (evenly in
    the logarithm for ``loguniform``)."""
    values: tuple[Value, ...] = ()
    """Those of a list or a choice."""
    low: float = 0.0
    """The lowest value of the other kinds."""
    high: float = 0.0
    """The highest value; ``randint`` stays below it, as Ray Tune's does."""

    def __post_init__(self) -> None:
        texts = [_text_of(value) for value in self.values]
        shown = f"{self.kind}({', '.join(texts) if texts else f'{self.low:g}, {self.high:g}'})"
        twice = [text for number, text in enumerate(texts) if text in texts[:number]]
        if twice:
            raise InputError(f"{self.name} must have each value once, got {twice[0]} twice")
        if self.kind in ("list", "choice"):
            return
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise InputError(f"{self.name} needs LOW < HIGH, got {shown}")
        if self.kind == "loguniform" and self.low <= 0:
            raise InputError(f"{self.name} needs 0 < LOW < HIGH, got {shown}")

    def draw(self, rng: np.random.Generator) -> Value:
        """Draw a value."""
        match self.kind:
            case "list" | "choice":
                return self.values[int(rng.integers(len(self.values)))]
            case "randint":
                return int(rng.integers(int(self.low), int(self.high)))
            case "uniform":
                return float(rng.uniform(self.low, self.high))
            case "loguniform":
                drawn = float(np.exp(rng.uniform(*np.log((self.low, self.high)))))
                return min(max(drawn, self.low), self.high)  # the logarithm's rounding may leave the range


def read_space(texts: Sequence[str], file: str = "") -> list[Axis]:
    """Read what a sweep tries.

    Args:
        texts: ``NAME=A,B,C`` for values that are all tried; ``NAME=LOW:HIGH`` for positive numbers drawn evenly in
            their logarithm; or ``NAME=loguniform(0.03,0.3)``, ``uniform(LOW,HIGH)``, ``randint(LOW,HIGH)`` (whole
            numbers below HIGH), ``choice(A,B,C)``.
        file: Location of a JSON or TOML file of more settings, nested or by their paths: a list of values, or one of
            the texts above, as in ``{"loss.temperature": "loguniform(0.03, 0.3)", "loss.beta": [0, 1, 2]}``.

    Raises:
        InputError: If a text is of no such form, a name comes twice, or the file cannot be read.
    """
    space: dict[str, Axis] = {}
    for text in texts:
        name, separator, values = text.partition("=")
        if not separator or not name or not values or name in space:
            raise InputError(f"--over must be NAME={FORMS}, each name once, got {text!r}")
        space[name] = _read_text(name, values)
    for name, value in _read_file(storage.resolve(file)) if file else ():
        if name in space:
            raise InputError(f"{name} stands twice, in {file} and before; name it once")
        if isinstance(value, str):
            space[name] = _read_text(name, value)
        elif isinstance(value, list) and value and all(isinstance(one, Value) for one in value):
            space[name] = Axis(name=name, kind="list", values=tuple(value))
        else:
            raise InputError(f"{name} in {file} must be a list of values or text of the form {FORMS}, got {value!r}")
    return list(space.values())


def with_spaces(config: Config, argv: list[str]) -> tuple[Config, list[str]]:
    """Read ``--loss.temperature loguniform(0.03,0.3)`` as ``--over loss.temperature=loguniform(0.03,0.3)``.

    Here and not by tyro: the option takes a number, and what is drawn from is none.
    """
    made: list[str] = []
    for text in argv:
        if DRAWN.fullmatch(text) and made and made[-1].startswith("--") and made[-1] != "--over":
            made[-1:] = ["--over", f"{made[-1][2:]}={text}"]
        else:
            made.append(text)
    return config, made


def draw_trials(space: Sequence[Axis], *, samples: int, seed: int) -> list[dict[str, Value]]:
    """Make the trials of a sweep.

    Args:
        space: From `read_space`.
        samples: How often each combination of listed values is tried with other drawn values; 1 where none is drawn.
        seed: Of the drawn values.

    Returns:
        Settings of each trial by name, no two alike: where ``choice`` or ``randint`` repeat themselves there are fewer.

    Raises:
        InputError: If these are no trials or too many.
    """
    listed = [axis for axis in space if axis.kind == "list"]
    drawn = [axis for axis in space if axis.kind != "list"]
    count = math.prod(len(axis.values) for axis in listed) * (samples if drawn else 1) if space else 0
    if not 1 <= count <= MAX_TRIALS:
        raise InputError(f"a sweep needs 1 to {MAX_TRIALS:,} trials, got {count}: name --over, and --samples of ranges")
    rng = np.random.default_rng(seed)
    trials: dict[str, dict[str, Value]] = {}
    for combination in itertools.product(*(axis.values for axis in listed)):
        fixed = {axis.name: value for axis, value in zip(listed, combination, strict=True)}
        for _ in range(samples if drawn else 1):
            settings = fixed | {axis.name: axis.draw(rng) for axis in drawn}
            trials.setdefault(name_of_trial(settings), settings)
    return list(trials.values())


def name_of_trial(settings: Mapping[str, Any]) -> str:
    """Return a short name for settings, equal for equal ones in any order, as text or as numbers."""
    text = json.dumps({name: _text_of(value) for name, value in settings.items()}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _text_of(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _read_text(name: str, text: str) -> Axis:
    call = re.fullmatch(r"\s*(\w+)\(([^()]*)\)\s*", text)
    kind, inside = call.groups() if call else ("", text)
    values = tuple(part.strip() for part in inside.split(","))
    ends = inside.split(":" if not call else ",")
    if (call and kind not in ("choice", "uniform", "loguniform", "randint")) or (not call and re.search(r"[()]", text)):
        raise InputError(f"{name} must be {FORMS}, got {text!r}")
    if kind == "choice" or (not call and len(ends) == 1):
        return Axis(name=name, kind="choice" if call else "list", values=values)
    number = int if kind == "randint" else float
    try:
        low, high = map(number, ends)
    except ValueError as error:
        what = "two whole numbers" if kind == "randint" else "two numbers"
        raise InputError(f"{name} needs {what}, LOW and HIGH, got {text!r}") from error
    return Axis(name=name, kind=cast("Any", kind or "loguniform"), low=low, high=high)


def _read_file(location: str) -> Iterator[tuple[str, Any]]:
    if not storage.exists(location):
        raise InputError(f"{location}: there is no such file of settings to try")
    if location.lower().endswith(".toml"):
        try:
            content = tomllib.loads(storage.read_bytes(location).decode())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InputError(f"{location} is not valid TOML ({error})") from error
    else:
        content = storage.read_json(location)
    if not isinstance(content, dict):
        raise InputError(f"{location} must hold settings by name, got {type(content).__name__}")
    yield from _flat(content, "")


def _flat(content: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in content.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
