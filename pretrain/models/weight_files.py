"""Weights as others save them: files of tensors, and what torchvision and timm download by name."""

import argparse
import datetime
import io
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from cluster import storage
from cluster.errors import InputError
from pretrain.models.config import ModelConfig
from pretrain.models.encoder import IMAGENET_MEAN, IMAGENET_STD

TENSORS, PICKLES = (".safetensors",), (".pth", ".pt", ".bin", ".tar")
TORCHVISION, TIMM = "torchvision:", "timm:"
WRAPPERS = ("state_dict", "model", "teacher", "student", "net")
"""Under what a checkpoint keeps a network's tensors, beside those of its optimiser; the first that is there counts."""


NUMBERS = ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool")
"""NumPy's types of numbers, which training programs keep beside a network: the best mAP, the epoch."""
HARMLESS: list[Any] = [
    argparse.Namespace,  # the options of a training, beside DINO's, MAE's and DeiT's networks
    np.dtype,
    *(type(np.dtype(name)) for name in NUMBERS),
    np.ndarray,
    datetime.datetime,
    *((pathlib.PosixPath, f"{module}.PosixPath") for module in ("pathlib", "pathlib._local")),  # the latter since 3.13
    # Under the names of NumPy 1 and 2.
    *((np.float64(0).__reduce__()[0], f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    *((np.zeros(1).__reduce__()[0], f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")),
]
"""What a pickle may hold besides tensors and Python's own values: making it runs nothing of the file's."""


def is_download(location: str) -> bool:
    """Whether a location is a library's name of weights, and no path: it must not be made absolute."""
    return location.startswith((TORCHVISION, TIMM))


def is_weights(location: str) -> bool:
    """Whether a location gives a backbone's tensors alone, and no configuration with them."""
    return is_download(location) or location.endswith(TENSORS + PICKLES)


def read_weights(location: str, config: ModelConfig) -> dict[str, Tensor]:
    """Read tensors by their names in the file or in the library.

    Args:
        location: ``.safetensors``, or a pickle of tensors (``.pth``, ``.pt``, ``.bin``, ``.tar``), which may keep them
            under one of `WRAPPERS`; ``torchvision:NAME`` of its weights for the configured architecture; ``timm:TAG``,
            or ``timm:`` for timm's default.
        config: Whose architecture a library is asked for.

    Raises:
        InputError: If there are no such weights, the file is damaged or has things in it whose making would run code,
            or the download fails.
    """
    if location.startswith(TORCHVISION):
        return _from_torchvision(location, config)
    if location.startswith(TIMM):
        return from_timm(location, config)
    try:
        data = storage.read_bytes(storage.resolve(location))
        if location.endswith(TENSORS):
            return load(data)
        with torch.serialization.safe_globals(HARMLESS):
            found = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{location}: no usable safetensors or PyTorch file ({error}); check the path") from error
    except Exception as error:  # of torn bytes the unpickler says anything
        raise InputError(
            f"{location}: damaged, or a pickle with more than values in it, which is never run "
            f"({_reason(error)}); save the network's state_dict() alone, where the file is from"
        ) from error
    return _tensors(found)


def _reason(error: Exception) -> str:
    """Return the one line of PyTorch's long text that says what was in the way."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if "GLOBAL" in line or "Unsupported" in line or "invalid" in line]
    return (telling or lines or [type(error).__name__])[0][:200]


def _tensors(found: Any) -> dict[str, Tensor]:
    while isinstance(found, Mapping):
        inner = [found[name] for name in WRAPPERS if isinstance(found.get(name), Mapping)]
        if not inner:
            return {str(name): value for name, value in found.items() if isinstance(value, Tensor)}
        found = inner[0]
    return {}


def _from_torchvision(location: str, config: ModelConfig) -> dict[str, Tensor]:
    import torchvision  # seconds of import: for the runs that use it

    name, architecture = location.removeprefix(TORCHVISION), config.spec.library_name
    if config.spec.library != "torchvision":
        raise InputError(f"{location}: torchvision has no weights under the names of {config.architecture}")
    entries = torchvision.models.get_model_weights(architecture).__members__
    if name not in entries:
        raise InputError(f"{location}: torchvision's weights of {architecture} are {', '.join(entries)}")
    url = entries[name].url
    try:
        return entries[name].get_state_dict(progress=False, check_hash=True, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"{location}: the download failed ({error}); fetch {url} elsewhere and give the path of the file"
        ) from error


def from_timm(location: str, config: ModelConfig, overlay: dict[str, Any] | None = None) -> dict[str, Tensor]:
    """Read what timm downloads, at the input size of its training, for pixels that are normalised as for ImageNet.

    Args:
        location: ``timm:TAG``, or ``timm:``.
        config: Gives the architecture.
        overlay: Replaces parts of timm's description of the weights, such as ``file``.

    Raises:
        ValueError: As `read_weights`.
    """
    import timm  # seconds of import: for the runs that use it

    name = config.spec.timm_name
    tags = [found.partition(".")[2] for found in timm.list_pretrained(f"{name}.*")] if name else []
    tag = location.removeprefix(TIMM)
    if not tags or (tag and tag not in tags):
        raise InputError(f"{location}: timm's weights of {config.architecture} are {', '.join(tags) or 'none'}")
    try:
        model: Any = timm.create_model(
            name, pretrained=True, pretrained_cfg=tag or None, pretrained_cfg_overlay=overlay, num_classes=0
        )
    except (OSError, RuntimeError, ValueError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise InputError(
            f"{location}: the download failed ({type(error).__name__}: {reason}); fetch the weights of {name} "
            "elsewhere and give the path of the file"
        ) from error
    mean, std = torch.tensor(model.pretrained_cfg["mean"]), torch.tensor(model.pretrained_cfg["std"])
    tensors = model.state_dict()
    if "patch_embed.proj.weight" in tensors:
        tensors |= renormalised(tensors, mean, std)
    return tensors


def renormalised(tensors: Mapping[str, Tensor], mean_3: Tensor, std_3: Tensor) -> dict[str, Tensor]:
    """Return patch-embedding weights for ImageNet's normalisation that do what these do for another one.

    Patches have no padding, so this is exact: ``w * (x - m) / s + b`` for all ``x``, with other ``m`` and ``s``.

    Args:
        tensors: Of a transformer.
        mean_3: What was subtracted from pixels in [0, 1] in its training, RGB.
        std_3: By what they were divided.
    """
    weight_OCHW, bias_O = tensors["patch_embed.proj.weight"], tensors["patch_embed.proj.bias"]
    own_mean_3, own_std_3 = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
    offset_O = (weight_OCHW.sum(dim=(2, 3)) * ((own_mean_3 - mean_3) / std_3)).sum(dim=1)
    scaled_OCHW = weight_OCHW * (own_std_3 / std_3)[:, None, None]
    return {"patch_embed.proj.weight": scaled_OCHW, "patch_embed.proj.bias": bias_O + offset_O}
