"""Manifests: of the images and not of their place, and a difference is named."""

import copy
import hashlib
from pathlib import Path

import pytest

from lifelong.protocols.manifest import benchmark_name, first_difference, make_manifest, manifest_hash
from lifelong.protocols.plans import inter, intra
from tests.lifelong.people import write_people
from tests.lifelong.runs.runs import config_of

CONFIG = config_of("finetune")


def manifest_of(folder: Path, tasks: int = 2, **changes):
    plan = intra(str(folder), tasks, CONFIG, rule="ascending")
    return make_manifest(plan, "intra", **{"protocol": "market", **changes})


def test_a_manifest_is_of_the_images_and_not_of_their_place_or_the_method(tmp_path):
    manifests = []
    for name, recipe in (("a", "finetune"), ("far/away/b", "replay")):
        write_people(tmp_path / name, people=5)
        plan = intra(str(tmp_path / name), 2, config_of(recipe), rule="ascending")
        manifests.append(make_manifest(plan, "intra", protocol="market"))
    assert manifests[0] == manifests[1]
    tasks = manifests[0]["tasks"]
    assert [(task["name"], task["identities"], task["images"]) for task in tasks] == [
        ("task01", 3, 12),
        ("task02", 2, 8),
    ]
    names = sorted(path.name for path in (tmp_path / "a/bounding_box_train").iterdir())
    lines = "".join(f"bounding_box_train/{name} {int(name[:4])} {name[6]}\n" for name in names if int(name[:4]) <= 3)
    assert tasks[0]["sha256"] == hashlib.sha256(lines.encode()).hexdigest()
    assert manifests[0]["tests"][0]["gallery"]["images"] == 20
    assert manifest_hash(manifests[0]) == manifests[0]["sha256"]
    assert first_difference(*manifests) == ""


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (
            lambda a: (a / "query/0101_c1s1_000100_01.png").rename(a / "gallery/0101_c1s1_000900_01.png"),
            "9 query images",
        ),
        (lambda a: (a / "query/0101_c1s1_000100_01.png").rename(a / "query/0101_c3s1_000100_01.png"), "other query im"),
        (lambda a: [path.unlink() for path in a.glob("bounding_box_train/0002*")], "task01: 2 identities against 3"),
        (lambda a: (a / "bounding_box_train/0005_c1s1_000100_01.png").unlink(), "task02: 7 images against 8"),
    ],
)
def test_one_image_makes_another_benchmark(tmp_path, change, difference):
    for name in "ab":
        write_people(tmp_path / name, people=5)
    change(tmp_path / "a")
    one, other = manifest_of(tmp_path / "a"), manifest_of(tmp_path / "b")
    assert one["sha256"] != other["sha256"]
    assert difference in first_difference(one, other)


def test_rules_protocols_and_unseen_sets_are_told_apart(tmp_path):
    for seed, name in enumerate("abc"):
        write_people(tmp_path / name, people=5, seed=seed)
    one = manifest_of(tmp_path / "a")
    assert first_difference(one, manifest_of(tmp_path / "a", protocol="market-official")) == (
        "protocol: market against market-official"
    )
    assert "all identities in 2 tasks, ascending against" in first_difference(one, manifest_of(tmp_path / "a", tasks=3))
    assert manifest_of(tmp_path / "a", missing=("viper",))["sha256"] == one["sha256"]
    domains = (f"a={tmp_path / 'a'}", f"b={tmp_path / 'b'}")
    plans = [inter(CONFIG, domains=domains, unseen=unseen)[0] for unseen in ((), (f"c={tmp_path / 'c'}",))]
    found = [make_manifest(plan, "inter", protocol="market") for plan in plans]
    assert [test["name"] for test in found[1]["tests"]] == ["a", "b"]
    assert first_difference(*found) == "unseen: none against c"
    assert first_difference(one, found[0]) == "benchmark: intra against inter"


def test_every_field_of_an_entry_counts(tmp_path):
    write_people(tmp_path / "a", people=4)
    one = manifest_of(tmp_path / "a")
    for group in ("tasks", "tests"):
        for field, value in one[group][0].items():
            other = copy.deepcopy(one)
            other[group][0][field] = (
                {**value, "sha256": "0"} if isinstance(value, dict) else "0" if value == str(value) else 7
            )
            assert manifest_hash(other) != one["sha256"]
            assert first_difference(one, other)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [("viper#3:/data/v", "viper#3"), ("csv:/data/b", "csv"), ("/data/b.csv", "csv"), ("s3://b/c", "folder")],
)
def test_a_benchmark_is_named_without_its_place(spec, expected):
    assert benchmark_name(spec) == expected
