"""Tables of what can be chosen by name, and how what is not in them comes from outside the tree.

A table is light: a line says where something is, as ``package.module:attribute``, and what it needs. It is imported
when it is used: ``--help`` and the checks of a configuration load no torch. Wherever a name of a table is accepted,
``package.module:attribute`` of any module that Python finds is accepted too: a new entry costs a function (or class)
and a line, and one from outside costs no line. What that needs is declared beside it, by `needs`.
"""

import importlib
import typing
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from cluster.errors import InputError, suggestion

Kind = TypeVar("Kind")
Found = TypeVar("Found")


def needs(*what: str) -> Callable[[Found], Found]:
    """Declare what a function or class from outside the tree needs, in the words of its table, such as ``truth``."""

    def declare(found: Found) -> Found:
        found.needs = what  # type: ignore[attr-defined]
        return found

    return declare


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of a table that says more than where something is."""

    where: str
    """``package.module:attribute``."""
    needs: tuple[str, ...] = ()
    """What it cannot do without, in words that the table explains."""


class Table(Generic[Kind]):
    """What one kind of thing is called."""

    def __init__(
        self,
        kind: str,
        lines: Mapping[str, Any],
        *,
        wanted: str,
        fits: Callable[[Any], bool] = callable,
        words: Collection[str] = (),
    ) -> None:
        """Make a table.

        Args:
            kind: What it lists, for error texts, such as ``reliability``.
            lines: By name: ``package.module:attribute``, an `Entry`, or the thing itself where that is light.
            wanted: What something from outside has to be, for the error text.
            fits: Whether something is that.
            words: All that can be needed.
        """
        self.kind = kind
        self.wanted = wanted
        self.fits = fits
        self.words = words
        self._lines = dict(lines)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self._lines)

    @property
    def metavar(self) -> str:
        """What the help of a command line lists."""
        return metavar(self)

    def require(self, name: str, option: str) -> None:
        """Refuse what is neither a name nor something that can be imported and used.

        Args:
            name: As it was given.
            option: That gave it, for the error text, such as ``loss.reliability``.

        Raises:
            InputError: If there is no such name or module or attribute, it is of another kind, or it needs what nobody
                can give.
        """
        if ":" in name:
            strange = sorted(set(_needs_of(self._imported(name, option))) - set(self.words))
            if strange:
                known = f"what can be needed is {', '.join(self.words)}" if self.words else "it cannot need anything"
                raise InputError(f"{option} {name} needs {', '.join(strange)}; {known}")
        elif name not in self._lines:
            hint = suggestion(name, self._lines)
            raise InputError(
                f"{option}: there is no {self.kind} {name!r}{hint}; there are {', '.join(self._lines)}, and any other "
                "as package.module:attribute"
            )

    def load(self, name: str) -> Kind:
        """Return what a name stands for, imported now.

        Raises:
            InputError: As `require`.
        """
        self.require(name, self.kind)
        line = self._lines.get(name, name)
        where = line.where if isinstance(line, Entry) else line
        return self._imported(where, self.kind) if isinstance(where, str) else where

    def needs(self, name: str) -> tuple[str, ...]:
        """Return what something needs; of a name in the table without importing anything.

        Raises:
            InputError: As `require`.
        """
        self.require(name, self.kind)
        if ":" in name:
            return _needs_of(self._imported(name, self.kind))
        line = self._lines[name]
        return line.needs if isinstance(line, Entry) else () if isinstance(line, str) else _needs_of(line)

    def line(self, name: str) -> Any:
        """Return the line of a name of the table, as it was given."""
        return self._lines[name]

    def within(self, given: Collection[str]) -> list[str]:
        """List the names that need no more than what is given."""
        return [name for name in self if set(self.needs(name)) <= set(given)]

    def _imported(self, where: str, option: str) -> Any:
        found = imported(where, option)
        if not self.fits(found):
            raise InputError(f"{option} {where} must be {self.wanted}, and is {_described(found)}")
        return found


def metavar(names: Iterable[str]) -> str:
    """Return what the help of a command line says of an option that takes a name of a table."""
    return f"{{{','.join(names)}}}|MODULE:ATTRIBUTE"


def imported(where: str, option: str) -> Any:
    """Import ``package.module:attribute``.

    Args:
        where: As it was given.
        option: That gave it, for the error text.

    Raises:
        InputError: If the module cannot be imported, for whatever reason, or lacks the attribute.
    """
    module, _, path = where.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), *path.split("."))):
        raise InputError(f"{option} must be a name or package.module:attribute, got {where!r}")
    try:
        found: Any = importlib.import_module(module)
    except Exception as error:
        raise InputError(
            f"{option} {where}: module {module} cannot be imported: {type(error).__name__}: {error}; is its folder on "
            "PYTHONPATH?"
        ) from error
    for name in path.split("."):
        if not hasattr(found, name):
            public = [one for one in vars(found) if not one.startswith("_")]
            raise InputError(f"{option} {where}: {module} has no attribute {path}{suggestion(name, public)}")
        found = getattr(found, name)
    return found


def table_of(hint: Any) -> Table[Any] | None:
    """Return the table that a field's annotation names, ``Annotated[str, TABLE]``."""
    return next((part for part in typing.get_args(hint) if isinstance(part, Table)), None)


def _needs_of(found: Any) -> tuple[str, ...]:
    return tuple(getattr(found, "needs", ()))


def _described(found: Any) -> str:
    return f"a class {found.__name__}" if isinstance(found, type) else f"of type {type(found).__name__}"
