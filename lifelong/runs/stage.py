"""One stage: what it begins with, its training, what it leaves for the stages after it."""

import hashlib
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cluster import storage
from cluster.console import console
from evaluation.datasets.rows import ImageRow
from evaluation.features.table import Features
from lifelong.data.feed import TrainingImages, read_images, write_images
from lifelong.memory.selection import select_exemplars
from lifelong.memory.store import Exemplars, read_exemplars, write_exemplars
from lifelong.models.files import read_network, write_network
from lifelong.models.network import lasting, next_model
from lifelong.runs.files import model_folder, read_done, stage_folder
from lifelong.runs.local import Backend
from lifelong.stages.plan import LifelongPlan
from lifelong.training.job import NETWORK, START, StageJob
from pretrain.models.directory import model_card, write_model
from pretrain.models.precision import to_publish
from pretrain.training.checkpoint import newest_tensors
from pretrain.training.run_folder import claim_run

MEMORY = "memory.parquet"


def run_stage(run: str, plan: LifelongPlan, number: int, backend: Backend) -> dict[str, Any]:
    """Run or resume one stage, and return what it leaves in ``done.json``.

    Args:
        run: Location of the run.
        plan: Of the run; all stages before this one are finished.
        number: Of the stage, from 1.
        backend: Where it is trained.

    Raises:
        ValueError: If its data cannot be read, its folder belongs to other settings, or the memory of an earlier stage
            has changed.
    """
    folder = stage_folder(run, plan, number)
    if (done := read_done(folder)) is not None:
        return done
    began = time.perf_counter()
    stage = plan.stages[number - 1]
    new_rows = [row for row in stage.rows() if row.split == "train" and row.identity > 0]
    job = _job(run, plan, number)
    claim_run(folder, stage.config, dataset=stage.dataset, images=_digest(new_rows))
    if not storage.exists(storage.join(folder, START)):
        _prepare(run, plan, number, job, new_rows, backend)
    console.print(
        f"stage {number}, {stage.name}: {len(read_images(folder).path):,} images, {job.total_steps:,} steps of "
        f"{stage.config.recipe}, {len(job.memory)} earlier stages in memory",
        markup=False,
    )
    record = backend.train(job)
    tensors = newest_tensors(folder)
    steps = record["step"]  # an adaptive schedule may have ended before
    write_network(storage.join(folder, NETWORK), lasting(tensors))
    description = _write_model(run, plan, number, tensors, steps=steps, record=record)
    done = {
        "stage": number,
        "name": stage.name,
        "recipe": stage.config.recipe,
        "steps": steps,
        "metrics": record,
        "identities": len(tensors["classifier"]),
        "model_fingerprint": description["fingerprint"],
        **_remember(run, plan, number, job, new_rows, backend, description["fingerprint"]),
    }
    done["seconds"] = round(time.perf_counter() - began, 1)
    storage.write_json(storage.join(folder, "done.json"), done)
    return done


def _job(run: str, plan: LifelongPlan, number: int) -> StageJob:
    memory: list[tuple[str, str]] = []
    for earlier in range(1, number):
        folder = stage_folder(run, plan, earlier)
        done = read_done(folder)
        assert done is not None, "stages run in order"
        if done["memory_sha256"]:
            memory.append((storage.join(folder, MEMORY), done["memory_sha256"]))
    before = storage.join(stage_folder(run, plan, number - 1), NETWORK) if number > 1 else ""
    config = plan.stages[number - 1].config
    folder = stage_folder(run, plan, number)
    return StageJob(config=config, stage=number, folder=folder, before=before, memory=tuple(memory))


def _digest(rows: Sequence[ImageRow]) -> str:
    """Hash which images show whom: a stage is not resumed on other data."""
    text = "\n".join(f"{row.path} {row.identity}" for row in rows)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _prepare(
    run: str, plan: LifelongPlan, number: int, job: StageJob, new_rows: Sequence[ImageRow], backend: Backend
) -> None:
    """Number the identities, and make the network with which the stage begins."""
    before = read_network(job.before) if job.before else read_first(run)
    num_known = len(before["classifier"]) if "classifier" in before else 0
    label = _number([row.identity for row in new_rows]) + num_known
    images = TrainingImages([row.path for row in new_rows], label)
    known = model_folder(run, plan, number - 1)
    how: dict[str, Any] = {"use_gpu": job.config.scale.use_gpu, "precision": job.config.precision}
    feature = backend.embed(new_rows, known, **how).feature
    mean = np.stack([feature[label == value].mean(axis=0) for value in np.unique(label)])
    model = next_model(job.config, before, torch.from_numpy(mean))
    if job.config.joint:
        parts = [read_images(stage_folder(run, plan, k)) for k in range(1, number)] + [images]
        # A joint stage's list holds those before it already.
        label_of = {path: value for part in parts for path, value in zip(part.path, part.label.tolist(), strict=True)}
        images = TrainingImages(list(label_of), np.array(list(label_of.values()), np.int64))
    write_images(job.folder, images)
    write_network(storage.join(job.folder, START), lasting(model.state_dict()))


def read_first(run: str) -> dict[str, Tensor]:
    """Read the first weights under the names that they have in a stage's network."""
    tensors = read_network(storage.join(run, "start", "model.safetensors"))
    return {f"encoder.{name}": tensor for name, tensor in tensors.items()}


def _number(identities: Sequence[int]) -> NDArray[np.int64]:
    return np.unique(np.array(identities, np.int64), return_inverse=True)[1].astype(np.int64)


def _write_model(
    run: str, plan: LifelongPlan, number: int, tensors: dict[str, Tensor], *, steps: int, record: dict[str, Any]
) -> dict[str, Any]:
    config = plan.stages[number - 1].config
    encoder, matching = (
        {
            name.removeprefix(prefix): value.detach().cpu().contiguous()
            for name, value in to_publish(tensors).items()
            if name.startswith(prefix)
        }
        for prefix in ("encoder.", "matching.")
    )
    facts = [
        ("stage", f"{number} of {', '.join(stage.name for stage in plan.stages[:number])}"),
        ("method", config.recipe),
        ("steps", str(steps)),
        *((name, f"{record[name]:.4f}") for name in ("loss/total", "identity/accuracy") if name in record),
        ("retrieval", "in the run's results.md"),
    ]
    card = model_card(title=f"{config.recipe}, stage {number}", config=config.model, facts=facts, trained=TRAINED)
    location = model_folder(run, plan, number)
    options: dict[str, Any] = {"recipe": config.recipe, "step": steps, "card": card}
    return write_model(encoder, config.model, location, matching=matching or None, **options)


TRAINED = (
    "Trained in stages on labelled images, each stage on a dataset of its own. `lreid-bc` follows Lifelong Person "
    "Re-Identification with Backward-Compatibility (Oh and Sim, arXiv 2403.10022) as far as its abstract says it; the "
    "paper's full formulas are not available to us, and the rest is this project's own design."
)


def _remember(
    run: str,
    plan: LifelongPlan,
    number: int,
    job: StageJob,
    rows: Sequence[ImageRow],
    backend: Backend,
    fingerprint: str,
) -> dict[str, Any]:
    """Keep some images and their features, for ever; return what ``done.json`` says of it."""
    config, location = job.config.memory, storage.join(job.folder, MEMORY)
    if not config.identities:
        return {"memory_sha256": "", "memory_images": 0}
    if storage.exists(location):  # the process ended before it could say that the stage was done
        found = read_exemplars(location)
        if set(found.model_fingerprint) == {fingerprint}:
            sha256 = hashlib.sha256(storage.read_bytes(location)).hexdigest()
            return {"memory_sha256": sha256, "memory_images": len(found)}
        storage.remove(location)  # of a training that was lost, and that nothing refers to yet
    how: dict[str, Any] = {"use_gpu": job.config.scale.use_gpu, "precision": job.config.precision}
    features: Features = backend.embed(rows, model_folder(run, plan, number), **how)
    kept = select_exemplars(
        features.feature,
        features.identity,
        num_identities=config.identities,
        images_per_identity=config.images,
        strategy=config.strategy,
        seed=job.config.seed,
    )
    known = len(read_network(job.before)["classifier"]) if job.before else 0
    label = _number(features.identity.tolist()) + known
    unit = features.feature[kept] / np.linalg.norm(features.feature[kept].astype(np.float64), axis=1, keepdims=True)
    exemplars = Exemplars(
        image=np.array([storage.read_bytes(rows[row].path) for row in kept] + [None], object)[:-1],
        path=features.path[kept],
        identity=features.identity[kept],
        label=label[kept],
        stage=np.full(len(kept), number, np.int64),
        feature=unit.astype(np.float32),
        model_fingerprint=features.model_fingerprint[kept],
    )
    sha256 = write_exemplars(location, exemplars)
    return {"memory_sha256": sha256, "memory_images": len(kept)}
