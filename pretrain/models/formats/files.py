"""A model directory's further files: written, loaded anew, and compared with the encoder before anyone sees them."""

import dataclasses
import importlib.util
import json
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from cluster.errors import InputError
from pretrain.models.config import ModelConfig
from pretrain.models.directory import load_embedder
from pretrain.models.encoder import Encoder
from pretrain.models.formats.card import formats_card
from pretrain.models.formats.library import library_model, read_backbone, write_backbone

Format = Literal["backbone", "onnx", "torch-export"]
FILES: dict[Format, str] = {"backbone": "backbone.safetensors", "onnx": "model.onnx", "torch-export": "model.pt2"}
PACKAGES: dict[Format, tuple[str, ...]] = {"onnx": ("onnx", "onnxscript", "onnxruntime")}
"""What a format needs beside this project's own dependencies."""
TOLERANCE = 1e-4
"""Largest difference of a component of a unit vector that a format may make."""
BATCHES = (1, 7)
"""Images of the batches that are compared: one is a case of its own for compilers."""

Embed = Callable[[Tensor], Tensor]
"""From uint8 [B, 3, H, W] to float32 [B, D]."""


def add_formats(folder: str, formats: Sequence[Format]) -> dict[str, Any]:
    """Write further formats into a model directory, check each, and note them in its ``config.json`` and model card.

    Args:
        folder: A model directory on a local disk, without further formats.
        formats: Which.

    Returns:
        The content of its ``config.json``, with the largest difference of each format under ``checked``.

    Raises:
        InputError: If a package is missing, no library has the backbone, or a file gives other embeddings than the
            encoder. The folder then is half written.
    """
    config_file, card_file = Path(folder, "config.json"), Path(folder, "README.md")
    description = json.loads(config_file.read_text(encoding="utf-8"))
    if not formats:
        return description
    embedder = load_embedder(folder)
    encoder, config = embedder.encoder.cpu().requires_grad_(False), embedder.config
    for name in formats:
        require_packages(name, PACKAGES.get(name, ()))
    if "backbone" in formats:
        description["backbone"] = dataclasses.asdict(library_model(encoder, config))
    write_formats(formats, folder, encoder, config)
    description["checked"] = {name: check_format(name, folder, encoder, config) for name in FILES if name in formats}
    config_file.write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
    card_file.write_text(card_file.read_text(encoding="utf-8") + formats_card(config, description), encoding="utf-8")
    return description


def require_packages(name: Format, packages: Sequence[str]) -> None:
    """Refuse a format whose packages are not installed.

    Raises:
        ValueError: Which says how to install them.
    """
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        raise InputError(f"--formats {name} needs {', '.join(missing)}: pip install {' '.join(packages)}")


def write_formats(formats: Sequence[Format], folder: str, encoder: Encoder, config: ModelConfig) -> None:
    """Write the files of some formats.

    Args:
        formats: Which.
        folder: Where the files go.
        encoder: On the CPU, in evaluation mode, without gradients.
        config: Gives the input size.
    """
    path = {name: os.path.join(folder, file) for name, file in FILES.items()}
    if "backbone" in formats:
        write_backbone(path["backbone"], encoder)
    if not {"onnx", "torch-export"} & set(formats):
        return
    with warnings.catch_warnings(action="ignore"):  # of tensors in channels_last; what is written is checked
        batch = torch.export.Dim("batch", min=1)
        program = torch.export.export(encoder, (_images(2, config),), dynamic_shapes={"images": {0: batch}})
        for node in program.graph.nodes:
            node.meta.pop("stack_trace", None)  # it would publish this machine's paths
        if "torch-export" in formats:
            torch.export.save(program, path["torch-export"])
        if "onnx" in formats:
            converted = torch.onnx.export(
                program,
                dynamo=True,
                verbose=False,
                input_names=["images"],
                output_names=["embedding"],
                dynamic_shapes={"images": {0: "batch"}},  # names the output's axis too
            )
            assert converted is not None, "the exporter of programs returns one"
            converted.save(path["onnx"])  # one file, unless it is too large for ONNX


def read_format(name: Format, folder: str, encoder: Encoder, config: ModelConfig) -> Embed:
    """Load one format's file as others do; of a backbone's, the encoder's other layers go on from it."""
    path = os.path.join(folder, FILES[name])
    if name == "backbone":
        return read_backbone(path, encoder, config)
    if name == "torch-export":
        return torch.export.load(path).module()
    import onnxruntime  # an extra of this project

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(["embedding"], {"images": images.numpy()})[0])


def check_format(name: Format, folder: str, encoder: Encoder, config: ModelConfig) -> float:
    """Load a format's file anew, and return the largest difference of its embeddings to the encoder's.

    Raises:
        InputError: If it is above `TOLERANCE`, or no number.
    """
    embed = read_format(name, folder, encoder, config)
    with torch.inference_mode():
        batches = [_images(count, config) for count in BATCHES]
        difference = float(torch.stack([(embed(images) - encoder(images)).abs().max() for images in batches]).max())
    if not difference <= TOLERANCE:
        raise InputError(
            f"{FILES[name]} gives embeddings that are up to {difference:.1e} from the encoder's, more than "
            f"{TOLERANCE:g}; nothing was written: leave {name} out of --formats and report this"
        )
    return difference


def _images(count: int, config: ModelConfig) -> Tensor:
    generator = torch.Generator().manual_seed(count)
    return torch.randint(0, 256, (count, 3, config.height, config.width), generator=generator, dtype=torch.uint8)
