"""A model on disk: ``model.safetensors``, ``config.json``, ``README.md``. No pickle: loading never runs code.

A model that was trained to match has ``matching.safetensors`` too: the state of its `MatchingBranch`.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from cluster import storage
from cluster.errors import InputError
from cluster.values import from_json, to_json
from cluster.versions import check_version
from pretrain.models.config import ModelConfig
from pretrain.models.embedder import BackboneEmbedder
from pretrain.models.encoder import IMAGENET_MEAN, IMAGENET_STD, make_encoder
from pretrain.models.matching import matching_branch
from pretrain.models.precision import Precision, dtype_of

VERSION = 1
"""Of the directory."""
ENCODER_FILE, MATCHING_FILE = "model.safetensors", "matching.safetensors"


def model_fingerprint(
    tensors: Mapping[str, Tensor], config: ModelConfig, matching: Mapping[str, Tensor] | None = None
) -> str:
    """Hash the weights and the architecture: equal exactly if two models give the same embeddings and match alike.

    Args:
        tensors: State of the encoder.
        config: Its architecture.
        matching: State of its matching branch, if it has one; with none, the hash is of the encoder alone.
    """
    named = dict(tensors) | {f"matching.{name}": tensor for name, tensor in (matching or {}).items()}
    digest = hashlib.sha256(json.dumps(_hashed(config), sort_keys=True).encode())
    for name in sorted(named):
        tensor = named[name].detach().cpu().contiguous()
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()[:16]


def write_model(
    tensors: Mapping[str, Tensor],
    config: ModelConfig,
    out: str,
    *,
    recipe: str,
    step: int,
    card: str,
    matching: Mapping[str, Tensor] | None = None,
) -> dict[str, Any]:
    """Write a model directory.

    Args:
        tensors: State of the encoder, plain memory order.
        config: Its architecture.
        out: The directory; replaced as a whole if it is there.
        recipe: Name of the recipe that trained it.
        step: Optimiser steps it was trained for; 0 means random weights.
        card: Text of the model card.
        matching: State of the matching branch that was trained with it, plain memory order.

    Returns:
        The content of its ``config.json``.
    """
    description = {
        "version": VERSION,
        "model": to_json(config),
        "mean": list(IMAGENET_MEAN),
        "std": list(IMAGENET_STD),
        "recipe": recipe,
        "step": step,
        "fingerprint": model_fingerprint(tensors, config, matching),
    }
    if matching is not None:
        description["matching"] = {"channels": len(matching["neck.weight"])}
    with storage.folder_to_publish(out, replaces=ENCODER_FILE) as folder:
        # Not by `save_file`, whose files nobody but their owner may read.
        files = {ENCODER_FILE: save(dict(tensors))}
        if matching is not None:
            files[MATCHING_FILE] = save(dict(matching))
        files |= {"config.json": (json.dumps(description, indent=2) + "\n").encode(), "README.md": card.encode()}
        for name, content in files.items():
            with open(os.path.join(folder, name), "wb") as stream:
                stream.write(content)
    return description


TRAINED_BY_ISR = (
    "Trained without labels on matched crops of neighbouring video frames (ISR, Dou et al., ICCV 2023). The paper's "
    "training code and full formulas are not public; loss weighting and training settings are this project's own."
)


def model_card(
    *, title: str, config: ModelConfig, facts: Sequence[tuple[str, str]], trained: str = TRAINED_BY_ISR
) -> str:
    """Write the model card: what the model is, what was measured of it, and how it was trained."""
    rows = "\n".join(f"| {name} | {value} |" for name, value in facts)
    return (
        f"# {title}\n\n"
        f"A re-identification backbone of perennial-reid: {config.architecture}, input {config.height}x{config.width} "
        f"RGB, embedding {config.length}, compared by cosine.\n\n"
        f"| fact | value |\n|---|---|\n{rows}\n\n"
        f"{trained}\n"
    )


def load_embedder(location: str, *, precision: Precision = "auto") -> BackboneEmbedder:
    """Load a model directory, onto the GPU if there is one.

    >>> import numpy as np, pretrain
    >>> model = pretrain.load_model(f"{folder}/model")  # of python -m pretrain export
    >>> model.embed([np.zeros((128, 64, 3), np.uint8)]).shape  # RGB, of any size
    (1, 8)

    Args:
        location: The directory.
        precision: What it computes in; float64 makes sums in any order agree.

    Raises:
        InputError: If it is no model directory, or its weights are not those of its config.
    """
    location = storage.resolve(location)
    if not storage.exists(storage.join(location, "config.json")):
        raise InputError(
            f"{location} is no model directory (no config.json); make one with: python -m pretrain export RUN"
        )
    description = storage.read_json(storage.join(location, "config.json"))
    check_version(f"the model in {location}", description.get("version"), VERSION)
    config = from_json(ModelConfig, description.get("model"))
    tensors = _read_tensors(location, ENCODER_FILE)
    matching = _read_tensors(location, MATCHING_FILE) if "matching" in description else None
    if model_fingerprint(tensors, config, matching) != description.get("fingerprint"):
        raise InputError(f"the weights in {location} are not those of its config.json; export the model again")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    encoder = make_encoder(config, seed=0)
    encoder.load_state_dict(tensors)
    branch = None
    if matching is not None:
        branch = matching_branch(config, channels=len(matching["neck.weight"]), seed=0)
        branch.load_state_dict(matching)
        branch = branch.to(device).eval()
    encoder = encoder.to(device, dtype_of(precision))
    return BackboneEmbedder(encoder.eval(), config, description["fingerprint"], branch)


def _hashed(config: ModelConfig) -> dict[str, Any]:
    """Leave out what is at its default: a field that `ModelConfig` gets later leaves all fingerprints as they are.

    Galleries name the models of their features by them, so a default never changes (a test).
    """
    plain = to_json(ModelConfig())
    return {name: value for name, value in to_json(config).items() if value != plain[name]}


def _read_tensors(location: str, name: str) -> dict[str, Tensor]:
    try:
        return load(storage.read_bytes(storage.join(location, name)))
    except (FileNotFoundError, SafetensorError) as error:
        raise InputError(f"{location}/{name} is missing or damaged ({error}); export the model again") from error
