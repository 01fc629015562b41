"""Configurations are values: frozen dataclasses that are compared, hashed, and written as JSON."""

import dataclasses
import hashlib
import json
import types
import typing
from typing import Any, TypeVar

Config = TypeVar("Config")


def require(condition: bool, name: str, rule: str, value: object) -> None:
    """Refuse a value, naming the option, the rule and the value.

    Raises:
        ValueError: If the condition does not hold.
    """
    if not condition:
        raise ValueError(f"{name} must be {rule}, got {value}")


def to_json(config: Any) -> dict[str, Any]:
    """Return a configuration as plain JSON values."""
    return typing.cast("dict[str, Any]", json.loads(json.dumps(dataclasses.asdict(config))))


def from_json(kind: type[Config], values: Any) -> Config:
    """Rebuild a configuration that `to_json` wrote.

    Raises:
        ValueError: If a field is unknown or missing: the file was written by another version.
    """
    names = {item.name for item in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if not isinstance(values, dict) or set(values) != names:
        given = set(values) if isinstance(values, dict) else set()
        raise ValueError(
            f"saved {kind.__name__} does not fit this version: unknown fields {sorted(given - names)}, "
            f"missing fields {sorted(names - given)}; use the version that wrote it"
        )
    hints = typing.get_type_hints(kind)
    return kind(
        **{
            name: from_json(hints[name], value) if dataclasses.is_dataclass(_plain(hints[name])) else value
            for name, value in values.items()
        }
    )


def _plain(hint: Any) -> Any:
    return None if isinstance(hint, types.UnionType) else hint


def fingerprint(config: Any) -> str:
    """Return a short hash of a configuration, equal exactly for equal values (1 and 1.0 are equal)."""
    text = json.dumps(to_json(config), sort_keys=True)
    values = json.loads(
        text, parse_float=lambda digits: int(float(digits)) if float(digits).is_integer() else float(digits)
    )
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


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
