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
from lifelong.data.feed import TrainingImages, read_images, write_images
from lifelong.memory.selection import select_exemplars
from lifelong.memory.store import Exemplars, read_exemplars, write_exemplars
from lifelong.models.files import read_network, write_network
from lifelong.models.network import lasting, next_model
from lifelong.recipes import changes
from lifelong.runs.backend import Backend
from lifelong.runs.run import Run, StageFolder
from lifelong.training.job import START
from pretrain.models.directory import model_card, write_model
from pretrain.models.precision import to_publish
from pretrain.training.checkpoint import newest_tensors
from pretrain.training.run_folder import claim_run


def train_stage(stage: StageFolder, backend: Backend) -> dict[str, Any]:
    """Run or resume one stage, and return what it leaves in ``done.json``.

    Args:
        stage: All stages before it are finished.
        backend: Where it is trained.

    Raises:
        InputError: If its data cannot be read, its folder belongs to other settings, or the memory of an earlier stage
            has changed.
    """
    if (done := stage.done) is not None:
        return done
    began = time.perf_counter()
    claim_run(stage.location, stage.config, dataset=stage.stage.dataset, images=_digest(stage.training_rows))
    if not storage.exists(storage.join(stage.location, START)):
        _prepare(stage, backend)
    job = stage.job
    console.print(
        f"stage {stage.number}, {stage.name}: {len(read_images(stage.location).path):,} images, "
        f"{job.total_steps:,} steps of {stage.config.recipe}, {len(job.memory)} earlier stages in memory",
        markup=False,
    )
    for change in changes(stage.config):
        console.print(f"  {change}", markup=False)
    record = backend.train(job)
    tensors = newest_tensors(stage.location)
    write_network(stage.network, lasting(tensors))
    description = _write_model(stage, tensors, record)
    done = {
        "stage": stage.number,
        "name": stage.name,
        "recipe": stage.config.recipe,
        "steps": record["step"],  # an adaptive schedule may have ended early
        "metrics": record,
        "identities": len(tensors["classifier"]),
        "model_fingerprint": description["fingerprint"],
        **_remember(stage, backend, description["fingerprint"]),
    }
    return stage.finish(done | {"seconds": round(time.perf_counter() - began, 1)})


def _digest(rows: Sequence[ImageRow]) -> str:
    """Hash which images show whom: a stage is not resumed on other data."""
    text = "\n".join(f"{row.path} {row.identity}" for row in rows)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _prepare(stage: StageFolder, backend: Backend) -> None:
    """Number the identities, and make the network with which the stage begins."""
    before = read_network(stage.before.network) if stage.before else read_first(stage.run)
    num_known = len(before["classifier"]) if "classifier" in before else 0
    rows = stage.training_rows
    label = _number([row.identity for row in rows]) + num_known
    images = TrainingImages([row.path for row in rows], label)
    feature = backend.embed(rows, stage.run.model(stage.number - 1), **_how(stage)).feature
    mean = np.stack([feature[label == value].mean(axis=0) for value in np.unique(label)])
    model = next_model(stage.config, before, torch.from_numpy(mean))
    if stage.config.joint:
        parts = [read_images(earlier.location) for earlier in stage.run.stages[: stage.number - 1]] + [images]
        # A joint stage's list holds those before it already.
        label_of = {path: value for part in parts for path, value in zip(part.path, part.label.tolist(), strict=True)}
        images = TrainingImages(list(label_of), np.array(list(label_of.values()), np.int64))
    write_images(stage.location, images)
    write_network(storage.join(stage.location, START), lasting(model.state_dict()))


def _how(stage: StageFolder) -> dict[str, Any]:
    """How a stage's images are embedded for what it learns from: in the numbers in which it learns."""
    return {"use_gpu": stage.config.scale.use_gpu, "precision": stage.config.precision}


def read_first(run: Run) -> dict[str, Tensor]:
    """Read the first weights under the names that they have in a stage's network."""
    tensors = read_network(storage.join(run.model(0), "model.safetensors"))
    return {f"encoder.{name}": tensor for name, tensor in tensors.items()}


def _number(identities: Sequence[int]) -> NDArray[np.int64]:
    return np.unique(np.array(identities, np.int64), return_inverse=True)[1].astype(np.int64)


def _write_model(stage: StageFolder, tensors: dict[str, Tensor], record: dict[str, Any]) -> dict[str, Any]:
    config = stage.config
    encoder, matching = (
        {
            name.removeprefix(prefix): value.detach().cpu().contiguous()
            for name, value in to_publish(tensors).items()
            if name.startswith(prefix)
        }
        for prefix in ("encoder.", "matching.")
    )
    so_far = ", ".join(one.name for one in stage.run.stages[: stage.number])
    facts = [
        ("stage", f"{stage.number} of {so_far}"),
        ("method", config.recipe),
        ("steps", str(record["step"])),
        *((name, f"{record[name]:.4f}") for name in ("loss/total", "identity/accuracy") if name in record),
        ("retrieval", "in the run's results.md"),
    ]
    title = f"{config.recipe}, stage {stage.number}"
    card = model_card(title=title, config=config.model, facts=facts, trained=TRAINED)
    options: dict[str, Any] = {"recipe": config.recipe, "step": record["step"], "card": card}
    return write_model(encoder, config.model, stage.model, matching=matching or None, **options)


TRAINED = (
    "Trained in stages on labelled images, each stage on a dataset of its own. `lreid-bc` follows Lifelong Person "
    "Re-Identification with Backward-Compatibility (Oh and Sim, arXiv 2403.10022) as far as its abstract says it; the "
    "paper's full formulas are not available to us, and the rest is this project's own design."
)


def _remember(stage: StageFolder, backend: Backend, fingerprint: str) -> dict[str, Any]:
    """Keep some images and their features, for ever; return what ``done.json`` says of it."""
    config = stage.config.memory
    if not config.identities:
        return {"memory_sha256": "", "memory_images": 0}
    if storage.exists(stage.memory):  # the process ended before it could say that the stage was done
        found = read_exemplars(stage.memory)
        if set(found.model_fingerprint) == {fingerprint}:
            sha256 = hashlib.sha256(storage.read_bytes(stage.memory)).hexdigest()
            return {"memory_sha256": sha256, "memory_images": len(found)}
        storage.remove(stage.memory)  # of a training that was lost, and that nothing refers to yet
    rows = stage.training_rows
    features = backend.embed(rows, stage.model, **_how(stage))
    kept = select_exemplars(
        features.feature,
        features.identity,
        num_identities=config.identities,
        images_per_identity=config.images,
        strategy=config.strategy,
        seed=stage.config.seed,
    )
    known = len(read_network(stage.before.network)["classifier"]) if stage.before else 0
    label = _number(features.identity.tolist()) + known
    norm = np.linalg.norm(features.feature[kept].astype(np.float64), axis=1, keepdims=True)
    exemplars = Exemplars(
        image=np.array([storage.read_bytes(rows[row].path) for row in kept] + [None], object)[:-1],
        path=features.path[kept],
        identity=features.identity[kept],
        label=label[kept],
        stage=np.full(len(kept), stage.number, np.int64),
        feature=(features.feature[kept] / norm).astype(np.float32),
        model_fingerprint=features.model_fingerprint[kept],
    )
    return {"memory_sha256": write_exemplars(stage.memory, exemplars), "memory_images": len(kept)}
