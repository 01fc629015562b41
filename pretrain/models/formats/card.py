"""What a model card says of the further formats: code that loads them, and what they take and give."""

from collections.abc import Mapping
from typing import Any

from pretrain.models.config import ModelConfig
from pretrain.models.encoder import IMAGENET_MEAN, IMAGENET_STD

TITLE = "## In other people's code"


def formats_card(config: ModelConfig, description: Mapping[str, Any]) -> str:
    """Write the card's section on formats.

    Its first block of Python reads a picture; each other one goes on from it, in the model's folder.

    Args:
        config: Of the model.
        description: The content of its ``config.json``, with ``checked`` and, where it has that format, ``backbone``.
    """
    checked = description["checked"]
    parts = [_images(config)]
    if "onnx" in checked:
        parts.append(_onnx(config, checked["onnx"]))
    if "torch-export" in checked:
        parts.append(_torch_export(config, checked["torch-export"]))
    if "backbone" in checked:
        parts.append(_backbone(config, description["backbone"]))
    return f"\n{TITLE}\n\n" + "\n".join(parts)


def _part(text: str, code: str) -> str:
    return f"{text}\n\n```python\n{code.strip()}\n```\n"


def _images(config: ModelConfig) -> str:
    height, width = config.height, config.width
    return _part(
        f"Images are RGB, uint8, 0 to 255, resized to {height}x{width} (height x width, the aspect ratio is not kept).",
        f"""
import cv2

image = cv2.cvtColor(cv2.imread("crop.jpg"), cv2.COLOR_BGR2RGB)
how = cv2.INTER_AREA if image.shape[0] > {height} else cv2.INTER_LINEAR
image = cv2.resize(image, ({width}, {height}), interpolation=how)
images = image.transpose(2, 0, 1)[None]  # uint8 [batch, 3, {height}, {width}]
""",
    )


def _onnx(config: ModelConfig, difference: float) -> str:
    return _part(
        "**ONNX Runtime**, `model.onnx`: pixels in, normalisation is inside; embeddings of norm 1 out, compared by "
        f"cosine. They differ by {difference:.2g} at most from this model's.",
        f"""
import onnxruntime

session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
(embedding,) = session.run(["embedding"], {{"images": images}})  # float32 [batch, {config.length}]
""",
    )


def _torch_export(config: ModelConfig, difference: float) -> str:
    return _part(
        "**PyTorch without this project**, `model.pt2`: pixels in, normalisation is inside; embeddings of norm 1 out. "
        f"They differ by {difference:.2g} at most from this model's.",
        f"""
import torch

model = torch.export.load("model.pt2").module()
embedding = model(torch.from_numpy(images)).numpy()  # float32 [batch, {config.length}]
""",
    )


def _backbone(config: ModelConfig, backbone: Mapping[str, Any]) -> str:
    library, name = backbone["library"], backbone["name"]
    behind = ["a linear layer"] * (config.embedding_size > 0) + ["a batch norm"] * config.bn_neck
    text = (
        f"**{library}**, `backbone.safetensors`: the backbone alone, under the names of {library}'s `{name}`. "
        "Normalisation is outside: pixels from 0 to 1, less ImageNet's mean, by its standard deviation. It gives "
        f"features of any norm; this model's embedding is made of them by {', '.join([*behind, 'scaling to norm 1'])}."
    )
    if backbone["strides"]:
        text += (
            f" The last stage was trained with stride 1 and has 2 in {library}: its plain model loads the same weights "
            "and gives other features. The two lines with `stride` set that right."
        )
    if backbone["gem_exponent"] is not None:
        text += " It pools by a generalised mean and not by the mean, which the lines with `avgpool` set right."
    return _part(text, "\n".join([*_loading(backbone), "", *_running(config)]))


def _loading(backbone: Mapping[str, Any]) -> list[str]:
    library, name, arguments = backbone["library"], backbone["name"], backbone["arguments"]
    make = {
        "timm": f'timm.create_model("{name}", num_classes=0, img_size={tuple(arguments.get("img_size", ()))})',
        "torchvision": f"torchvision.models.{name}()",
        "IBN-Net": f'torch.hub.load("XingangPan/IBN-Net", "{name}")',
    }[library]
    lines = ["import torch"] if library == "IBN-Net" else ["import torch", f"import {library}"]
    lines += ["from safetensors.torch import load_file", "", f"model = {make}"]
    if library != "timm":
        lines.append("model.fc = torch.nn.Identity()")
    lines.append('model.load_state_dict(load_file("backbone.safetensors"))')
    for layer, stride in backbone["strides"].items():
        lines.append(f'model.get_submodule("{layer}").stride = {tuple(stride)}')
    if library == "IBN-Net":
        lines.append("model.avgpool = torch.nn.AdaptiveAvgPool2d(1)  # theirs is for 224x224 pixels alone")
    if (p := backbone["gem_exponent"]) is not None:
        lines.append("model.avgpool = torch.nn.Module()")
        lines.append(
            f"model.avgpool.forward = lambda x: x.clamp(min=1e-6).pow({p}).mean((2, 3), keepdim=True).pow(1 / {p})"
        )
    return lines


def _running(config: ModelConfig) -> list[str]:
    return [
        f"mean, std = (torch.tensor(values).view(3, 1, 1) for values in ({IMAGENET_MEAN}, {IMAGENET_STD}))",
        "with torch.inference_mode():",
        "    features = model.eval()((torch.from_numpy(images) / 255 - mean) / std)"
        f"  # float32 [batch, {config.num_features}]",
    ]
