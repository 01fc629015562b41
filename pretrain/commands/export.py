"""``python -m pretrain export``: from a run to a model directory."""

from typing import Annotated

import tyro

from cluster import storage
from cluster.console import console, print_result
from pretrain.export import export as export_model
from pretrain.models.formats.files import Format


def export(
    source: Annotated[str, tyro.conf.Positional], *, out: str, untrained: bool = False, formats: tuple[Format, ...] = ()
) -> None:
    """Write a run's newest weights, or a model, as a model directory: model.safetensors, config.json, README.md.

    Args:
        source: A run directory, or a model directory.
        out: The model directory; replaced if it is there.
        untrained: Write the random weights that the run began with.
        formats: Further files for other people's code, each compared with the model before anything is written.
            backbone: its tensors under torchvision's or timm's names. onnx: model.onnx. torch-export: model.pt2.
    """
    out = storage.resolve(out)
    description = export_model(storage.resolve(source), out, untrained=untrained, formats=formats)
    for name, difference in description.get("checked", {}).items():
        console.print(f"{name}: embeddings differ from the model's by {difference:.2g} at most", markup=False)
    print_result({"out": out, **description})
