"""What the READMEs say is so: every block of Python runs, and every command and option that is named exists.

Above each block of Python stands how it runs, as a comment of HTML: ``runs: alone``, ``runs: with a model directory``
(``model`` and ``crop.jpg`` are in the current folder), ``runs: with a gallery and a model directory``, ``runs: with
exported models`` (see `tests.pretrain.models.formats.test_card`), or ``not run: WHY``.
"""

import contextlib
import functools
import io
import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from evaluation.features.table import Features
from lifelong.gallery.gallery import Gallery
from pretrain.models.directory import load_embedder
from tests.pretrain.models.formats.models import write_with_formats

ROOT = Path(__file__).parents[1]
READMES = [ROOT / "README.md", *sorted(ROOT.glob("*/README.md"))]
ALONE, WITH_MODEL, WITH_GALLERY = "alone", "with a model directory", "with a gallery and a model directory"
ELSEWHERE = "with exported models"
NOT_RUN = {"evaluation/README.md": 1}
"""How many blocks of a document are not run; each says why."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a document."""

    name: str
    """Document and line."""
    language: str
    mark: str
    """The comment above it."""
    text: str

    @property
    def document(self) -> str:
        return self.name.partition(":")[0]


def blocks_of(path: Path) -> Iterator[Block]:
    text = path.read_text(encoding="utf-8")
    for match in re.finditer(r"(?:^<!-- (.*?) -->\n)?^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        line = text[: match.start(3)].count("\n") + 1
        yield Block(f"{path.relative_to(ROOT).as_posix()}:{line}", match[2], match[1] or "", match[3])


BLOCKS = [block for path in READMES for block in blocks_of(path)]
PYTHON = [block for block in BLOCKS if block.language == "python"]


def those(how: str) -> list[Block]:
    return [block for block in PYTHON if block.mark == f"runs: {how}"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with a model in ``model`` and a picture of another size than its input."""
    write_with_formats(tmp_path / "model")
    drawn = np.random.default_rng(0).integers(0, 256, (12, 5, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "crop.jpg"), cv2.resize(drawn, (50, 120)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(block: Block) -> None:
    exec(compile(block.text, block.name, "exec"), {"__name__": "readme"})


def test_every_block_of_python_says_how_it_runs():
    known = {f"runs: {how}" for how in (ALONE, WITH_MODEL, WITH_GALLERY, ELSEWHERE)}
    strange = [block.name for block in PYTHON if block.mark not in known and not block.mark.startswith("not run: ")]
    assert strange == []
    left_out = [block.document for block in PYTHON if block.mark.startswith("not run: ")]
    assert {document: left_out.count(document) for document in left_out} == NOT_RUN
    assert those(ALONE)
    assert those(WITH_MODEL)


@pytest.mark.parametrize("block", those(ALONE), ids=lambda block: block.name)
def test_a_block_runs_alone(block: Block):
    run(block)


@pytest.mark.parametrize("block", those(WITH_MODEL), ids=lambda block: block.name)
def test_a_block_runs_with_a_model(block: Block, place: Path):
    run(block)


@pytest.mark.parametrize("block", those(WITH_GALLERY), ids=lambda block: block.name)
def test_a_block_runs_with_a_gallery(block: Block, place: Path):
    fingerprint, size = load_embedder("model").fingerprint, 8
    stored = np.random.default_rng(1).normal(size=(7, size)).astype(np.float32)
    gallery = Gallery.create("gallery", size=size, model_fingerprint=fingerprint)
    gallery.add(
        Features(
            feature=stored,
            identity=np.arange(1, 8),
            camera=np.ones(7, np.int64),
            time_seconds=np.zeros(7),
            path=np.array([f"{n}.jpg" for n in range(7)], object),
            split=np.array(["gallery"] * 7, object),
            model_fingerprint=np.array([fingerprint] * 7, object),
        )
    )
    run(block)


# What command lines name.

PACKAGES = ("pretrain", "evaluation", "lifelong")
OWN = re.compile(r"(?:python -m (?:pretrain|evaluation|lifelong|benchmarks|tests)\b|perennial )[^\n]*")
STAND_INS = {"RECIPE": {"pretrain": "isr-tiny", "lifelong": "lreid-bc-tiny"}}


def spans_of(path: Path) -> list[str]:
    """The inline code of a document."""
    prose = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"`([^`\n]+)`", prose)


def command_lines(path: Path) -> list[str]:
    """The commands of ours in the blocks of a document, and in its inline code, without what a shell does with them."""
    found: list[str] = []
    for block in blocks_of(path):
        if block.language in ("", "sh", "bash"):
            found += [match[0] for match in OWN.finditer(block.text)]
    found += [match[0] for span in spans_of(path) if (match := OWN.match(span))]
    return [
        part.strip()
        for line in found
        for part in re.split(r"&&|;|\|", re.sub(r"\s#.*", "", line))
        if OWN.match(part.strip())
    ]


COMMANDS = sorted({(path.relative_to(ROOT).as_posix(), line) for path in READMES for line in command_lines(path)})


@functools.cache
def help_of(module: str, *arguments: str) -> str:
    """What a command prints of itself."""
    printed = io.StringIO()
    before = sys.argv
    sys.argv = [module, *arguments, "--help"]
    try:
        with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
            runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        sys.argv = before
    return re.sub(r"\x1b\[[0-9;]*m", "", printed.getvalue())  # colours, where they are forced


def problems(line: str) -> list[str]:
    """What a command line names that does not exist."""
    words = shlex.split(line)
    module, *words = words[1:] if words[0] == "perennial" else words[2:]
    if module.startswith("-") or "." in module or module in ("benchmarks", "tests"):
        return [] if module == "--version" or is_module(module) else [f"there is no {module}"]
    commands: list[str] = []
    while re.search(r"^usage: .*\b(?:COMMAND|RECIPE)\b", text := help_of(module, *commands)) and words:
        if words[0].startswith("-") or words[0] == "...":
            break
        word = STAND_INS.get(words[0], {}).get(module, words[0])
        if not re.search(rf"^  {re.escape(word)}\s", text, re.MULTILINE):
            return [f"python -m {' '.join([module, *commands])} has no {word}"]
        commands.append(word)
        words = words[1:]
    known = set(re.findall(r"(?<![\w-])--?[a-z][\w.-]*", text))
    named = [re.match(r"-[^=]*", word)[0] for word in words if re.match(r"--?[a-z]", word)]
    return [f"python -m {' '.join([module, *commands])} has no {option}" for option in named if option not in known]


def is_module(name: str) -> bool:
    place = ROOT / name.replace(".", "/")
    return place.with_suffix(".py").exists() or (place / "__main__.py").exists()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("python -m pretrain train isr-tiny --clips A --out B --loss.beta 0 --workers=2", []),
        ("python -m pretrain train RECIPE --clips A --out B", []),
        ("python -m pretrain train isr-huge --clips A", ["python -m pretrain train has no isr-huge"]),
        ("python -m pretrain prepare A --outt B", ["python -m pretrain prepare has no --outt"]),
        ("python -m pretrain prepar A", ["python -m pretrain has no prepar"]),
        ("perennial lifelong gallery serch A", ["python -m lifelong gallery has no serch"]),
        ("python -m benchmarks.nothing", ["there is no benchmarks.nothing"]),
    ],
)
def test_what_does_not_exist_is_found(line: str, expected: list[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert problems(line) == expected


@pytest.mark.parametrize(("document", "line"), COMMANDS, ids=lambda value: value.replace(" ", "_")[:60])
def test_a_command_and_its_options_exist(document: str, line: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert problems(line) == []


def test_commands_are_found():
    assert {Path(document).parent.name for document, _ in COMMANDS} >= {"", *PACKAGES, "cluster"}
    assert len(COMMANDS) > 40


def test_targets_of_make_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    texts = [block.text for block in BLOCKS] + [f"`{span}" for path in READMES for span in spans_of(path)]
    named = {name for text in texts for name in re.findall(r"^`?make ([a-z-]+)", text, re.MULTILINE)}
    assert named - targets == set()
    assert {"demo", "test"} <= named


def test_the_readme_fits_two_screens():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 180


def test_the_readme_s_numbers_are_in_the_tables():
    """Means and deviations are copied from tables that are generated."""
    tables = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    numbers = re.findall(r"\d+\.\d ± \d+\.\d", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(numbers) > 10
    assert [number for number in numbers if number not in tables] == []
