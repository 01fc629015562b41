"""A run's newest weights, or a model directory, as a model directory for others."""

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.torch import load, load_file
from torch import Tensor

from cluster import storage
from cluster.errors import InputError
from pretrain.config.run import PretrainConfig
from pretrain.models.directory import ENCODER_FILE, MATCHING_FILE, model_card, write_model
from pretrain.models.encoder import make_encoder
from pretrain.models.formats.card import TITLE
from pretrain.models.formats.files import Format, add_formats
from pretrain.models.precision import to_publish
from pretrain.runs import START, latest_checkpoint
from pretrain.training.checkpoint import plain, read_state
from pretrain.training.record import read_metrics
from pretrain.training.run_folder import read_config


def export(source: str, out: str, *, untrained: bool = False, formats: Sequence[Format] = ()) -> dict[str, Any]:
    """Write the model directory of a run, or of another model directory; it appears whole or not at all.

    Args:
        source: A run directory; or a model directory, whose model and card are copied, and further formats not.
        out: The model directory; it may be the source.
        untrained: Write the weights that a run began with: the baseline of its results.
        formats: Further files beside ``model.safetensors``, each checked against it.

    Returns:
        The content of the model's ``config.json``.

    Raises:
        InputError: If the source is neither, a run has no checkpoint yet, or `add_formats` refuses a format.
    """
    with storage.folder_to_publish(out, replaces=ENCODER_FILE) as folder:
        if _is_model(source):
            if untrained:
                raise InputError(f"{source} is a model and no run: name the run it is from, or leave --untrained out")
            _copy(source, folder)
        else:
            _export_run(source, folder, untrained=untrained)
        return add_formats(folder, formats)


def _is_model(source: str) -> bool:
    location = storage.join(source, "config.json")
    if not storage.exists(location):
        return False
    content = storage.read_json(location)
    return isinstance(content, dict) and {"model", "fingerprint"} <= content.keys()


def _copy(source: str, folder: str) -> None:
    """Copy a model without further formats and what is said of them."""
    with storage.local_copy(source) as model:
        for name in (ENCODER_FILE, MATCHING_FILE):
            if os.path.exists(os.path.join(model, name)):
                shutil.copy(os.path.join(model, name), folder)
        description = json.loads(Path(model, "config.json").read_text(encoding="utf-8"))
        plain = {name: value for name, value in description.items() if name not in ("backbone", "checked")}
        Path(folder, "config.json").write_text(json.dumps(plain, indent=2) + "\n", encoding="utf-8")
        Path(folder, "README.md").write_text(
            Path(model, "README.md").read_text(encoding="utf-8").split(f"\n{TITLE}\n")[0], encoding="utf-8"
        )


def _export_run(run: str, out: str, *, untrained: bool) -> dict[str, Any]:
    if untrained:
        config = read_config(run, PretrainConfig)
        return _export_start(config, load(storage.read_bytes(storage.join(run, START))), out)
    with storage.local_copy(latest_checkpoint(run)) as folder:
        config, state = read_state(folder, PretrainConfig)
        tensors = to_publish(load_file(os.path.join(folder, "model.safetensors")))
    record = {entry["step"]: entry for entry in read_metrics(run)}.get(state["step"], {})
    facts = [
        ("recipe", config.recipe),
        ("steps", f"{state['step']} of {state['total_steps']}, {config.batch_pairs} frame pairs each"),
        ("seed", str(config.seed)),
        *(
            (name, f"{record[name]:.4f}")
            for name in ("loss/total", "reliability/mean", "pairs/similarity")
            if name in record
        ),
        ("retrieval", "not measured yet: python -m evaluation embed, then score"),
    ]
    return _write(tensors, config, out, step=int(state["step"]), facts=facts)


def export_untrained(config: PretrainConfig, out: str) -> dict[str, Any]:
    """Write the random weights that a run with this configuration begins with."""
    tensors = make_encoder(config.model, seed=config.seed).state_dict()
    return _export_start(replace(config, start=""), plain(tensors), out)


def _export_start(config: PretrainConfig, tensors: dict[str, Tensor], out: str) -> dict[str, Any]:
    weights = f"those it began with: {config.start}" if config.start else "random weights"
    facts = [("steps", f"0: {weights}"), ("seed", str(config.seed))]
    return _write(tensors, config, out, step=0, facts=facts)


def _write(
    tensors: dict[str, Tensor], config: PretrainConfig, out: str, *, step: int, facts: list[tuple[str, str]]
) -> dict[str, Any]:
    card = model_card(title=f"{config.recipe}, step {step}", config=config.model, facts=facts)
    return write_model(tensors, config.model, out, recipe=config.recipe, step=step, card=card)
