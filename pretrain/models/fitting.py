"""Another code base's tensors for an encoder: under its own names, and at its own input size."""

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from cluster.errors import InputError
from pretrain.models.encoder import Encoder

HEADS = {"embedding": ("embedding", "feat"), "neck": ("neck",)}
"""What the layers behind a backbone are called: by us, and by the authors of ISR."""


def fitted(location: str, found: Mapping[str, Tensor], encoder: Encoder, architecture: str) -> dict[str, Tensor]:
    """Pick a backbone's tensors, and those of the layers behind it where they fit; leave out all others.

    Args:
        location: Of the tensors, for the error text.
        found: The tensors, under the library's names of the backbone with any prefix before all of them.
        encoder: That they are for. Position embeddings and tables are resampled to its input size.
        architecture: Of the encoder, for the error text.

    Returns:
        Tensors under the encoder's names.

    Raises:
        InputError: If a tensor of the backbone is not there or has another shape, or there are several backbones.
    """
    # Whole numbers count batches, or are indices that follow from the input size: nothing of a file is taken there.
    wanted = {name: tensor for name, tensor in encoder.backbone.state_dict().items() if tensor.is_floating_point()}
    prefix = _prefix(location, found, wanted)
    here = {name.removeprefix(prefix): tensor for name, tensor in found.items() if name.startswith(prefix)}
    here = resampled(_with_new_names(here), encoder.backbone)
    taken = {name: here[name] for name in wanted if name in here}
    # A pooling exponent is absent from whatever was not trained with one.
    missing = [name for name in wanted if name not in taken and not name.endswith("avgpool.p")]
    if missing:
        raise InputError(
            f"{location} holds {len(taken)} of the {len(wanted)} tensors of {architecture}; the first that is "
            f"absent is {missing[0]}: is it of another architecture (--model.architecture)?"
        )
    for name, tensor in taken.items():
        if tensor.shape != wanted[name].shape:
            raise InputError(
                f"{location}: {prefix}{name} is {list(tensor.shape)} and {architecture} has "
                f"{list(wanted[name].shape)}; is it of another architecture?"
            )
    whole = {f"backbone.{name}": tensor.to(wanted[name].dtype) for name, tensor in taken.items()}
    return whole | _heads(found, prefix, encoder)


def _prefix(location: str, found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str:
    """Return what stands before the backbone's names: the prefix under which most of them are."""
    counts: dict[str, int] = {}
    # MoCo's encoder_k is a running mean of its encoder_q, which others take.
    names = [name for name in found if "encoder_k." not in name]
    for name in names:
        parts = name.split(".")
        for start in range(len(parts)):
            if ".".join(parts[start:]) in wanted:
                prefix = "".join(f"{part}." for part in parts[:start])
                counts[prefix] = counts.get(prefix, 0) + 1
    most = max(counts.values(), default=0)
    best = [prefix for prefix, count in counts.items() if count == most]
    if len(best) > 1 and most > len(wanted) // 2:
        raise InputError(f"{location} holds {len(best)} backbones, under {', '.join(best)}; keep one in the file")
    return best[0] if best else ""


def _with_new_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename what older Swins have at the end of a stage; timm has it at the beginning of the next since 0.9."""
    if not any(name.startswith("layers.0.downsample.") for name in tensors):
        return tensors
    renamed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        parts = name.split(".")
        if parts[0] == "layers" and parts[2] == "downsample":
            parts[1] = str(int(parts[1]) + 1)
        renamed[".".join(parts)] = tensor
    return renamed


def resampled(tensors: Mapping[str, Tensor], backbone: nn.Module) -> dict[str, Tensor]:
    """Resample what a transformer knows of positions to the input size of another one.

    A ViT's position embeddings were trained on a grid that is square or twice as high as wide, which its number says; a
    Swin's tables in square windows. Tensors of the right shape stay as they are, others are left to be refused.

    Args:
        tensors: By the backbone's names.
        backbone: That they are for.
    """
    network: Any = backbone
    out = dict(tensors)
    for name, wanted in backbone.state_dict().items():
        tensor = tensors.get(name)
        if tensor is None or tensor.ndim != wanted.ndim or tensor.shape == wanted.shape:
            continue
        if name == "pos_embed" and tensor.shape[2] == wanted.shape[2]:
            from timm.layers.pos_embed import (
                resample_abs_pos_embed,
            )  # as in backbones.py: there is a ViT, so it is imported

            prefix = network.num_prefix_tokens
            if old := grid_of(tensor.shape[1] - prefix):
                out[name] = resample_abs_pos_embed(tensor, list(network.patch_embed.grid_size), list(old), prefix)
        elif name.endswith(".relative_position_bias_table") and tensor.shape[1] == wanted.shape[1]:
            from timm.layers.pos_embed_rel import resize_rel_pos_bias_table

            attention: Any = backbone.get_submodule(name.rpartition(".")[0])
            if math.isqrt(len(tensor)) ** 2 == len(tensor):
                out[name] = resize_rel_pos_bias_table(tensor, attention.window_size, tuple(wanted.shape))
    return out


def grid_of(count: int) -> tuple[int, int] | None:
    """Return the height and width of a grid of patches, which is square or twice as high as wide; None if neither."""
    for ratio in (1, 2):
        width = math.isqrt(max(count, 0) // ratio)
        if width and ratio * width * width == count:
            return ratio * width, width
    return None


def _heads(found: Mapping[str, Tensor], prefix: str, encoder: Encoder) -> dict[str, Tensor]:
    """Take the layers behind the backbone, each if all of it is there in the right shape."""
    parent = "".join(f"{part}." for part in prefix.split(".")[:-2])
    taken: dict[str, Tensor] = {}
    for layer, names in HEADS.items():
        wanted = encoder.get_submodule(layer).state_dict()
        wanted = {name: tensor for name, tensor in wanted.items() if tensor.is_floating_point()}
        for place in [before + name for before in (parent, prefix) for name in names]:
            here = {name: found.get(f"{place}.{name}") for name in wanted}
            whole = {name: tensor for name, tensor in here.items() if tensor is not None}
            if len(whole) == len(wanted) and all(tensor.shape == wanted[name].shape for name, tensor in whole.items()):
                taken |= {f"{layer}.{name}": tensor.to(wanted[name].dtype) for name, tensor in whole.items()}
                break
    return taken
