"""Configurations are values: frozen dataclasses that are compared, hashed, and written as JSON."""

import dataclasses
import hashlib
import json
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from cluster.errors import InputError, suggestion

Config = TypeVar("Config")
Named = TypeVar("Named")
FLAT = "flat"
"""Marks a nested configuration whose fields are options of the command itself: ``--workers``, not ``--scale.…``."""
FIXED = "fixed"
"""Marks a field that a recipe sets and no option changes."""


def require(condition: bool, name: str, rule: str, value: object) -> None:
    """Refuse a value, naming the option, the rule and the value.

    Raises:
        InputError: If the condition does not hold.
    """
    if not condition:
        raise InputError(f"{name} must be {rule}, got {value}")


def look_up(name: str, among: Mapping[str, Named], what: str) -> Named:
    """Return what has a name.

    Args:
        name: As it was given.
        among: What there is.
        what: In a word, for the error text.

    Raises:
        InputError: If there is none of that name; suggests a near one.
    """
    if name not in among:
        raise InputError(f"unknown {what} {name!r}{suggestion(name, among)}; {what}s: {', '.join(among)}")
    return among[name]


def changes_of(config: Any, recipes: Mapping[str, Callable[[], Any]]) -> list[str]:
    """List in what a configuration differs from the recipe that it names, as ``name: recipe's -> its own``."""
    return differences(recipes[config.recipe](), config) if config.recipe in recipes else []


def to_json(config: Any) -> dict[str, Any]:
    """Return a configuration as plain JSON values."""
    return typing.cast("dict[str, Any]", json.loads(json.dumps(dataclasses.asdict(config))))


def from_json(kind: type[Config], values: Any) -> Config:
    """Rebuild a configuration that `to_json` wrote, also one that an earlier version wrote.

    A field that a file lacks has its default: who adds a field gives it the default that means what was before it.

    Raises:
        InputError: If a field is unknown, or is missing and has no default: another version wrote the file.
    """
    fields = {item.name: item for item in dataclasses.fields(kind)}  # type: ignore[arg-type]
    given = set(values) if isinstance(values, dict) else set()
    missing = sorted(fields.keys() - given)
    if given - fields.keys() or not isinstance(values, dict) or not all(_has_default(fields[name]) for name in missing):
        raise InputError(
            f"saved {kind.__name__} does not fit this version: unknown fields {sorted(given - fields.keys())}, "
            f"missing fields {missing}; use the version that wrote it"
        )
    hints = typing.get_type_hints(kind)
    return kind(**{name: _read(hints[name], value) for name, value in values.items()})


def _read(hint: Any, value: Any) -> Any:
    """Read a field: a nested configuration, or a plain value; JSON's lists were tuples."""
    if dataclasses.is_dataclass(_plain(hint)):
        return from_json(hint, value)
    return tuple(value) if isinstance(value, list) else value


def _has_default(item: dataclasses.Field[Any]) -> bool:
    return item.default is not dataclasses.MISSING or item.default_factory is not dataclasses.MISSING


def _plain(hint: Any) -> Any:
    return None if isinstance(hint, types.UnionType) else hint


def fingerprint(config: Any) -> str:
    """Return a short hash of a configuration, equal exactly for equal values (1 and 1.0 are equal).

    Values that are their field's default do not enter, so that a field that is added later changes no hash.
    """
    text = json.dumps(_told(config), sort_keys=True)
    values = json.loads(
        text, parse_float=lambda digits: int(float(digits)) if float(digits).is_integer() else float(digits)
    )
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


def _told(config: Any) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for item in dataclasses.fields(config):
        value = getattr(config, item.name)
        if dataclasses.is_dataclass(value):
            if inner := _told(value):
                told[item.name] = inner
        elif value != item.default:
            told[item.name] = value
    return told


def differences(old: Any, new: Any, prefix: str = "") -> list[str]:
    """List the fields in which two configurations differ, as ``name: old -> new``."""
    found: list[str] = []
    for item in dataclasses.fields(new):
        before, after = getattr(old, item.name), getattr(new, item.name)
        if dataclasses.is_dataclass(after):
            found += differences(before, after, f"{prefix}{item.name}.")
        elif before != after:
            found.append(f"{prefix}{item.name}: {before} -> {after}")
    return found


def override(config: Config, changes: Mapping[str, Any], prefix: str = "") -> Config:
    """Return a configuration with some fields changed, named by their path, such as ``loss.temperature``.

    Args:
        config: A frozen dataclass, possibly with others inside.
        changes: Values by path. A string is read as the field's own kind: ``"0.1"`` for a float.
        prefix: Path of the configuration itself, for the error text.

    Raises:
        InputError: If there is no such field, or a value is not of its kind; or the configuration refuses the value.
    """
    nested: dict[str, dict[str, Any]] = {}
    plain: dict[str, Any] = {}
    hints = typing.get_type_hints(type(config))
    for path, value in changes.items():
        name, _, rest = path.replace("-", "_").partition(".")
        if name not in hints or bool(rest) != dataclasses.is_dataclass(_plain(hints[name])):
            hint = suggestion(path, paths_of(config), prefix=prefix)
            raise InputError(f"there is no setting {prefix + path!r}{hint}")
        if rest:
            nested.setdefault(name, {})[rest] = value
        else:
            plain[name] = _of_kind(hints[name], value, prefix + path)
    inner = {name: override(getattr(config, name), parts, f"{prefix}{name}.") for name, parts in nested.items()}
    return dataclasses.replace(typing.cast("Any", config), **plain, **inner)


def paths_of(config: Any, prefix: str = "") -> list[str]:
    """List the fields of a configuration by their paths."""
    found: list[str] = []
    for item in dataclasses.fields(config):
        value = getattr(config, item.name)
        inside = paths_of(value, f"{prefix}{item.name}.") if dataclasses.is_dataclass(value) else []
        found += inside or [prefix + item.name]
    return found


def _of_kind(hint: Any, value: Any, path: str) -> Any:
    """Read a value as what a field holds."""
    if not isinstance(value, str):
        return value
    if typing.get_origin(hint) is typing.Literal:
        choices = typing.get_args(hint)
        if value not in choices:
            raise InputError(f"{path} must be one of {', '.join(map(str, choices))}, got {value}")
        return value
    if hint is bool:
        if value not in ("true", "false", "True", "False"):
            raise InputError(f"{path} must be true or false, got {value}")
        return value in ("true", "True")
    kinds = [kind for kind in (int, float, str) if kind is hint or kind in typing.get_args(hint)]
    for kind in kinds:
        try:
            return kind(value)
        except ValueError:
            continue
    raise InputError(f"{path} must be of kind {getattr(hint, '__name__', hint)}, got {value!r}")
