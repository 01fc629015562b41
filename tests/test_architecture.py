"""The rules of the code base that a program can check: imports point one way, Ray stays in the wiring."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ORDER = ("cluster", "evaluation", "pretrain", "lifelong")
"""Each may import those before it."""
WIRING = ("pipeline.py", "train.py", "stream.py", "sweep.py", "session.py", "__main__.py")
"""Names of the modules that may import Ray."""
LONGEST = 250
LONGER: dict[str, int] = {}
"""Files that may be longer, and how much; each needs a reason."""
FILES = sorted(path for package in ORDER for path in (ROOT / package).rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports_of(path: Path) -> Iterator[tuple[str, int]]:
    """Every module that a file imports, wherever in the file, with the level of a relative import."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, 0) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "", node.level


def imports_ray(path: Path) -> bool:
    return any(module.split(".")[0] == "ray" for module, _ in imports_of(path))


def reach(path: Path) -> set[Path]:
    """The modules of ours that importing a file imports in turn, itself included."""
    seen, todo = set(), [path]
    while todo:
        current = todo.pop()
        if current in seen:
            continue
        seen.add(current)
        for node in ast.walk(ast.parse(current.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            for name in names:
                places = (ROOT / f"{name.replace('.', '/')}.py", ROOT / name.replace(".", "/") / "__init__.py")
                todo += [place for place in places if place.exists() and name.split(".")[0] in ORDER]
    return seen


PURE = [path for path in FILES if path.name not in WIRING and not any(map(imports_ray, reach(path)))]
"""Modules that reach no module with Ray."""


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_point_downwards(path: Path):
    package = ORDER.index(path.relative_to(ROOT).parts[0])
    for module, level in imports_of(path):
        assert level == 0, f"relative import of {module!r}"
        top = module.split(".")[0]
        assert top not in ("tests", "benchmarks"), f"imports {module}"
        if top in ORDER and path.name != "__main__.py":
            assert ORDER.index(top) <= package, f"{ORDER[package]} must not import {module}"


def test_ray_stays_in_the_wiring():
    assert [name_of(path) for path in FILES if imports_ray(path) and path.name not in WIRING] == []


def test_composition_roots_define_no_class():
    """A class of `__main__` is pickled by value, and `isinstance` then fails on workers."""
    for path in FILES:
        if path.name == "__main__.py":
            classes = [node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ClassDef)]
            assert classes == [], name_of(path)


def test_maths_is_pure():
    """What holds formulas is among the modules that the next test imports."""
    names = {name_of(path) for path in PURE}
    for name in (
        "losses",
        "pairs",
        "reliability",
        "objective",
        "step",
        "feed",
        "share",
        "samples",
        "augment",
        "filters",
        "cycle",
        "health",
        "validation",
        "heldout",
        "runs/local",
        "schedules",
        "models/encoder",
        "runs/checkpoint",
        "audit/truth",
        "audit/auditor",
    ):
        assert f"pretrain/{name}.py" in names
    for name in ("decoders", "detectors", "crops", "clips", "extract", "manifest", "workers", "report"):
        assert f"pretrain/ingest/{name}.py" in names
    for name in ("counting", "average_precision", "draws", "retrieval", "rank_list", "distances", "bootstrap"):
        assert f"evaluation/metrics/{name}.py" in names
    for name in ("measures", "joint", "verdict"):
        assert f"evaluation/compatibility/{name}.py" in names
    for name in ("qaconv", "tlift", "reranking", "histogram", "scoring/ranking", "scoring/scores"):
        assert f"evaluation/{name}.py" in names
    for name in ("identity", "triplet", "compatibility", "distillation", "parts", "episodes", "prototypes", "matching"):
        assert f"lifelong/losses/{name}.py" in names
    for name in ("stages", "loss_config", "memory/selection", "memory/store", "gallery/gallery"):
        assert f"lifelong/{name}.py" in names
    for name in ("model", "objective", "step", "feed", "job", "sampling", "draws", "graph"):
        assert f"lifelong/training/{name}.py" in names
    for name in ("storage", "resources", "console", "values"):
        assert f"cluster/{name}.py" in names


def test_importing_what_is_pure_leaves_ray_alone():
    modules = [name_of(path).removesuffix(".py").replace("/", ".").removesuffix(".__init__") for path in PURE]
    program = f"import sys\nfor name in {modules}: __import__(name)\nprint([m for m in sys.modules if m == 'ray'])"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_files_are_read_in_one_sitting():
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in FILES}
    assert {name: length for name, length in lengths.items() if length > LONGER.get(name, LONGEST)} == {}
    assert [name for name in LONGER if lengths.get(name, 0) <= LONGEST] == [], "take these off the list"


def test_no_file_is_named_for_nothing():
    stems = ("utils", "helpers", "common", "base")
    assert [name_of(path) for path in FILES if path.stem in stems or path.stem.startswith("manager")] == []


def test_every_folder_of_tests_is_a_package():
    folders = {path.parent for path in (ROOT / "tests").rglob("*.py")}
    assert [name_of(folder) for folder in folders if not (folder / "__init__.py").exists()] == []
