"""From typed functions to options: what a person may type, and the one line that answers what cannot be."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import pytest
import tyro

from cluster.errors import InputError
from cluster.options import Flat, Repeated, command, of_recipe, take_option
from cluster.values import FIXED, FLAT


@dataclass(frozen=True, kw_only=True, slots=True)
class Clay:
    """Clay."""

    kind: Literal["red", "white"] = "red"
    """Its colour."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wheel:
    """A wheel."""

    turns: int = 30
    """Per minute."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pot:
    """A pot."""

    recipe: Annotated[str, FIXED]
    """Who made it."""
    clay: Clay = field(default_factory=Clay)
    wheel: Annotated[Wheel, FLAT] = field(default_factory=Wheel)

    def __post_init__(self) -> None:
        if self.wheel.turns < 1:
            raise InputError(f"turns must be >= 1, got {self.wheel.turns}")


MADE: list[tuple[str, tuple[str, ...], Pot]] = []


def throw(name: Annotated[str, tyro.conf.Positional], *, glaze: Repeated = (), config: Annotated[Pot, Flat]) -> None:
    """Throw a pot.

    Args:
        name: Whose.
        glaze: Of what colours.
        config: The pot.
    """
    MADE.append((name, glaze, config))


def jug() -> Pot:
    """A jug, on a slow wheel."""
    return Pot(recipe="jug", wheel=Wheel(turns=20))


def with_colour(config: Pot, argv: list[str]) -> tuple[Pot, list[str]]:
    colour, rest = take_option("colour", argv)
    return (Pot(recipe=config.recipe, clay=Clay(kind="white")) if colour == "pale" else config), rest


THROW = of_recipe(throw, "prog throw", {"jug": jug}, with_colour)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("jug ann", ("ann", (), jug())),
        (
            "jug ann --turns 5 --clay.kind white",
            ("ann", (), Pot(recipe="jug", clay=Clay(kind="white"), wheel=Wheel(turns=5))),
        ),
        ("jug --glaze blue ann --glaze green", ("ann", ("blue", "green"), jug())),
        ("jug ann --colour pale", ("ann", (), Pot(recipe="jug", clay=Clay(kind="white")))),
        ("jug --colour=pale --clay.kind red ann", ("ann", (), Pot(recipe="jug"))),
    ],
)
def test_a_recipe_gives_the_defaults_and_options_change_them(line: str, expected: tuple[str, tuple[str, ...], Pot]):
    MADE.clear()
    THROW(line.split())
    assert [expected] == MADE


@pytest.mark.parametrize("columns", ["20", "60", "250"])
@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("jgu ann", "unknown recipe 'jgu'; perhaps you meant jug; recipes: jug"),
        ("jug", "Missing from prog throw jug: NAME; --help lists the options"),
        ("jug --trns 3", "NAME is missing; --help lists the options"),
        ("jug ann --trns 3", "Unrecognized options: --trns, 3; perhaps you meant --turns; --help lists the options"),
        ("jug ann --kind white", "Unrecognized options: --kind, white; perhaps you meant --clay.kind; --help"),
        ("jug ann --recipe mug", "Unrecognized options: --recipe, mug; --help lists the options"),
        ("jug ann bob", "Unrecognized options: bob; --help lists the options"),
        ("jug ann --turns many", "--turns: invalid literal for int() with base 10: 'many'"),
        ("jug ann --turns", "--turns needs a value, INT; --help"),
        ("jug ann --turns 0", "turns must be >= 1, got 0"),
        ("jug ann --clay.kind blue", "invalid choice 'blue' for --clay.kind, which takes red, white"),
    ],
)
def test_what_cannot_be_used_is_told_in_one_line_at_any_width(
    line: str, message: str, columns: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("FORCE_COLOR", "1")
    with pytest.raises(InputError) as caught:
        THROW(line.split())
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_help_lists_what_may_be_changed(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stop:
        THROW(["jug", "--help"])
    printed = capsys.readouterr().out
    assert stop.value.code == 0
    for words in ("Throw a pot.", "--turns", "--clay.kind", "Per minute.", "(default: 20)"):
        assert words in printed
    assert "recipe" not in printed.replace("prog throw jug", "")


@pytest.mark.parametrize(("argv", "code"), [([], 2), (["--help"], 0)])
def test_without_a_recipe_they_are_listed(argv: list[str], code: int, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stop:
        THROW(argv)
    assert stop.value.code == code
    assert "  jug  A jug, on a slow wheel." in capsys.readouterr().out


def test_an_option_that_must_be_given_is_named():
    def fire(*, heat: float, name: str) -> None:
        """Fire."""

    said = r"Missing from prog fire: --heat; unrecognized options: --nmae, bob; perhaps you meant --name; --help"
    with pytest.raises(InputError, match=said):
        command(fire, "prog fire")(["--nmae", "bob", "--name", "ann"])


def test_a_command_without_a_recipe_takes_its_own_defaults():
    found = []

    def fire(*, heat: float = 900.0) -> None:
        """Fire."""
        found.append(heat)

    for argv in ([], ["--heat", "1000"]):
        command(fire, "prog fire")(argv)
    assert found == [900.0, 1000.0]
