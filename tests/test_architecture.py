"""The rules of the code base that a program can check: imports point one way, Ray stays in the wiring."""

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ORDER = ("cluster", "evaluation", "pretrain", "lifelong")
"""Each may import those before it."""
ROOMS = {
    "cluster": (
        "errors", "causes", "versions", "extensions", "storage", "values", "claims", "resources", "memory", "options",
        "console", "session", "sweep",
    ),
    "evaluation": (
        "metrics", "features", "datasets", "qaconv", "embedding", "scoring", "report", "compatibility", "explain",
        "arrays", "commands",
    ),
    "pretrain": (
        "street", "ingest", "models", "association", "data", "distributed", "losses", "config", "training",
        "validation", "recipes", "runs", "export", "sweep", "demo", "commands",
    ),
    "lifelong": (
        "losses", "memory", "stages", "models", "data", "training", "gallery", "recipes", "runs", "train", "sweep",
        "protocols", "demo", "commands", "perennial",
    ),
}  # fmt: skip
"""Folders, and modules that stand beside them, of each package; each may import those before it."""
WIRING = {
    "cluster/session.py",
    "cluster/sweep/tune.py",
    "evaluation/embedding/pipeline.py",
    "pretrain/data/stream.py",
    "pretrain/ingest/pipeline.py",
    "pretrain/training/ray_train.py",
}
"""The modules that import Ray; in all others nobody need know what it is."""
LONGEST = 220
"""Lines of code, docstrings apart."""
LONGER: dict[str, int] = {}
"""Files that may be longer, and how much; each needs a reason."""
FILES = sorted(path for package in ORDER for path in (ROOT / package).rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def imports_of(path: Path) -> list[tuple[str, int]]:
    """Every module that a file imports, wherever in the file, with the level of a relative import."""
    found: list[tuple[str, int]] = []
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found += ((alias.name, 0) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.append((node.module or "", node.level))
    return found


def imports_ray(path: Path) -> bool:
    return any(module.split(".")[0] == "ray" for module, _ in imports_of(path))


def walk_loaded(tree: ast.AST) -> Iterator[ast.AST]:
    """Walk a file without what only a type checker reads."""
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"):
            yield node
            yield from walk_loaded(node)


@functools.cache
def loads(path: Path) -> list[Path]:
    """The modules of ours that a file imports itself when it is loaded."""
    found: list[Path] = []
    for node in walk_loaded(tree_of(path)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            places = (ROOT / f"{name.replace('.', '/')}.py", ROOT / name.replace(".", "/") / "__init__.py")
            found += [place for place in places if name.split(".")[0] in ORDER and place.exists()]
    return found


def reach(path: Path) -> set[Path]:
    """The modules of ours that importing a file imports in turn, itself included."""
    seen, todo = set(), [path]
    while todo:
        current = todo.pop()
        if current not in seen:
            seen.add(current)
            todo += loads(current)
    return seen


PURE = [path for path in FILES if not any(map(imports_ray, reach(path)))]
"""Modules that reach no module with Ray."""


def is_root(path: Path) -> bool:
    """Whether a module puts things together for a person at a terminal: it may import anything."""
    return path.name == "__main__.py" or path.parent.name == "commands"


def room_of(module: str) -> tuple[str, str]:
    """The package and the room of a module of ours; no room for what stands for the whole package."""
    package, _, rest = module.partition(".")
    return package, rest.partition(".")[0]


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_point_downwards(path: Path):
    package = ORDER.index(path.relative_to(ROOT).parts[0])
    for module, level in imports_of(path):
        assert level == 0, f"relative import of {module!r}"
        top = module.split(".")[0]
        assert top not in ("tests", "benchmarks"), f"imports {module}"
        if top in ORDER and not is_root(path):
            assert ORDER.index(top) <= package, f"{ORDER[package]} must not import {module}"


@pytest.mark.parametrize("package", ORDER)
def test_every_room_has_its_place(package: str):
    found = {path.relative_to(ROOT / package).parts[0].removesuffix(".py") for path in (ROOT / package).rglob("*.py")}
    assert found - {"__init__", "__main__"} == set(ROOMS[package])


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_inside_a_package_imports_point_one_way_between_rooms(path: Path):
    package, room = room_of(name_of(path).removesuffix(".py").replace("/", "."))
    if room in ("__init__", "__main__"):
        return
    rooms = ROOMS[package]
    for module, _ in imports_of(path):
        other, target = room_of(module)
        if other == package and target and target != room:
            assert rooms.index(target) < rooms.index(room), f"{package}.{room} comes before {target}, imports {module}"


def test_ray_stays_in_the_wiring():
    assert {name_of(path) for path in FILES if imports_ray(path)} == WIRING


def test_composition_roots_define_no_class():
    """A class of `__main__` is pickled by value, and `isinstance` then fails on workers."""
    for path in FILES:
        if path.name == "__main__.py":
            classes = [
                node.name
                for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
                if isinstance(node, ast.ClassDef)
            ]
            assert classes == [], name_of(path)


PURE_ROOMS = {
    "cluster": (
        "errors",
        "causes",
        "extensions",
        "storage",
        "values",
        "claims",
        "resources",
        "memory",
        "options",
        "console",
    ),
    "evaluation": ("metrics", "features", "datasets", "qaconv", "scoring", "report", "compatibility"),
    "pretrain": ("street", "association", "models", "losses", "config", "distributed", "validation"),
    "lifelong": ("losses", "memory", "stages", "models", "data", "training", "gallery"),
}
"""Where nothing reaches Ray, however it is imported: formulas, files, values."""
LATE = ("pretrain/runs.py", "pretrain/export.py", "lifelong/runs/backend.py")
"""What loads Ray when a run asks for it: to train in one process waits for none."""


def test_maths_is_pure():
    names = {name_of(path) for path in PURE}
    for package, rooms in PURE_ROOMS.items():
        for room in rooms:
            inside = [
                path for path in FILES if name_of(path).startswith((f"{package}/{room}/", f"{package}/{room}.py"))
            ]
            assert inside
            for path in inside:
                assert name_of(path) in names or path.name == "__main__.py", f"{name_of(path)} reaches Ray"
    for folder, wired in (
        ("pretrain/data", "stream"),
        ("pretrain/ingest", "pipeline"),
        ("pretrain/training", "ray_train"),
    ):
        reached = {path.stem for path in (ROOT / folder).glob("*.py") if name_of(path) not in names}
        assert reached == {wired}, folder


@pytest.mark.slow
def test_importing_what_is_pure_leaves_ray_alone():
    paths = [name_of(path) for path in PURE] + list(LATE)
    modules = [path.removesuffix(".py").replace("/", ".").removesuffix(".__init__") for path in paths]
    program = f"import sys\nfor name in {modules}: __import__(name)\nprint([m for m in sys.modules if m == 'ray'])"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True, encoding="utf-8"
    )
    assert done.stdout.strip() == "[]"


def lines_of_code(path: Path) -> int:
    """Lines without docstrings, which state definitions as loops and may be long."""
    text = path.read_text(encoding="utf-8")
    told = 0
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            told += node.end_lineno - node.lineno + 1
    return len(text.splitlines()) - told


def test_files_are_read_in_one_sitting():
    lengths = {name_of(path): lines_of_code(path) for path in FILES}
    assert {name: length for name, length in lengths.items() if length > LONGER.get(name, LONGEST)} == {}
    assert [name for name in LONGER if lengths.get(name, 0) <= LONGEST] == [], "take these off the list"


def test_no_file_is_named_for_nothing():
    stems = ("utils", "helpers", "common", "base")
    assert [name_of(path) for path in FILES if path.stem in stems or path.stem.startswith("manager")] == []


def test_every_folder_of_tests_is_a_package():
    folders = {path.parent for path in (ROOT / "tests").rglob("*.py")}
    assert [name_of(folder) for folder in folders if not (folder / "__init__.py").exists()] == []


OPENS_NO_FILE = ("av.open", "os.open", "opener.open", "Gallery.open", "cls.open")
"""Functions of this name that give no text of a file."""


def reads_by_locale(call: ast.Call) -> bool:
    """Whether a call reads or writes text in the encoding of the machine's locale, not in UTF-8."""
    given = {keyword.arg for keyword in call.keywords}
    name = ast.unparse(call.func)
    constants = [node.value for node in ast.walk(call) if isinstance(node, ast.Constant)]
    is_binary = any(isinstance(value, str) and value in ("rb", "wb", "ab", "xb", "r+b", "w+b") for value in constants)
    kind = name.rpartition(".")[2]
    is_text = kind in ("read_text", "write_text") or (kind in ("open", "fdopen") and name not in OPENS_NO_FILE)
    return "encoding" not in given and ("text" in given or (is_text and not is_binary))


def test_text_is_utf8_whatever_the_locale():
    """Python reads and writes in the locale's encoding unless told; in another than ours that fails, or differs."""
    files = [*FILES, *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
    for path in files:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        found = [f"{name_of(path)}:{call.lineno}" for call in calls if reads_by_locale(call)]
        assert found == [], 'say encoding="utf-8"'
