"""What a person with a notebook finds: names that load what they need, and examples that run."""

import doctest
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from evaluation.features.parquet import write_features
from evaluation.features.table import Features
from pretrain.models.config import ModelConfig
from pretrain.models.directory import write_model
from pretrain.models.encoder import make_encoder
from tests.lifelong.people import write_people

ROOT = Path(__file__).parents[1]
PACKAGES = ("cluster", "evaluation", "pretrain", "lifelong")
NAMES = [(package, name) for package in PACKAGES for name in importlib.import_module(package).PUBLIC]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the examples read: a model, a dataset, a features file."""
    folder = tmp_path_factory.mktemp("examples")
    config = ModelConfig(architecture="tiny", embedding_size=8, height=32, width=16)
    tensors = {name: tensor.contiguous() for name, tensor in make_encoder(config, seed=0).state_dict().items()}
    write_model(tensors, config, str(folder / "model"), recipe="isr-tiny", step=0, card="")
    write_people(folder / "people", people=2, seed=0)
    features = Features(
        feature=np.concatenate([np.eye(8, dtype=np.float32)[:2]] * 2),
        identity=np.array([1, 2, 1, 2]),
        camera=np.array([1, 1, 2, 2]),
        time_seconds=np.full(4, np.nan),
        path=np.array([f"{number}.jpg" for number in range(4)], dtype=object),
        split=np.array(["query"] * 2 + ["gallery"] * 2, dtype=object),
        model_fingerprint=np.array(["first"] * 4, dtype=object),
    )
    write_features(str(folder / "features.parquet"), features)
    return str(folder)


@pytest.mark.parametrize("package", PACKAGES)
def test_what_is_public_is_listed_and_typed(package: str):
    module = importlib.import_module(package)
    assert set(module.PUBLIC) == set(module.__all__) - {"__version__"}
    assert set(module.__all__) <= set(dir(module))
    assert (ROOT / package / "py.typed").exists()
    for name in module.PUBLIC:  # the type checker reads another list than the program
        place, _, own = module.PUBLIC[name].partition(":")
        assert f"    from {place} import {own or name} as {name}" in (ROOT / package / "__init__.py").read_text(
            encoding="utf-8"
        )
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        module.nothing  # noqa: B018


@pytest.mark.parametrize(("package", "name"), NAMES)
def test_every_public_name_is_what_it_says_and_shows_its_use(package: str, name: str, folder: str):
    found = getattr(importlib.import_module(package), name)
    assert not inspect.ismodule(found), "a module of that name would take its place"
    if not callable(found):
        return
    examples = doctest.DocTestParser().get_doctest(found.__doc__, {"folder": folder}, name, None, None)
    assert f"{package}.{name}" in found.__doc__ or inspect.isclass(found)
    assert examples.examples
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    assert runner.run(examples).failed == 0


def test_no_module_takes_the_place_of_a_public_name():
    """Importing `pretrain.runs` sets the attribute `runs` of the package: a module `train` would hide the function."""
    for package, name in NAMES:
        assert not (ROOT / package / name).exists(), name
        assert not (ROOT / package / f"{name}.py").exists(), name


PROGRAM = """
import sys, {package}
heavy = [name for name in ("numpy", "ray", "torch", "tyro") if name in sys.modules]
import resource
used = resource.getrusage(resource.RUSAGE_SELF)
print(heavy, used.ru_utime + used.ru_stime)
"""


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_a_package_takes_no_time(package: str):
    program = [sys.executable, "-c", PROGRAM.format(package=package)]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, encoding="utf-8", check=True)
    heavy, seconds = done.stdout.rsplit(maxsplit=1)
    assert heavy == "[]"
    assert float(seconds) < 2, "0.1 s where it was measured"


@pytest.mark.parametrize("stranger", ["cluster", "evaluation"])
def test_other_projects_packages_of_our_names_are_told_apart(stranger: str, tmp_path: Path):
    (tmp_path / stranger).mkdir()
    (tmp_path / stranger / "__init__.py").write_text("class KMeansClustering: ...\n", encoding="utf-8")
    path = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]; "
    said = f"error: the package {stranger} at {tmp_path / stranger} is another project's, and "
    for start in "import pretrain", "from lifelong.gallery.gallery import Gallery":
        done = subprocess.run(
            [sys.executable, "-c", path + start], cwd=tmp_path, capture_output=True, encoding="utf-8", check=False
        )
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1].startswith(f"ImportError: {said}")
    runs = {
        "python -m pretrain": "import runpy; sys.argv = ['-m']; runpy.run_module('pretrain', run_name='__main__')",
        "perennial": "sys.argv = ['/bin/perennial']; from lifelong.perennial import main; main()",
    }
    for name, start in runs.items():
        done = subprocess.run(
            [sys.executable, "-c", path + start], cwd=tmp_path, capture_output=True, encoding="utf-8", check=False
        )
        assert (done.returncode, done.stdout) == (1, ""), name
        (line,) = done.stderr.splitlines()
        assert line.startswith(said)
