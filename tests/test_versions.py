"""Everything that is kept for years says its version: a newer one is refused with a remedy, one without it read."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from cluster.versions import KEY, check_version
from evaluation.features.parquet import read_parquet, write_features
from lifelong.memory.store import read_exemplars, write_exemplars
from lifelong.recipes import find_recipe
from lifelong.stages.plan import LifelongPlan, Stage, plan_from_json, plan_to_json
from pretrain.config.run import PretrainConfig
from pretrain.ingest.clips import require_clips
from pretrain.models.config import ModelConfig
from pretrain.models.directory import load_embedder, write_model
from pretrain.models.encoder import make_encoder
from pretrain.recipes import isr_tiny
from pretrain.training.run_folder import claim_run, read_config
from tests.evaluation.scoring.test_scores import make_scorable
from tests.lifelong.memory.test_store import make_exemplars
from tests.pretrain.ingest.films import write_clips_directory

PLAN = LifelongPlan(stages=(Stage(name="a", dataset="csv:/a.csv", config=find_recipe("finetune-tiny")()),))
TINY = ModelConfig(architecture="tiny", embedding_size=8, height=32, width=16)


def change_json(path: Path, field: str, version: Any) -> None:
    values = json.loads(path.read_text(encoding="utf-8"))
    values = {name: value for name, value in values.items() if name != field}
    values |= {} if version is None else {field: version}
    path.write_text(json.dumps(values), encoding="utf-8")


def change_parquet(path: Path, version: Any) -> None:
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({} if version is None else {KEY: str(version)}), path)


def model(folder: Path, version: Any) -> Any:
    state = {name: tensor.contiguous() for name, tensor in make_encoder(TINY, seed=0).state_dict().items()}
    write_model(state, TINY, str(folder / "m"), recipe="r", step=0, card="")
    change_json(folder / "m" / "config.json", "version", version)
    return load_embedder(str(folder / "m")).config


def features(folder: Path, version: Any) -> Any:
    write_features(str(folder / "f.parquet"), make_scorable())
    change_parquet(folder / "f.parquet", version)
    return len(read_parquet(str(folder / "f.parquet")))


def memory(folder: Path, version: Any) -> Any:
    (folder / "e.parquet").unlink(missing_ok=True)
    write_exemplars(str(folder / "e.parquet"), make_exemplars())
    change_parquet(folder / "e.parquet", version)
    return len(read_exemplars(str(folder / "e.parquet")))


def plan(folder: Path, version: Any) -> Any:
    values = plan_to_json(PLAN)
    del values["version"]
    return plan_from_json(values | ({} if version is None else {"version": version}))


READERS = {"a model": (model, 1), "features": (features, 1), "a memory": (memory, 1), "a plan": (plan, 1)}


@pytest.mark.parametrize(("read", "current"), READERS.values(), ids=READERS)
def test_a_newer_version_is_refused_and_one_from_before_versions_is_read(read, current, tmp_path: Path):
    assert read(tmp_path, current) == read(tmp_path, None)
    with pytest.raises(ValueError, match=rf"has version {current + 1}, and this program reads up to {current}; update"):
        read(tmp_path, current + 1)
    with pytest.raises(ValueError, match="where its version should be; it is damaged, or no file of ours"):
        read(tmp_path, "new")


def run(folder: Path, version: Any) -> Any:
    claim_run(str(folder), isr_tiny())
    change_json(folder / "config.json", "version", version)
    claim_run(str(folder), isr_tiny())
    return read_config(str(folder), PretrainConfig)


def clips(folder: Path, version: Any) -> Any:
    write_clips_directory(folder, videos=1, clips=1)
    change_json(folder / "report.json", "schema_version", version)
    return require_clips(str(folder))


@pytest.mark.parametrize(("read", "current"), [(run, 2), (clips, 1)], ids=["a run", "clips"])
def test_what_had_a_version_from_the_beginning_is_refused_without_it(read, current, tmp_path: Path):
    read(tmp_path / "one", current)
    with pytest.raises(ValueError, match=f"has version {current + 1}, and this program reads up to {current}; update"):
        read(tmp_path / "two", current + 1)
    with pytest.raises(ValueError, match=r"has version 1, and this program reads from 2 on; go on with|has 0 where"):
        read(tmp_path / "three", None)


@pytest.mark.parametrize("found", [0, -1, True, 1.0, "1", [1]])
def test_what_is_no_version_is_said_to_be_none(found):
    with pytest.raises(ValueError, match=r"it has .* where its version should be"):
        check_version("it", found, 3)


def test_versions_between_are_read():
    for found in (2, 3):
        check_version("it", found, 3, oldest=2)
    with pytest.raises(ValueError, match="it has version 1, and this program reads from 2 on; make it again"):
        check_version("it", 1, 3, oldest=2, remedy="make it again")
    with pytest.raises(ValueError, match="it has version 1, and this program reads from 2 on; make it again"):
        check_version("it", None, 3, oldest=2, remedy="make it again")
