"""What a file cites can be read: no document that is not in the repository, and sections that exist."""

import dataclasses
import re
import typing
from pathlib import Path

import pytest

from lifelong.stages.config import StageConfig
from pretrain.config.run import PretrainConfig

ROOT = Path(__file__).parents[1]
PACKAGES = ("cluster", "evaluation", "pretrain", "lifelong")
METHODS = ("evaluation", "pretrain", "lifelong")
"""The packages that have a METHOD.md."""
FILES = [
    *sorted(path for path in ROOT.glob("*") if path.suffix in (".md", ".toml")),
    *sorted(
        path
        for folder in (*PACKAGES, "benchmarks", "tests")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".md", ".j2")
    ),
]
CITATION = re.compile(r"(?:\b(\w+)/)?METHOD\.md`? (\d+(?:\.\d+)?)((?:(?:,| and| to) \d+\.\d+)*)")
"""A section, with the package it is in if that is another's, and further sections of the same document."""


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def headings(document: str) -> set[str]:
    """The numbers of a document's sections."""
    return set(re.findall(r"^#{2,3} (\d+(?:\.\d+)?)\.? ", document, re.MULTILINE))


def package_of(path: Path) -> str:
    """The package that a file belongs to; a test's is the one that it is of."""
    parts = path.relative_to(ROOT).parts
    return parts[1] if parts[0] == "tests" and len(parts) > 2 else parts[0]


def citations(text: str, package: str) -> list[tuple[str, str]]:
    """Package and number of every section that a text cites."""
    found = []
    for match in CITATION.finditer(" ".join(text.split())):
        further = re.findall(r"\d+\.\d+", match[3])
        found += [(match[1] or package, number) for number in (match[2], *further)]
    return found


def unknown_citations(text: str, package: str, known: dict[str, set[str]]) -> list[str]:
    """What a text cites that does not exist."""
    return [
        f"{owner}/METHOD.md {number}"
        for owner, number in citations(text, package)
        if number not in known.get(owner, set())
    ]


@pytest.fixture(scope="module")
def known() -> dict[str, set[str]]:
    return {package: headings((ROOT / package / "METHOD.md").read_text(encoding="utf-8")) for package in METHODS}


def test_a_wrong_citation_is_found(known: dict[str, set[str]]):
    text = "See METHOD.md 3.1 and 9.9, and lifelong/METHOD.md 4.2; (pretrain/METHOD.md\n77)."
    assert unknown_citations(text, "pretrain", known) == ["pretrain/METHOD.md 9.9", "pretrain/METHOD.md 77"]
    assert unknown_citations("METHOD.md 1", "cluster", known) == ["cluster/METHOD.md 1"]


def test_every_section_that_is_cited_exists(known: dict[str, set[str]]):
    others = [path for path in FILES if path != Path(__file__)]
    wrong = {
        name_of(path): unknown_citations(path.read_text(encoding="utf-8"), package_of(path), known) for path in others
    }
    assert {name: found for name, found in wrong.items() if found} == {}
    assert sum(len(citations(path.read_text(encoding="utf-8"), package_of(path))) for path in others) > 40, (
        "nothing is read"
    )


def test_no_file_cites_a_document_that_nobody_has():
    told = re.compile(r"\b[Ss]pecification(?!s)\b|\b[Ff]ixture F-|\bspec (?:ISR|DwoPP|QAConv|LReID)")
    lines = [
        f"{name_of(path)}:{number}: {line.strip()}"
        for path in FILES
        if path != Path(__file__)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if told.search(line)
    ]
    assert lines == []


@pytest.mark.parametrize("package", METHODS)
def test_sections_are_numbered_in_order(package: str):
    numbers = re.findall(
        r"^#{2,3} (\d+)(?:\.(\d+))?", (ROOT / package / "METHOD.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    chapter, section = 0, 0
    for first, second in numbers:
        chapter, section = (chapter, section + 1) if second else (chapter + 1, 0)
        assert (int(first), int(second or 0)) == (chapter, section)


LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


@pytest.mark.parametrize("path", [path for path in FILES if path.suffix == ".md"], ids=name_of)
def test_links_lead_somewhere(path: Path):
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = [target for target in LINK.findall(text) if not re.match(r"[a-z]+:", target)]
    lost = []
    for target in targets:
        place, _, anchor = target.partition("#")
        there = path.parent / place if place else path
        if not there.exists() or (anchor and anchor not in anchors(there.read_text(encoding="utf-8"))):
            lost.append(target)
    assert lost == []


def anchors(text: str) -> set[str]:
    """The places in a document that a link can name, as GitHub names them."""
    titles = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_package_says_what_it_is():
    missing = [package for package in (*PACKAGES, "tests") if not (ROOT / package / "README.md").exists()]
    assert missing == []


def settings_of(kind: type, prefix: str = "") -> set[str]:
    """The options of a configuration and of those inside it, as a command line names them."""
    found: set[str] = set()
    for field, hint in typing.get_type_hints(kind).items():
        name = f"{prefix}{field.replace('_', '-')}"
        found |= settings_of(hint, f"{name}.") if dataclasses.is_dataclass(hint) else {name}
    return found


@pytest.mark.parametrize(("package", "kind"), [("pretrain", PretrainConfig), ("lifelong", StageConfig)])
def test_settings_that_a_method_names_exist(package: str, kind: type):
    known = settings_of(kind) | {name.removeprefix("loss.") for name in settings_of(kind)}
    text = (ROOT / package / "METHOD.md").read_text(encoding="utf-8")
    groups = "loss|pairs|optimizer|memory|episode|matching"
    named = {name.replace("_", "-") for name in re.findall(rf"\b((?:{groups})\.[a-z][a-z_-]+)", text)}
    assert len(named) > 5
    assert named - known == set()


@pytest.mark.parametrize("path", [path for path in FILES if path.suffix == ".md"], ids=name_of)
def test_files_that_a_document_names_exist(path: Path):
    folders = "|".join((*PACKAGES, "benchmarks", "tests"))
    named = re.findall(rf"`((?:{folders})/[\w/.-]+\.(?:py|json|md|svg|jpg))`", path.read_text(encoding="utf-8"))
    assert [name for name in named if "NAME" not in name and not (ROOT / name).exists()] == []
