"""In which numbers a run computes."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

Precision = Literal["auto", "float32", "float64"]


def autocast(device: torch.device, precision: Precision = "auto") -> torch.autocast:
    """Multiply in bfloat16 on a GPU, unless a precision is asked for; elsewhere in what the tensors are."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda" and precision == "auto")


def dtype_of(precision: Precision) -> torch.dtype:
    """Return what parameters and their moments are kept in."""
    return torch.float64 if precision == "float64" else torch.float32


def at_least_single(values: Tensor) -> Tensor:
    """Return values in float32, or as they are where that is finer."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def to_publish(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors as models are written: float32, whatever they were trained in; integers stay."""
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
