"""Checkpoints are data and not code: tensors in safetensors, the rest in JSON. Loading one never runs anything.

Layout, the same on Ray Train and in one process::

    RUN/checkpoints/000000200/model.safetensors       the network
                              optimizer.safetensors   moments, as PARAMETER/NAME
                              state.json              step, configuration, schedule, records since the last checkpoint

``state.json`` comes last: a folder that has it is complete. The order of clips, pairs and augmentations needs no state:
it follows from the seed and the step.
"""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from cluster import storage
from cluster.errors import InputError
from cluster.values import differences, from_json, to_json
from cluster.versions import check_version
from pretrain.config.scale import identity
from pretrain.distributed import collectives
from pretrain.training.learner import Learner

Config = TypeVar("Config")
VERSION = 2
"""Of the layout. A checkpoint serves the run that wrote it, with the version that wrote it."""
STATE = "state.json"


def save_checkpoint(folder: str, learner: Learner, step: int, *, records: Sequence[Mapping[str, Any]] = ()) -> None:
    """Write everything that a run needs to go on after `step` into an empty local folder."""
    found = learner.state_dict()
    save_file(plain(found["model"]), os.path.join(folder, "model.safetensors"))
    save_file(plain(found["optimizer"]), os.path.join(folder, "optimizer.safetensors"))
    state = {
        "version": VERSION,
        "step": step,
        "total_steps": learner.total_steps,
        "config": to_json(learner.config),
        "progress": found["progress"],
        "records": list(records),
    }
    with open(os.path.join(folder, STATE), "w", encoding="utf-8") as stream:
        json.dump(state, stream, indent=2)


def load_checkpoint(folder: str, learner: Learner) -> int:
    """Restore a run from a local checkpoint folder and return the step after which it was written.

    Raises:
        InputError: If the checkpoint belongs to another configuration.
    """
    config, state = read_state(folder, type(learner.config))
    changed = differences(identity(config), identity(learner.config))
    if changed:
        raise InputError(f"the checkpoint in {folder} belongs to another configuration ({'; '.join(changed)})")
    model, moments = (load_file(os.path.join(folder, f"{name}.safetensors")) for name in ("model", "optimizer"))
    learner.load_state_dict({"model": model, "optimizer": moments, "progress": state["progress"]})
    return int(state["step"])


def read_state(folder: str, kind: type[Config]) -> tuple[Config, dict[str, Any]]:
    """Read the configuration, of a kind, and the step of a local checkpoint folder.

    Raises:
        InputError: If another version of the layout wrote it.
    """
    with open(os.path.join(folder, STATE), encoding="utf-8") as stream:
        state = json.load(stream)
    remedy = "go on with the version that wrote it, or start anew with another --out"
    check_version(f"the checkpoint in {folder}", state.get("version"), VERSION, oldest=VERSION, remedy=remedy)
    return from_json(kind, state["config"]), state


def newest(run: str) -> str | None:
    """Return the newest complete checkpoint of a run; None if there is none."""
    files = storage.list_files(storage.join(run, "checkpoints"), (STATE,))
    folders = [location.rpartition("/")[0] for location in files]
    # A name that begins with a dot is of a folder that was never finished.
    return max((folder for folder in folders if not storage.name_of(folder).startswith(".")), default=None)


def publish(run: str, learner: Learner, step: int, *, records: Sequence[Mapping[str, Any]], keep: int) -> None:
    """Write a checkpoint of a run, whole or not at all, and remove those that are too old.

    Args:
        run: The run directory.
        learner: What learns.
        step: The step that was done last.
        records: Metrics of the steps since the last checkpoint: what is not done again must not be missing.
        keep: How many of the newest checkpoints stay.
    """
    location = folder_of(run, step)
    with storage.folder_to_publish(location, replaces=STATE) as folder:
        save_checkpoint(folder, learner, step, records=records)
    found = {name.rpartition("/")[0] for name in storage.list_files(storage.join(run, "checkpoints"))}
    for old in sorted(found)[:-keep]:
        storage.remove(old)


def restore(run: str, learner: Learner) -> int:
    """Load the checkpoint that a run goes on from, if there is one, and return its step; else 0.

    All processes take the one that the first of them finds: one that a lost machine is still writing appears to some.
    """
    found = newest(run) if collectives.rank() == 0 else None
    step = torch.tensor(int(storage.name_of(found)) if found else 0, device=learner.device)
    agreed = int(collectives.sum_over_ranks(step))
    if not agreed:
        return 0
    with storage.local_copy(folder_of(run, agreed)) as folder:
        return load_checkpoint(folder, learner)


def saved_records(checkpoint: str) -> list[dict[str, Any]]:
    """Return the records that a checkpoint keeps: those of the steps since the one before it."""
    return storage.read_json(storage.join(checkpoint, STATE))["records"]


def newest_tensors(run: str) -> dict[str, Tensor]:
    """Read the network of the newest checkpoint of a run, which must have one."""
    found = newest(run)
    assert found is not None, "a finished run has a checkpoint"
    with storage.local_copy(found) as folder:
        return load_file(os.path.join(folder, "model.safetensors"))


def folder_of(run: str, step: int) -> str:
    """Return where the checkpoint of a step is."""
    return storage.join(run, "checkpoints", f"{step:09d}")


def plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy to the CPU in plain memory order, which is all that safetensors stores."""
    return {
        name: tensor.detach().to("cpu", memory_format=torch.contiguous_format).contiguous()
        for name, tensor in tensors.items()
    }
