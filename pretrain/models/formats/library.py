"""Which model of a public library a backbone is, and the file of its tensors under the names that they have there."""

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import torchvision
from safetensors.torch import load_file, save
from torch import nn

from cluster.errors import InputError
from pretrain.models.config import ModelConfig
from pretrain.models.encoder import Encoder, make_encoder
from pretrain.models.pooling import GeneralisedMean


@dataclass(frozen=True, slots=True)
class LibraryModel:
    """A model of a public library that takes a backbone's tensors by name, and what differs in it beside them."""

    library: Literal["torchvision", "timm", "IBN-Net"]
    """IBN-Net is a repository (github.com/XingangPan/IBN-Net), which torch.hub loads, and no package."""
    name: str
    """What the library calls it."""
    arguments: dict[str, Any]
    """What its function takes beside the name, as JSON values."""
    strides: dict[str, list[int]]
    """Convolutions whose stride in the backbone is not the library's, by name."""
    gem_exponent: float | None
    """Exponent of the generalised mean that the backbone pools by, where the library takes the mean."""


def library_model(encoder: Encoder, config: ModelConfig) -> LibraryModel:
    """Say which model of which library an encoder's backbone is.

    Raises:
        InputError: If no library has it.
    """
    spec = config.spec
    if not spec.library:
        raise InputError(f"{config.architecture} is a backbone that no library has: leave backbone out of --formats")
    if spec.library == "timm":
        arguments = {"num_classes": 0, "img_size": [config.height, config.width]}
        return LibraryModel("timm", spec.library_name, arguments, {}, None)
    backbone = cast("torchvision.models.ResNet", encoder.backbone)
    exponent = float(backbone.avgpool.p) if isinstance(backbone.avgpool, GeneralisedMean) else None
    model = LibraryModel(spec.library, spec.library_name, {}, {}, exponent)
    plain = torchvision.models.resnet50() if model.library == "IBN-Net" else make_plain(model)
    strides = {
        name: list(module.stride)
        for name, module in backbone.named_modules()
        if isinstance(module, nn.Conv2d) and module.stride != cast("nn.Conv2d", plain.get_submodule(name)).stride
    }
    return replace(model, strides=strides)


def make_plain(model: LibraryModel) -> nn.Module:
    """Make the library's model as it comes, without a classifier: random weights, its own strides and pooling."""
    if model.library == "timm":
        import timm  # seconds of import: for the models that use it

        return timm.create_model(model.name, **model.arguments)
    assert model.library == "torchvision", "IBN-Net is no package"
    network: Any = torchvision.models.get_model(model.name, weights=None)
    network.fc = nn.Identity()
    return network


def write_backbone(path: str, encoder: Encoder) -> None:
    """Write the backbone's tensors under the library's names, without the exponent of its pooling."""
    state = encoder.backbone.state_dict()
    tensors = {name: tensor.contiguous() for name, tensor in state.items() if name != "avgpool.p"}
    Path(path).write_bytes(save(tensors))  # save_file makes files that nobody else may read


def read_backbone(path: str, encoder: Encoder, config: ModelConfig) -> Encoder:
    """Put the library's model with the tensors of a file in the place of an encoder's backbone.

    Of IBN-Net, which is no package, it is our own network with its names.

    Returns:
        Another encoder, in evaluation mode.

    Raises:
        RuntimeError: If the file has not exactly the tensors of the library's model.
    """
    model, tensors = library_model(encoder, config), load_file(path)
    result = copy.deepcopy(encoder)
    if model.library == "IBN-Net":
        network: Any = make_encoder(config, seed=0).backbone
        network.avgpool = nn.AdaptiveAvgPool2d(1)
    else:
        network = make_plain(model)
    network.load_state_dict(tensors, strict=True)
    for name, stride in model.strides.items():
        network.get_submodule(name).stride = tuple(stride)
    if model.gem_exponent is not None:
        network.avgpool = encoder.backbone.get_submodule("avgpool")
    result.backbone = network
    return result.eval()
