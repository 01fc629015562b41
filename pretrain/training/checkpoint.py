"""Checkpoints are data and not code: tensors in safetensors, the rest in JSON. Loading one never runs anything."""

import json
import os
from collections.abc import Mapping
from typing import Any, Protocol, TypeVar

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from cluster.values import differences, from_json, to_json
from pretrain.training.run_folder import identity

Config = TypeVar("Config")


class Learner(Protocol):
    """What training changes, and by which configuration."""

    @property
    def config(self) -> Any:
        """A frozen dataclass."""
        ...

    @property
    def total_steps(self) -> int:
        """Steps of the whole run."""
        ...

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """With its state by parameter."""
        ...

    @property
    def module(self) -> nn.Module:
        """The network without any wrapper."""
        ...

    def progress(self) -> dict[str, float]:
        """Return what a schedule has found out so far; empty where it follows from the step."""
        ...

    def go_on(self, progress: dict[str, float]) -> None:
        """Take up what `progress` returned."""
        ...


def save_checkpoint(folder: str, learner: Learner, step: int) -> None:
    """Write everything that a run needs to go on after `step` into an empty local folder.

    The order of clips, pairs and augmentations needs no state: it follows from the seed and the step.
    """
    save_file(plain(learner.module.state_dict()), os.path.join(folder, "model.safetensors"))
    moments: dict[str, Tensor] = {}
    for name, parameter in learner.module.named_parameters():
        for key, value in learner.optimizer.state.get(parameter, {}).items():
            if isinstance(value, Tensor):
                moments[f"{name}/{key}"] = value
    save_file(plain(moments), os.path.join(folder, "optimizer.safetensors"))
    state = {"step": step, "total_steps": learner.total_steps, "config": to_json(learner.config)}
    state["progress"] = learner.progress()
    with open(os.path.join(folder, "state.json"), "w") as stream:
        json.dump(state, stream, indent=2)


def load_checkpoint(folder: str, learner: Learner) -> int:
    """Restore a run from a local checkpoint folder and return the step after which it was written.

    Raises:
        ValueError: If the checkpoint belongs to another configuration.
    """
    config, state = read_state(folder, type(learner.config))
    changed = differences(identity(config), identity(learner.config))
    if changed:
        raise ValueError(f"the checkpoint in {folder} belongs to another configuration ({'; '.join(changed)})")
    learner.module.load_state_dict(load_file(os.path.join(folder, "model.safetensors")))
    moments = load_file(os.path.join(folder, "optimizer.safetensors"))
    is_fused = learner.optimizer.defaults.get("fused")  # counts its steps on the device
    for name, parameter in learner.module.named_parameters():
        entries = {key.rpartition("/")[2]: value for key, value in moments.items() if key.startswith(f"{name}/")}
        learner.optimizer.state[parameter] = {
            key: value if key == "step" and not is_fused else value.to(parameter.device)
            for key, value in entries.items()
        }
    learner.go_on(state.get("progress", {}))
    return int(state["step"])


def read_state(folder: str, kind: type[Config]) -> tuple[Config, dict[str, Any]]:
    """Read the configuration, of a kind, and the step of a local checkpoint folder."""
    with open(os.path.join(folder, "state.json")) as stream:
        state = json.load(stream)
    return from_json(kind, state["config"]), state


def plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy to the CPU in plain memory order, which is all that safetensors stores."""
    return {
        name: tensor.detach().to("cpu", memory_format=torch.contiguous_format).contiguous()
        for name, tensor in tensors.items()
    }
