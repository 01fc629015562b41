"""The wheel: built from this checkout, installed beside today's packages, used from another folder."""

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
PACKAGES = ("cluster", "evaluation", "pretrain", "lifelong")


def call(*argv: str, **options: object) -> str:
    done = subprocess.run(argv, capture_output=True, encoding="utf-8", check=False, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the files that git knows: a build leaves things beside what it builds."""
    folder = tmp_path_factory.mktemp("build")
    listed = call("git", "ls-files", "-co", "--exclude-standard", *PACKAGES, "pyproject.toml", "README.md", cwd=ROOT)
    for name in listed.splitlines():
        if (ROOT / name).exists():
            (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "source" / name).write_bytes((ROOT / name).read_bytes())
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    call(sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", str(folder), str(folder / "source"))
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the wheel, which finds all other packages where this one does."""
    folder = tmp_path_factory.mktemp("environment")
    call(sys.executable, "-m", "venv", "--without-pip", str(folder))
    (library,) = folder.glob("lib/python3*/site-packages")
    options = ["--no-deps", "--no-index", "--disable-pip-version-check"]
    call(sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install", *options, str(wheel))
    # A line of a .pth file adds a folder without reading the .pth files in it, so not this checkout.
    (library / "others.pth").write_text(f"{sysconfig.get_paths()['purelib']}\n", encoding="utf-8")
    return folder


def test_the_wheel_holds_every_module_and_what_they_read(wheel: Path):
    assert wheel.name == "perennial_reid-0.2.0-py3-none-any.whl"
    names = set(zipfile.ZipFile(wheel).namelist())
    ours = {path.relative_to(ROOT).as_posix() for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    assert ours <= names
    data = {f"{package}/py.typed" for package in PACKAGES} | {"evaluation/report/templates/report.html.j2"}
    assert data <= names
    assert {name.split("/")[0] for name in names} == {*PACKAGES, "perennial_reid-0.2.0.dist-info"}


PROGRAM = """
import cluster, evaluation, lifelong, pretrain, sys
for module in (cluster, evaluation, lifelong, pretrain):
    assert module.__file__.startswith(sys.argv[1]), module.__file__
import importlib.metadata
assert importlib.metadata.version("perennial-reid") == cluster.__version__
for module in (cluster, evaluation, lifelong, pretrain):
    for name in module.PUBLIC:
        getattr(module, name)
from evaluation.report.page import _template
print(type(_template()).__name__)
"""


def test_it_works_outside_the_checkout(environment: Path, tmp_path: Path):
    library = next(environment.glob("lib/python3*/site-packages"))
    options = {"cwd": tmp_path, "env": {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}}
    printed = call(str(environment / "bin" / "python"), "-c", PROGRAM, str(library), **options)
    assert printed == "Template\n"


def test_the_console_command_is_there(environment: Path, tmp_path: Path):
    perennial = str(environment / "bin" / "perennial")
    options = {"cwd": tmp_path, "env": {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}}
    assert call(perennial, "--version", **options) == "perennial-reid 0.2.0\n"
    for program in ("", "pretrain", "evaluation", "lifelong", "lifelong gallery"):
        printed = call(perennial, *program.split(), "--help", **options)
        assert printed.startswith(f"usage: {' '.join(['perennial', *program.split()])} COMMAND")
    call(perennial, "pretrain", "street", "--out", "drawn", "--labelled-only", "--test-identities", "1", **options)
    assert (tmp_path / "drawn" / "street.json").exists()
