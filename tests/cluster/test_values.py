"""Configurations as values: JSON and back, hashes, differences, and the refusal of files of other versions."""

import dataclasses
import json
import re
import typing
from dataclasses import dataclass, field
from typing import Literal

import pytest

from cluster.extensions import table_of
from cluster.values import differences, fingerprint, from_json, override, require, to_json


@dataclass(frozen=True, kw_only=True, slots=True)
class Glaze:
    """What a pot is covered with."""

    colour: Literal["white", "green"] = "white"
    coats: int = 2
    millimetres: float = 0.5
    lead: float | None = None

    def __post_init__(self) -> None:
        require(self.millimetres > 0, "glaze.millimetres", "> 0", self.millimetres)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pot:
    """A configuration that holds another one."""

    name: str
    litres: float = 1.0
    has_lid: bool = False
    glaze: Glaze = field(default_factory=Glaze)


POT = Pot(name="jar", litres=2.5, has_lid=True, glaze=Glaze(colour="green", lead=0.1))


def another(hint, value):
    """A valid value of a field that is not the one it has."""
    table = table_of(hint)
    if table is not None:
        return next(name for name in table if name not in (value, "yolox"))
    if typing.get_origin(hint) is typing.Literal:
        return next(choice for choice in typing.get_args(hint) if choice not in (value, "yolox"))
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return value + "x"
    if isinstance(value, tuple):
        return (*value, "lifelong.training.terms:triplet=0.5")
    if value is None:
        return 0.5
    return value + 1 if isinstance(value, int) else value / 2


def each_change(config, prefix=""):
    """Every configuration that differs from one in a single field, with that field's name."""
    hints = typing.get_type_hints(type(config), include_extras=True)
    for item in dataclasses.fields(config):
        value = getattr(config, item.name)
        if dataclasses.is_dataclass(value):
            for name, changed in each_change(value, f"{prefix}{item.name}."):
                yield name, dataclasses.replace(config, **{item.name: changed})
        else:
            changed = dataclasses.replace(config, **{item.name: another(hints[item.name], value)})
            yield prefix + item.name, changed


def assert_every_field_counts(config):
    """Each field changes the fingerprint, is listed as the only difference, and survives JSON."""
    changes = dict(each_change(config))
    assert len(changes) >= len(dataclasses.fields(config))
    seen = {fingerprint(config)}
    for name, changed in changes.items():
        assert [text.split(":")[0] for text in differences(config, changed)] == [name]
        seen.add(fingerprint(changed))
        assert from_json(type(config), to_json(changed)) == changed
    assert len(seen) == len(changes) + 1


@pytest.mark.parametrize("config", [POT, Pot(name="defaults"), Glaze()])
def test_json_text_gives_the_same_value_back(config):
    text = json.dumps(to_json(config))
    assert from_json(type(config), json.loads(text)) == config


@pytest.mark.parametrize("config", [POT, Pot(name="defaults")])
def test_every_field_changes_the_fingerprint_and_is_listed_as_the_only_difference(config):
    assert_every_field_counts(config)
    assert len(dict(each_change(config))) == 7


def test_equal_values_have_equal_fingerprints():
    assert re.fullmatch("[0-9a-f]{12}", fingerprint(POT))
    assert fingerprint(dataclasses.replace(POT)) == fingerprint(POT)
    whole, point = (dataclasses.replace(POT, litres=litres) for litres in (1, 1.0))
    assert whole == point
    assert fingerprint(whole) == fingerprint(point)
    whole, point = (dataclasses.replace(POT, glaze=Glaze(millimetres=value)) for value in (1, 1.0))
    assert fingerprint(whole) == fingerprint(point)


def test_differences_say_what_was_and_what_is():
    other = dataclasses.replace(POT, litres=3, glaze=dataclasses.replace(POT.glaze, coats=1, lead=None))
    assert differences(POT, other) == ["litres: 2.5 -> 3", "glaze.coats: 2 -> 1", "glaze.lead: 0.1 -> None"]
    assert differences(POT, dataclasses.replace(POT)) == []


def test_files_of_other_versions_are_refused():
    values = to_json(POT)
    values["glaze"]["sheen"] = values["glaze"].pop("coats")
    with pytest.raises(ValueError, match=r"saved Glaze .*unknown fields \['sheen'\], missing fields \['coats'\]"):
        from_json(Pot, values)
    with pytest.raises(ValueError, match=r"unknown fields \['gpu'\], missing fields \[\]; use the version that wrote"):
        from_json(Pot, {**to_json(POT), "gpu": 1})
    for nothing in (None, 3, []):
        with pytest.raises(ValueError, match=r"saved Pot .*missing fields .*'name'"):
            from_json(Pot, nothing)


def test_fields_that_were_added_later_have_their_defaults_and_change_no_fingerprint():
    @dataclass(frozen=True, kw_only=True, slots=True)
    class EarlierPot:
        name: str
        litres: float = 1.0

    earlier = EarlierPot(name="jar", litres=2.5)
    assert from_json(Pot, to_json(earlier)) == Pot(name="jar", litres=2.5)
    assert fingerprint(earlier) == fingerprint(Pot(name="jar", litres=2.5))
    with pytest.raises(ValueError, match=r"saved Pot .*missing fields .*'name'"):
        from_json(Pot, {"litres": 2.5})


def test_a_saved_value_that_cannot_work_is_refused():
    values = to_json(POT)
    values["glaze"]["millimetres"] = -1.0
    with pytest.raises(ValueError, match=r"glaze\.millimetres must be > 0, got -1\.0"):
        from_json(Pot, values)


def test_what_is_required_is_named_with_its_rule_and_its_value():
    require(True, "glaze.coats", ">= 1", 0)
    with pytest.raises(ValueError, match=r"^glaze\.coats must be >= 1, got 0$"):
        require(False, "glaze.coats", ">= 1", 0)


@dataclasses.dataclass(frozen=True)
class Inner:
    temperature: float = 0.1
    kind: Literal["sep", "joint"] = "sep"


@dataclasses.dataclass(frozen=True)
class Outer:
    count: int = 3
    is_on: bool = False
    limit: float | None = None
    inner: Inner = dataclasses.field(default_factory=Inner)


def test_settings_are_changed_by_their_path():
    changed = override(Outer(), {"inner.temperature": "0.2", "inner.kind": "joint", "count": "4", "is-on": "true"})
    assert changed == Outer(count=4, is_on=True, inner=Inner(0.2, "joint"))
    assert override(Outer(), {"inner.temperature": 0.3, "limit": "2.5"}) == Outer(limit=2.5, inner=Inner(0.3))
    assert override(Outer(), {}) == Outer()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inner.temprature": "1"}, "there is no setting 'inner.temprature'; perhaps you meant inner.temperature"),
        ({"innr.temperature": "1"}, "there is no setting 'innr.temperature'; perhaps you meant inner.temperature"),
        ({"inner": "1"}, "there is no setting 'inner'"),
        ({"count.x": "1"}, "there is no setting 'count.x'"),
        ({"count": "many"}, "count must be of kind int, got 'many'"),
        ({"inner.kind": "both"}, "inner.kind must be one of sep, joint, got both"),
        ({"is_on": "maybe"}, "is_on must be true or false, got maybe"),
    ],
)
def test_settings_that_are_not_there_or_of_another_kind_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        override(Outer(), changes)
